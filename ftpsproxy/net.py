"""Sockets: connecting, listening, options, closing so that the far side sees what it should. Never a protocol.

All sockets are non-blocking; what waits is for tasks of the reactor.
"""

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from typing import Any

import trio

from ftpsproxy import errors, log
from ftpsproxy.reactor import NEVER, Flag, now, outside, pause, readable, writable

Socket = socket.socket
SHUT_WR = socket.SHUT_WR
SHUT_RDWR = socket.SHUT_RDWR
SOL_SOCKET = socket.SOL_SOCKET
SO_OOBINLINE = socket.SO_OOBINLINE
# More follows at once: the end, which then goes in the same packet.
MSG_MORE = socket.MSG_MORE

_TCP_ESTABLISHED = 1
_TCP_CLOSE_WAIT = 8
_TCP_CLOSE = 7
# struct tcp_info of Linux: one byte of state first; tcpi_bytes_acked, 64 bits, at 120 (since Linux 4.1).
_BYTES_ACKED = struct.Struct("@Q")
_BYTES_ACKED_AT = 120
_BACKLOG = 1024
# A connect that gets no answer gives way to the next address after this many seconds.
_NEXT_ADDRESS_SECONDS = 5.0
# A want of descriptors is said this often.
_STARVED_SECONDS = 10.0


class ConnectError(Exception):
    """No connection; `str()` says to where and why in one line."""


def plain_address(sockaddr: tuple[object, ...]) -> str:
    """The numeric host of a socket address, IPv4 inside IPv6 as IPv4, without a zone."""
    host = str(sockaddr[0]).partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def zoned_address(sockaddr: tuple[object, ...]) -> str:
    """The same with its zone, as `numeric` takes it: a link-local address leads nowhere without. Never to be shown."""
    plain = plain_address(sockaddr)
    return f"{plain}%{sockaddr[3]}" if len(sockaddr) > 3 and sockaddr[3] else plain


def unzoned(host: str) -> str:
    """A numeric host without its zone, which means something to this machine only."""
    return host.partition("%")[0]


def numeric(host: str, port: int) -> "Address":
    """Family and socket address of a numeric host; its zone is a number or the name of an interface. Raises OSError."""
    plain, _, zone = host.partition("%")
    if ":" not in plain:
        return socket.AF_INET, (plain, port)
    if zone and not zone.isdecimal():
        zone = str(socket.if_nametoindex(zone))
    return socket.AF_INET6, (plain, port, 0, int(zone or 0))  # Python takes no zone from the text here


Address = tuple[socket.AddressFamily, tuple[object, ...]]


async def _look_up(host: str, port: int) -> list[Any]:
    return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Asked:
    """A name that is being looked up, and those who came later and wait for the answer, each as long as it may."""

    __slots__ = ("answer", "waiting")

    def __init__(self) -> None:
        self.answer: list[Address] | Exception = []
        self.waiting: set[Flag] = set()


class Resolver:
    """Names to addresses, each answer kept for a moment: a crowd of sessions asks once and wakes one thread."""

    def __init__(self, keep_seconds: float = 5.0) -> None:
        self._keep_seconds = keep_seconds
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._asked: dict[tuple[str, int], _Asked] = {}

    async def resolve(self, host: str, port: int, until: float) -> list[Address]:
        """The addresses of `host`. Raises ConnectError, and TimeoutError at `until`."""
        known = self._known.get((host, port))
        if known is not None and now() - known[0] < self._keep_seconds:
            return known[1]
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = _Asked()
            await outside(until, self._ask, host, port, asked)
        else:
            await _answer_to(asked, until)
        if isinstance(asked.answer, OSError):
            raise ConnectError(f"the name {host} can't be resolved: {errors.words(asked.answer)}")
        if isinstance(asked.answer, Exception):
            raise asked.answer
        return asked.answer

    async def _ask(self, host: str, port: int, asked: _Asked) -> None:
        """Goes on for the others when whoever came first has left. A failure is told to all of them, and not kept."""
        try:
            found = await _look_up(host, port)
            asked.answer = [(family, sockaddr) for family, _, _, _, sockaddr in found]
            self._known[host, port] = (now(), asked.answer)
        except Exception as error:
            asked.answer = error
        del self._asked[host, port]
        for arrived in asked.waiting:
            arrived.set()

    def forget(self, host: str, port: int) -> None:
        """None of the addresses answered: ask again next time."""
        self._known.pop((host, port), None)


