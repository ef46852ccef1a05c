"""What the log hears of data connections."""

from ftpsproxy.ftp.data_failure import DataFailure
from ftpsproxy.observe import metrics
from ftpsproxy.observe.log.writing import limited, say, where
from ftpsproxy.observe.redaction import redact


def data_failed(failure: DataFailure) -> None:
    """A data connection with the client or the server has failed, before its transfer or in it."""
    cause = failure.cause.value
    metrics.DATA_FAILURES.add(*where(), failure.side, cause)
    limited(
        "warning",
        "data.failed",
        side=failure.side,
        mode=failure.mode or None,
        address=failure.address or None,
        port=failure.port,
        cause=cause,
        came_from=failure.came_from or None,
        detail=redact(failure.why),
        hint=failure.hint,
    )


def upstream_close_notify_missing(*, verb: str, again: bool = False) -> None:
    """A listing has ended without close_notify and is taken for whole; said once a session, counted each time."""
    metrics.CLOSE_NOTIFY_MISSING.add(*where())
    if not again:
        say("warning", "upstream.close_notify_missing", verb=verb)


def data_contested(*, came_from: str, port: int) -> None:
    """A second connection came for one transfer: neither is kept."""
    metrics.DATA_CONTESTED.add()
    say("warning", "data.contested", came_from=came_from, port=port)


def data_source_port_taken(*, address: str, port: int) -> None:
    """A connection to this port of the client's does not come from active_source_port: that pair of ports is still in
    use."""
    detail = "the last connection between these two ports was a moment ago; this one comes from another port of ours"
    hint = "let the client take another port for each transfer, or use passive mode"
    limited("warning", "data.source_port_taken", address=address, port=port, detail=detail, hint=hint)


def data_stranger(*, came_from: str, port: int, expected: list[str], count: int, detail: str = "") -> None:
    """Somebody who is not expected at a passive port came there, and was reset; `count` since the last such line.
    `detail`: what was wrong with the header of a load balancer."""
    limited(
        "warning",
        "data.stranger",
        of=came_from,
        came_from=came_from,
        port=port,
        expected=expected,
        count=count,
        detail=detail or None,
    )
