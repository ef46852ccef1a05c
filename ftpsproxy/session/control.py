"""What both control connections have in common: bytes in, bytes out, bounds.

Sending never waits: what the kernel does not take is kept, up to a bound, and sent by a task of its own.
"""

import contextlib

from ftpsproxy import errors, net
from ftpsproxy.data.service import Start
from ftpsproxy.net import Socket

_CHUNK = 65536
# A peer that reads none of what it is told is lost once this much has gathered.
_MOST_UNSENT = 1024 * 1024
# And one that sends so much without the end of a line, or of TLS without a word. Far more than anybody needs.
MOST_UNHEARD = 1024 * 1024


class Lost(Exception):
    """The connection is of no use any more; `str()` is one line of reason."""


class Flood(Lost):
    """The peer sends and says nothing; `str()` tells how much."""


class Writer:
    """Bytes out of one socket, in order, without waiting."""

    __slots__ = ("_broken", "_sock", "_start", "_unsent")

    def __init__(self, sock: Socket, start: Start) -> None:
        self._sock = sock
        self._start = start
        self._unsent = bytearray()
        self._broken = False

    def send(self, data: bytes, flags: int = 0) -> None:
        """Send or keep `data`. A broken connection is for the reader to notice."""
        if self._broken:
            return
        if not self._unsent:
            try:
                sent = self._sock.send(data, flags)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._broken = True
                return
            if sent == len(data):
                return
            self._unsent += data[sent:]
            self._start(self.flush)
        else:
            self._unsent += data
        if len(self._unsent) > _MOST_UNSENT:
            self._broken = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(net.SHUT_RDWR)

    async def flush(self) -> None:
        """Send what is kept; cancellable, then to be called again. One task at a time."""
        while self._unsent and not self._broken:
            try:
                await net.writable(self._sock)
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                continue
            except OSError:
                self._broken = True
                return
            del self._unsent[:sent]


class Reader:
    """Bytes into one socket's owner, one chunk at a time. A peer that never makes us wait must not keep others from
    their turn, nor us from our time."""

    __slots__ = ("_sock", "_taken", "more")

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._taken = 0
        self.more = True

    async def receive(self) -> bytes:
        """Wait for bytes; empty when the far side has closed. Raises Lost."""
        while True:
            try:
                if self._taken >= _CHUNK:
                    self._taken = 0
                    await net.turn()
                # Between two lines there is nothing to read: asking first would be a system call for nothing.
                if not self.more:
                    await net.readable(self._sock)
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                self.more = False
                self._taken = 0
                continue
            except OSError as error:
                raise Lost(errors.words(error)) from None
            self.more = len(data) == _CHUNK
            self._taken += len(data)
            return data
