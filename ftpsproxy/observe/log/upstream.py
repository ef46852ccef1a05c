"""What the log hears of the server."""

from collections.abc import Iterable
from typing import Any, Literal

from ftpsproxy.ftp.orders import Ignored
from ftpsproxy.observe import metrics
from ftpsproxy.observe.log.writing import bind_server, limited, say, where
from ftpsproxy.observe.redaction import redact


def upstream_secured(
    *,
    tls_version: str,
    cipher: str,
    resumed: bool,
    server: str,
    server_address: str,
    certificate_sha256: str,
    pin: str,
    verified_by: Literal["chain", "pin"],
    subject: str,
    days_left: int | None,
    handshake_seconds: float,
) -> None:
    """TLS is up with the server, HOST:PORT as it is configured, at this address, its certificate verified."""
    metrics.UPSTREAM_SECONDS.observe(where()[1], value=handshake_seconds)
    bind_server(
        server=server, server_address=server_address, certificate_sha256=certificate_sha256, verified_by=verified_by
    )
    say(
        "info",
        "upstream.secured",
        tls_version=tls_version,
        cipher=cipher,
        resumed=resumed,
        server=server,
        server_address=server_address,
        certificate_sha256=certificate_sha256,
        pin=pin,
        verified_by=verified_by,
        subject=subject,
        days_left=days_left,
        handshake_seconds=round(handshake_seconds, 4),
    )


def upstream_certificate_expiring(*, days_left: int, subject: str) -> None:
    """The server's certificate will soon be refused."""
    say("warning", "upstream.certificate_expiring", days_left=days_left, subject=subject)


def upstream_failed(*, cause: str, detail: str, shown: Iterable[tuple[str, Any]] = ()) -> None:
    """No secure session with the server; `cause` is a machine word; `shown`: its certificate, by field."""
    metrics.UPSTREAM_FAILURES.add(*where(), cause)
    limited("warning", "upstream.failed", cause=cause, detail=redact(detail), **dict(shown))


def upstream_address_ignored(*, reply_host: str, server_address: str) -> None:
    """The server named another host for data; the control connection's peer is used."""
    limited("info", "upstream.address_ignored", reply_host=reply_host, server_address=server_address)


def upstream_reply_ignored(*, said: str, why: Ignored) -> None:
    """The server said something that the client did not hear: nobody asked, it is no reply, it holds an address."""
    limited("info", "upstream.reply_ignored", said=redact(said), cause=why.value, detail=why.words)


def upstream_session_reuse_refused(*, said: str, hint: str | None = None) -> None:
    """The server refused a data connection for want of a resumed TLS session; what to try if it does so always."""
    metrics.UPSTREAM_REUSE_REFUSED.add(*where())
    limited("warning", "upstream.session_reuse_refused", said=redact(said), hint=hint)