async def _answer_to(asked: _Asked, until: float) -> None:
    arrived = Flag()
    asked.waiting.add(arrived)
    try:
        if not await arrived.wait(until):
            raise TimeoutError
    finally:
        asked.waiting.discard(arrived)


async def connect(resolver: Resolver, host: str, port: int, until: float, keepalive_seconds: float) -> Socket:
    """A connection to the first address of `host` that answers. Raises ConnectError, and TimeoutError at `until`."""
    addresses = await resolver.resolve(host, port, until)
    why = "no address"
    for index, (family, sockaddr) in enumerate(addresses):
        patience = now() + _NEXT_ADDRESS_SECONDS if index + 1 < len(addresses) else NEVER
        try:
            sock = start_connecting(family, sockaddr, keepalive_seconds=keepalive_seconds)
            await finish_connecting(sock, min(until, patience))
        except TimeoutError:
            why = "no answer"
            if now() >= until:
                raise
        except OSError as error:
            why = errors.words(error)
        else:
            return sock
    resolver.forget(host, port)
    raise ConnectError(f"no connection to {host} port {port}: {why}")


def start_connecting(
    family: int, sockaddr: tuple[object, ...], source: str | None = None, keepalive_seconds: float | None = None
) -> Socket:
    """A socket on its way to `sockaddr`, from `source`; `finish_connecting` tells how it went. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        tune(sock, keepalive_seconds)
        if source is not None:
            # Servers compare the source of data and control connections (vsftpd, SFTPGo), so a gateway with
            # several addresses must not pick another.
            sock.bind(numeric(source, 0)[1])
        code = sock.connect_ex(sockaddr)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def is_connected(sock: Socket) -> bool:
    """Whether a connection that was started is up."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:
        return False


async def finish_connecting(sock: Socket, until: float) -> None:
    """Wait until `sock` is connected. Raises OSError, TimeoutError at `until`; closes it then, and when cancelled."""
    try:
        if not await writable(sock, until):
            raise TimeoutError
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise


def listen(host: str, port: int, *, share_port: bool = False, hold_only: bool = False) -> Socket:
    """A listening socket at a numeric address; "::" takes IPv4 clients too. With `hold_only` it keeps the address, and
    does not listen. Raises OSError."""
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
        if not hold_only:
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


def reset(sock: Socket) -> None:
    """Close so that the far side gets RST: what it has must not pass for whole."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wake_for(sock: Socket, count: int) -> None:
    """Have the kernel say that bytes have come only when there are so many, or an end."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def stop_reading(sock: Socket) -> None:
    """Have a reader find the end behind what has come, as if the far side had closed."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def has_ended(sock: Socket) -> bool:
    """Whether the far side has sent FIN and no RST, read or not."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE_WAIT
    except OSError:
        return False


def is_broken(sock: Socket) -> bool:
    """Whether the connection was reset by the far side."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return True


def unread(sock: Socket) -> int:
    """Bytes that have come and were not read."""
    return _queued(sock, termios.FIONREAD)


def unsent(sock: Socket) -> int:
    """Bytes, and an end, that the far side's kernel has not taken yet."""
    return _queued(sock, termios.TIOCOUTQ)


def _queued(sock: Socket, which: int) -> int:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), which, count)
    except (OSError, ValueError):  # closed meanwhile
        return 0
    return count[0]


def finish(sock: Socket) -> bool:
    """Send the end behind what was sent → False when the connection was reset by the far side."""
    try:
        sock.shutdown(SHUT_WR)
    except OSError:
        return False
    return True


def error_of(sock: Socket) -> int:
    """What has befallen a connection, as errno; 0 for nothing."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        return error.errno or errno.EBADF


def acknowledged(sock: Socket) -> int | None:
    """Bytes that the far side's kernel has taken, or None where the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(_BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)[0])
    except (OSError, struct.error):
        return None


async def accepted(listener: Socket) -> tuple[Socket, str]:
    """The next connection of a listener and its plain peer address. Raises OSError when the listener is of no use.

    The connection may have been reset already; only accept still knows from whom it was.
    """
    while True:
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            await readable(listener)
            continue
        except OSError as error:
            if error.errno in _PASSING:
                continue
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                _say_starved(error)
                await pause(now() + 0.1)  # sessions end and give descriptors back
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
        log.gateway_starved(reason=errors.words(error))


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


def peek(sock: Socket) -> bytes | None:
    """The first byte that waits, left where it is; empty at the end, None while there is nothing. Raises OSError."""
    try:
        return sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return None


def has_data(sock: Socket) -> bool:
    """Whether bytes, or the end, can be read at once. Raises OSError."""
    return peek(sock) is not None
