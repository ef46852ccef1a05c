"""What the log hears of transfers, and of what else becomes of files. Each of these lines stands alone: by its `facts`
it says who, at which server, known by what, in which directory."""

from typing import Any

from ftpsproxy.ftp.changes import Change
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.orders import Outcome, Transfer
from ftpsproxy.observe import metrics
from ftpsproxy.observe.lines import Facts
from ftpsproxy.observe.log.writing import facts as facts_in
from ftpsproxy.observe.log.writing import limited, say, where
from ftpsproxy.observe.redaction import redact


def transfer_started(
    transfer: Transfer,
    facts: Facts | None,
    *,
    direction: str,
    client_mode: str,
    upstream_mode: str,
    seconds: float | None = None,
) -> None:
    """A transfer has begun; one that has lasted `seconds` by now, for which that is worth a line at info."""
    say(
        "debug" if seconds is None else "info",
        "transfer.started",
        facts=facts,
        **_named(transfer),
        direction=direction,
        client_mode=client_mode or None,
        upstream_mode=upstream_mode or None,
        seconds=seconds,
    )


def transfer_progress(
    transfer: Transfer, facts: Facts | None, *, direction: str, bytes: int, seconds: float, ttfb_seconds: float | None
) -> None:
    """So many bytes have passed in so many seconds, and the transfer goes on."""
    say(
        "info",
        "transfer.progress",
        facts=facts,
        **_named(transfer),
        direction=direction,
        bytes=bytes,
        seconds=seconds,
        ttfb_seconds=ttfb_seconds,
    )


def transfer_refused(*, verb: str, path: str, reply: int, text: str, place: Place | None = None) -> None:
    """There was no transfer: the server's reply to the command, or the gateway's own."""
    limited("warning", "transfer.refused", facts=facts_in(place), verb=verb, path=path, reply=reply, text=redact(text))


def transfer_finished(
    transfer: Transfer,
    facts: Facts | None,
    *,
    direction: str,
    bytes: int,
    seconds: float,
    ttfb_seconds: float | None,
    client_mode: str,
    upstream_mode: str,
    tls_version: str | None,
    cipher: str | None,
    resumed: bool | None,
    close_notify: bool | None,
    reply: int | None,
    outcome: Outcome,
    why: str,
    failed: tuple[Side, Cause] | None,
    sha256: str | None,
) -> None:
    """All there is to say of one transfer. `bytes` passed the gateway, the first of them `ttfb_seconds` behind the
    beginning; `why` it has ended so, and whose data connection `failed` by what cause. None is what was never known."""
    listener_and_upstream = where()
    metrics.TRANSFERS.add(*listener_and_upstream, direction, outcome)
    metrics.TRANSFER_SECONDS.observe(*listener_and_upstream, direction, value=seconds)
    if resumed is not None:
        metrics.DATA_CONNECTIONS.add(listener_and_upstream[1], metrics.YES if resumed else metrics.NO)
    say(
        "info" if outcome == "complete" else "warning",
        "transfer.finished",
        facts=facts,
        **_named(transfer),
        direction=direction,
        bytes=bytes,
        seconds=round(seconds, 6),
        ttfb_seconds=ttfb_seconds,
        client_mode=client_mode or None,
        upstream_mode=upstream_mode or None,
        tls_version=tls_version,
        cipher=cipher,
        resumed=resumed,
        close_notify=close_notify,
        reply=reply,
        outcome=outcome,
        remark=_REMARKS.get(why, why or None) if outcome == "complete" else None,
        side=failed[0] if failed is not None else None,
        cause=failed[1].value if failed is not None else None,
        detail=redact(why) if outcome != "complete" else None,
        sha256=sha256,
    )


_REMARKS = {"proved by SIZE": "proved_by_size"}


def _named(transfer: Transfer) -> dict[str, Any]:
    verb = transfer.verb.decode()
    return {
        "number": transfer.number,
        "verb": verb,
        "path": redact(transfer.path) if verb == "STOU" else transfer.path,  # the server's words: it has made the name
        "type": _TYPES.get(transfer.type),
        "offset": transfer.offset,
    }


_TYPES = {letter.encode(): letter for letter in "AEIL"}  # RFC 959 section 3.1.1


def file_changed(change: Change, *, reply: int | None, place: Place | None) -> None:
    """Something else has become of a file, or was refused by the server. What was done is never left out; without a
    reply it may have been."""
    done = reply is not None and 200 <= reply < 300
    fields: dict[str, Any] = {
        "action": change.action.value,
        "verb": change.verb,
        "path": change.path,
        "to": change.to,
        "ok": done if reply is not None else None,
        "reply": reply,
    }
    if done:
        say("info", "file.changed", facts=facts_in(place), **fields)
    else:
        limited("warning", "file.changed", facts=facts_in(place), **fields)
