"""Sockets of a log daemon as places for lines: syslog's and journald's.

A daemon may be away for a while, as when it is started anew. Lines are kept meanwhile, up to the bound of every output,
and a thread tries every half a second whether it is there again. Names are looked up by that thread alone.
"""

import contextlib
import errno
import fcntl
import os
import socket
import time

from ftpsproxy import errors
from ftpsproxy.observe.entry import Entry
from ftpsproxy.observe.output import Output

Address = str | tuple[str, int]
"""The path of a unix socket, or host and port for UDP."""

_AGAIN_SECONDS = 0.5
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class SocketOutput(Output):
    """One datagram for each line, or lines in a row where the socket is a stream."""

    end = b""

    def __init__(self, address: Address, name: str) -> None:
        self._socket: socket.socket | None = None
        super().__init__(name)
        self._address = address
        self._not_before = 0.0  # when to connect again
        self._begin_socket()

    def _begin_socket(self) -> None:
        """Connect, if there is somebody and it takes no looking up."""
        with contextlib.suppress(OSError):  # the thread tries again, once there is something to say
            self._adopt(_connected(self._address, now=True))

    def _adopt(self, sock: socket.socket) -> None:
        self._socket, self._descriptor = sock, sock.fileno()
        self.end = b"\n" if sock.type == socket.SOCK_STREAM else b""
        self._send = self._send_at_once
        if self._begun is not None:
            self._rest = self._sealed(self._begun)
            self._size = len(self._rest)

    def _send_at_once(self, data: bytes) -> int:
        assert self._socket is not None  # noqa: S101 - asked only where there is one
        return self._socket.send(data, socket.MSG_NOSIGNAL)

    def _disconnect(self) -> None:
        sock, self._socket, self._send, self._descriptor = self._socket, None, None, None
        self._not_before = time.monotonic() + _AGAIN_SECONDS
        if sock is not None:
            sock.close()

    def _fail(self, error: OSError, entry: Entry, sent: int, size: int) -> None:
        """The daemon is gone, most likely, and the line waits for its return; one that is too large is lost."""
        if error.errno in _TOO_LARGE:
            self._lose(error, entry.tells)
            return
        if isinstance(self._address, tuple) and error.errno == errno.ECONNREFUSED:
            self._lose(error, 0)  # the one before it: so does UDP tell of that
        self._disconnect()
        self._in_trouble(errors.words(error))
        self._kept.appendleft(entry)
        self._kept_bytes += len(entry.text)
        self._start_thread()

    def _ready(self) -> bool:
        if self._socket is not None:
            return super()._ready()
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        try:
            sock = _connected(self._address)
        except OSError as error:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            with self._lock:
                self._in_trouble(errors.words(error))
        else:
            with self._lock:
                self._adopt(sock)
        return False

    def forked(self) -> None:
        super().forked()
        self._disconnect()  # a stream must not have two writers
        self._begin_socket()

    def _close(self) -> None:
        self._closed = True
        self._disconnect()


def _connected(address: Address, *, now: bool = False) -> socket.socket:
    """A connected socket that never waits; `now`: of a host only if that is an address. Raises OSError."""
    if isinstance(address, tuple):
        flags = socket.AI_NUMERICHOST if now else 0
        family, _, _, _, where = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM, flags=flags)[0]
        return _to(family, socket.SOCK_DGRAM, where)
    try:
        return _to(socket.AF_UNIX, socket.SOCK_DGRAM, address)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return _to(socket.AF_UNIX, socket.SOCK_STREAM, address)


def _to(family: int, kind: int, where: str | tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


class JournalOutput(SocketOutput):
    """To journald: an entry that is too large for a datagram goes as a file in memory."""

    def _send_at_once(self, data: bytes) -> int:
        try:
            return super()._send_at_once(data)
        except OSError as error:
            if error.errno not in _TOO_LARGE or self._socket is None:
                raise
        file = os.memfd_create("log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, data)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [b""], [file], socket.MSG_NOSIGNAL)
        finally:
            os.close(file)
        return len(data)
