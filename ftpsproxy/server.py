"""The way to the server: a connection, TLS on it, and what the log hears of that. Nothing of FTP."""

import time

from ftpsproxy import errors, log, metrics, net
from ftpsproxy.control import ServerControl
from ftpsproxy.reactor import Start, now
from ftpsproxy.service import Service
from ftpsproxy.tls import Refused, Tls, TlsError, certificate_of, check_pins, explain_opening

_WARN_DAYS = 14


async def reach(service: Service, start: Start) -> ServerControl:
    """A control connection to the upstream, in clear. Raises Refused."""
    upstream, timeouts, limits = service.upstream, service.timeouts, service.limits
    where = f"{upstream.host} port {upstream.port}"
    until = now() + timeouts.connect
    try:
        sock = await net.connect(service.resolver, upstream.host, upstream.port, until, timeouts.keepalive)
        try:
            return ServerControl(
                sock,
                start,
                line_bytes=limits.reply_bytes,
                reply_bytes=limits.reply_bytes,
                reply_lines=limits.reply_lines,
            )
        except OSError:
            sock.close()
            raise
    except TimeoutError:
        raise Refused("connect_timeout", f"no answer from {where}") from None
    except net.ConnectError as error:
        raise Refused("connect_failed", str(error)) from None
    except OSError as error:
        raise Refused("connect_failed", f"{where}: the connection broke at once: {errors.words(error)}") from None


async def secure(server: ServerControl, service: Service) -> Tls:
    """TLS on it, the server's certificate verified. Raises Refused."""
    upstream = service.upstream
    started = time.monotonic()
    tls = service.context.connect(upstream.server_name)
    try:
        await server.start_tls(tls, now() + service.timeouts.handshake)
        certificate = certificate_of(tls)
        check_pins(tls, upstream.pins)
    except TimeoutError:
        raise Refused("handshake_timeout", "the server did not finish the TLS handshake in time") from None
    except (TlsError, OSError, Refused) as error:
        raise explain_opening(error, upstream) from None
    log.upstream_secured(
        version=tls.version,
        cipher=tls.cipher,
        resumed=tls.resumed,
        certificate_sha256=certificate.fingerprint,
        subject=certificate.subject,
        days_left=certificate.days_left,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )
    if certificate.not_after is not None and (days_left := certificate.days_left) is not None:
        metrics.UPSTREAM_EXPIRY.set(upstream.name, value=certificate.not_after.timestamp())
        if days_left < _WARN_DAYS:
            log.upstream_certificate_expiring(days_left=days_left, subject=certificate.subject)
    return tls
