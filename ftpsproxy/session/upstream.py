"""The way to the server: a connection, TLS on it, and what the log hears of that. Nothing of FTP."""

import dataclasses
import time

import trio

from ftpsproxy import errors, net
from ftpsproxy.config import endpoint
from ftpsproxy.data.service import Start
from ftpsproxy.observe import log, metrics
from ftpsproxy.session.client import ClientControl
from ftpsproxy.session.recognising import protocol_at
from ftpsproxy.session.server import ServerControl
from ftpsproxy.session.service import Service
from ftpsproxy.tls import Refused, Tls, TlsError, certificate_of, check_pins, explain_opening

_WARN_DAYS = 14


async def reach(service: Service, start: Start, client: ClientControl) -> ServerControl:
    """A control connection to the upstream for this client, in clear. Raises Refused."""
    upstream, timeouts, limits = service.upstream, service.timeouts, service.limits
    where = f"{upstream.host} port {upstream.port}"
    sock: net.Socket | None = None
    try:
        with trio.fail_after(timeouts.connect):
            sock = await net.connect(service.resolver, upstream.host, upstream.port, timeouts.keepalive)
        if upstream.send_proxy_protocol != "off":
            net.announce(sock, upstream.send_proxy_protocol, net.unzoned(client.peer), client.port)
        return ServerControl(
            sock,
            start,
            line_bytes=limits.reply_bytes,
            reply_bytes=limits.reply_bytes,
            reply_lines=limits.reply_lines,
        )
    except trio.TooSlowError:
        raise Refused("connect_timeout", f"no answer from {where}") from None
    except net.ConnectError as error:
        raise Refused("connect_failed", str(error)) from None
    except OSError as error:
        if sock is not None:
            net.close(sock)
        raise Refused("connect_failed", f"{where}: the connection broke at once: {errors.words(error)}") from None


async def recognised(address: str, service: Service) -> Refused | None:
    """What a server at this address is that says nothing, if it can be told."""
    upstream = service.upstream
    speaks = await protocol_at(address, upstream.port, service.data.context.connect(upstream.server_name))
    if speaks == "TLS":
        cure = 'implicit_greeting = "tls"' if upstream.implicit else dataclasses.replace(upstream, implicit=True).url
        why = f"the server says nothing in clear, and answers TLS: it is implicit ({cure})"
        return Refused("implicit_tls", why)
    if speaks == "HTTP":
        return Refused("protocol_error", "the server speaks HTTP, not FTP: another port is meant, or another host")
    return None


async def secure(server: ServerControl, service: Service) -> Tls:
    """TLS on it, the server's certificate verified. Raises Refused."""
    upstream = service.upstream
    started = time.monotonic()
    tls = service.data.context.connect(upstream.server_name)
    try:
        with trio.fail_after(service.timeouts.handshake):
            await server.start_tls(tls)
        certificate = certificate_of(tls)
        check_pins(tls, upstream.pins)
    except trio.TooSlowError:
        late = Refused("handshake_timeout", "the server did not finish the TLS handshake in time")
        raise explain_opening(late, upstream) from None
    except (TlsError, OSError, Refused) as error:
        raise explain_opening(error, upstream) from None
    log.upstream_secured(
        tls_version=tls.version,
        cipher=tls.cipher,
        resumed=tls.resumed,
        server=endpoint(net.unzoned(upstream.host), upstream.port),
        server_address=net.unzoned(server.peer),
        certificate_sha256=certificate.fingerprint,
        pin=certificate.pin,
        verified_by=upstream.verify,
        subject=certificate.subject,
        days_left=certificate.days_left,
        handshake_seconds=time.monotonic() - started,
    )
    if certificate.not_after is not None and (days_left := certificate.days_left) is not None:
        metrics.UPSTREAM_EXPIRY.set(upstream.name, value=certificate.not_after.timestamp())
        if days_left < _WARN_DAYS:
            log.upstream_certificate_expiring(days_left=days_left, subject=certificate.subject)
    return tls
