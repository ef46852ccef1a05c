"""Sockets: connecting, listening, accepting, options. Never a protocol. All are non-blocking."""

import contextlib
import errno
import os
import socket

import trio

from ftpsproxy import errors
from ftpsproxy.net import facts
from ftpsproxy.net.addresses import numeric, plain_address
from ftpsproxy.net.resolver import ResolveError, Resolver
from ftpsproxy.net.waits import Socket, close, now, readable, writable
from ftpsproxy.observe import log

SHUT_WR = socket.SHUT_WR
SHUT_RDWR = socket.SHUT_RDWR
SOL_SOCKET = socket.SOL_SOCKET
SO_OOBINLINE = socket.SO_OOBINLINE
# More follows at once: the end, which then goes in the same packet.
MSG_MORE = socket.MSG_MORE

_BACKLOG = 1024
# A connect that gets no answer gives way to the next address after this many seconds.
_NEXT_ADDRESS_SECONDS = 5.0
# A want of descriptors is said this often, and given so long to pass: sessions end and give descriptors back.
_STARVED_SECONDS = 10.0
_STARVED_PAUSE_SECONDS = 0.1


class ConnectError(Exception):
    """No connection; `str()` says to where and why in one line."""


async def connect(resolver: Resolver, host: str, port: int, keepalive_seconds: float) -> Socket:
    """A connection to the first address of `host` that answers, for as long as it takes. Raises ConnectError."""
    try:
        addresses = await resolver.resolve(host, port)
    except ResolveError as error:
        raise ConnectError(str(error)) from None
    why = "no address"
    for index, (family, sockaddr) in enumerate(addresses):
        try:
            sock = start_connecting(family, sockaddr, keepalive_seconds=keepalive_seconds)
            if index + 1 == len(addresses):
                await finish_connecting(sock)
            else:
                with trio.fail_after(_NEXT_ADDRESS_SECONDS):
                    await finish_connecting(sock)
        except trio.TooSlowError:
            why = "no answer"
        except OSError as error:
            why = errors.words(error)
        else:
            return sock
    resolver.forget(host, port)
    raise ConnectError(f"no connection to {host} port {port}: {why}")


def start_connecting(
    family: int,
    sockaddr: tuple[object, ...],
    source: str | None = None,
    keepalive_seconds: float | None = None,
    source_port: int = 0,
) -> Socket:
    """A socket on its way to `sockaddr`, from `source` and there from `source_port`, 0 for any; `finish_connecting`
    tells how it went. Raises OSError: EADDRNOTAVAIL where these two ports had a connection until a moment ago."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        tune(sock, keepalive_seconds)
        if source is not None:
            # Servers compare the source of data and control connections (vsftpd, SFTPGo), so a gateway with
            # several addresses must not pick another.
            if source_port:  # connections to several from one port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(numeric(source, source_port)[1])
        code = sock.connect_ex(sockaddr)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def try_source_port(host: str, port: int) -> None:
    """Raises OSError where no connections can be made from this port of a numeric address."""
    family, sockaddr = numeric(host, port)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)


async def finish_connecting(sock: Socket) -> None:
    """Wait until `sock` is connected. Raises OSError; closes it then, and when cancelled."""
    try:
        if not facts.is_connected(sock):
            await writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
    except BaseException:
        close(sock)
        raise


def listen(host: str, port: int, *, share_port: bool = False) -> Socket:
    """A listening socket at a numeric address; "::" takes IPv4 clients too. Raises OSError."""
    family, sockaddr = numeric(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        tune(sock, None)  # Linux hands its options on to what it accepts
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind(sockaddr)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def message_pair() -> tuple[Socket, Socket]:
    """Two sockets of this machine, joined, that keep messages whole and never wait."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)


def tune(sock: Socket, keepalive_seconds: float | None) -> None:
    """No delay for small writes; with `keepalive_seconds`, TCP keepalive that often (NATs forget idle connections)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if keepalive_seconds:
            seconds = max(1, int(keepalive_seconds))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


async def receive(sock: Socket, most: int) -> bytes:
    """The next bytes, so many at most; empty at the end. Does not wait for what is there. Raises OSError."""
    while True:
        try:
            return sock.recv(most)
        except BlockingIOError:
            await readable(sock)


async def send_all(sock: Socket, data: bytes) -> None:
    """Send all of it, for as long as that takes. Raises OSError."""
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await writable(sock)


def wake_for(sock: Socket, count: int) -> None:
    """Have the kernel say that bytes have come only when there are so many, or an end."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def stop_reading(sock: Socket) -> None:
    """Have a reader find the end behind what has come, as if the far side had closed."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def finish(sock: Socket) -> bool:
    """Send the end behind what was sent → False when the connection was reset by the far side."""
    try:
        sock.shutdown(SHUT_WR)
    except OSError:
        return False
    return True


async def accepted(listener: Socket) -> tuple[Socket, str]:
    """The next connection of a listener and its plain peer address. Raises OSError when the listener is of no use.

    The connection may have been reset already; only accept still knows from whom it was.
    """
    while True:
        try:
            return accepted_nowait(listener)
        except BlockingIOError:
            await readable(listener)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                _say_starved(error)
                await trio.sleep(_STARVED_PAUSE_SECONDS)
                continue
            raise


def accepted_nowait(listener: Socket) -> tuple[Socket, str]:
    """The same, if it is there. Raises BlockingIOError if it is not, OSError where none can be had."""
    while True:
        try:
            sock, peer = listener.accept()
        except OSError as error:
            if error.errno in _PASSING:
                continue
            raise
        sock.setblocking(False)
        return sock, plain_address(peer)


_starved = -_STARVED_SECONDS


def _say_starved(error: OSError) -> None:
    """Loudly, but not ten times a second."""
    global _starved
    if now() - _starved >= _STARVED_SECONDS:
        _starved = now()
        log.gateway_starved(detail=errors.words(error))


# accept(2): errors of the new connection, not of the listener.
_PASSING = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,  # a firewall of the system forbids it
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EINTR,
    }
)
