"""What the log hears of the server."""

from collections.abc import Iterable
from typing import Any, Literal

from ftpsproxy.observe import metrics
from ftpsproxy.observe.log.writing import bind_server, limited, say, where
from ftpsproxy.observe.redaction import redact


def upstream_secured(
    *,
    version: str,
    cipher: str,
    resumed: bool,
    host: str,
    address: str,
    port: int,
    server: str,
    certificate_sha256: str,
    pin: str,
    verified_by: Literal["chain", "pin"],
    subject: str,
    days_left: int | None,
    milliseconds: float,
) -> None:
    """TLS is up with the server of this name at this address, its certificate verified, in so many `milliseconds`.
    `server` is HOST:PORT as it is configured."""
    metrics.UPSTREAM_SECONDS.observe(where()[1], value=milliseconds / 1000)
    bind_server(server=server, server_address=address, certificate_sha256=certificate_sha256, verified_by=verified_by)
    say(
        "info",
        "upstream.secured",
        version=version,
        cipher=cipher,
        resumed=resumed,
        host=host,
        address=address,
        port=port,
        certificate_sha256=certificate_sha256,
        pin=pin,
        verified_by=verified_by,
        subject=subject,
        days_left=days_left,
        milliseconds=round(milliseconds, 3),
    )


def upstream_certificate_expiring(*, days_left: int, subject: str) -> None:
    """The server's certificate will soon be refused."""
    say("warning", "upstream.certificate_expiring", days_left=days_left, subject=subject)


def upstream_failed(*, reason: str, detail: str, shown: Iterable[tuple[str, Any]] = ()) -> None:
    """No secure session with the server; `reason` is a machine word; `shown`: its certificate, by field."""
    metrics.UPSTREAM_FAILURES.add(*where(), reason)
    limited("warning", "upstream.failed", reason=reason, detail=redact(detail), **dict(shown))


def upstream_address_ignored(*, reply_host: str, peer: str) -> None:
    """The server named another host for data; the control connection's peer is used."""
    limited("info", "upstream.address_ignored", reply_host=reply_host, peer=peer)


def upstream_reply_ignored(*, reply: str, reason: str) -> None:
    """The server said something that the client did not hear: nobody asked, it is no reply, it holds an address."""
    limited("info", "upstream.reply_ignored", reply=redact(reply), reason=reason)


def upstream_session_reuse_refused(*, reply: str, hint: str | None = None) -> None:
    """The server refused a data connection for want of a resumed TLS session; what to try if it does so always."""
    metrics.UPSTREAM_REUSE_REFUSED.add(*where())
    limited("warning", "upstream.session_reuse_refused", reply=redact(reply), hint=hint)
