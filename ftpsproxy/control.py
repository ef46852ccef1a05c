"""The two control connections: lines in, bytes out, bounds; the server's with TLS.

Sending never waits: what the kernel does not take is kept, up to a bound, and sent by a task of its own.
"""

import contextlib
from collections import deque

from ftpsproxy import errors, net
from ftpsproxy.ftp.lines import LineReader, TelnetFilter
from ftpsproxy.ftp.replies import Reply, ReplyReader
from ftpsproxy.net import Socket
from ftpsproxy.reactor import NEVER, Start, now, readable, turn, writable
from ftpsproxy.relay.handshake import shake_hands
from ftpsproxy.tls import Refused, Tls, TlsError

_CHUNK = 65536
# What was there when a time limit passed is still heard, so long behind it: it may be we who were late.
_GRACE_SECONDS = 0.5
# A peer that reads none of what it is told is lost once this much has gathered.
_MOST_UNSENT = 1024 * 1024
# And one that sends so much without the end of a line, or of TLS without a word. Far more than anybody needs.
_MOST_UNHEARD = 1024 * 1024


class Lost(Exception):
    """The connection is of no use any more; `str()` is one line of reason."""


class _Writer:
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
            self._start(self.flush(NEVER))
        else:
            self._unsent += data
        if len(self._unsent) > _MOST_UNSENT:
            self._broken = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(net.SHUT_RDWR)

    async def flush(self, until: float) -> None:
        """Send what is kept; cancellable, then to be called again."""
        while self._unsent and not self._broken:
            if not await writable(self._sock, until):
                return
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                continue
            except OSError:
                self._broken = True
                return
            del self._unsent[:sent]


class _Reader:
    """Bytes into one socket's owner, one chunk at a time. A peer that never makes us wait must not keep others from
    their turn, nor us from our time."""

    __slots__ = ("_sock", "_taken", "more")

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._taken = 0
        self.more = True

    async def receive(self, until: float = NEVER) -> bytes:
        """Wait for bytes; empty when the far side has closed. Raises Lost, TimeoutError at `until`."""
        if now() >= until + _GRACE_SECONDS:
            raise TimeoutError
        while True:
            if self._taken >= _CHUNK:
                self._taken = 0
                await turn()
            # Between two lines there is nothing to read: asking first would be a system call for nothing.
            if not self.more and not await readable(self._sock, until):
                raise TimeoutError
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                self.more = False
                self._taken = 0
                continue
            except OSError as error:
                raise _lost(error) from None
            self.more = len(data) == _CHUNK
            self._taken += len(data)
            return data


def _lost(error: OSError) -> Lost:
    return Lost(errors.words(error))


class ClientControl:
    """The client's control connection, in clear."""

    __slots__ = ("_lines", "_reader", "_said", "_sock", "_telnet", "_unheard", "_writer")

    def __init__(self, sock: Socket, start: Start, *, line_bytes: int) -> None:
        # ABOR comes with urgent data (RFC 959 section 4.1.3); out of line, its byte would be lost or misplaced.
        with contextlib.suppress(OSError):
            sock.setsockopt(net.SOL_SOCKET, net.SO_OOBINLINE, 1)
        self._sock = sock
        self._lines = LineReader(line_bytes)
        self._telnet = TelnetFilter()
        self._reader = _Reader(sock)
        self._writer = _Writer(sock, start)
        self._said = False
        self._unheard = 0

    @property
    def sock(self) -> Socket:
        """Its socket, to be looked at only."""
        return self._sock

    @property
    def unheard(self) -> bool:
        """Whether the client has said something that `pop` has not given yet."""
        return self._lines.pending > 0 or net.unread(self._sock) > 0

    async def receive(self) -> bool:
        """Wait for bytes and take them → False when the client has closed. Raises Lost, Flood."""
        data = await self._reader.receive()
        self._unheard += len(data)
        if self._unheard > _MOST_UNHEARD:
            raise Flood(f"{self._unheard} bytes without the end of a line")
        if not self._said and data:
            self._said = True
            if data[0] == 0x16 and data[1:2] in (b"", b"\x03"):
                raise ForeignProtocol("tls")
        self._lines.feed(self._telnet.feed(data))
        return bool(data)

    def pop(self) -> bytes | None:
        """The next line, or None. Raises ftp.errors.ProtocolError, and can be called on."""
        line = self._lines.pop()
        if line is not None:
            self._unheard = 0
        return line

    def send(self, data: bytes) -> None:
        """Send a reply."""
        self._writer.send(data)

    async def say_goodbye(self, until: float) -> None:
        """End so that what was sent arrives: no reset for what the client sent unheard."""
        try:
            await self._writer.flush(until)
            self._sock.shutdown(net.SHUT_WR)
            while await self._reader.receive(until):
                pass
        except (OSError, Lost):
            pass  # TimeoutError, too

    def close(self) -> None:
        """Close at once."""
        self._sock.close()


class Flood(Lost):
    """The peer sends and says nothing; `str()` tells how much."""


class ForeignProtocol(Lost):
    """The client speaks another protocol; `str()` names it."""


class ServerControl:
    """The server's control connection: in clear until `start_tls`. `local` and `peer` are its addresses, with zones.

    Raises OSError where it is broken already.
    """

    __slots__ = ("_failed", "_reader", "_sock", "_unheard", "_unsealed", "_writer", "local", "peer", "replies", "tls")

    def __init__(self, sock: Socket, start: Start, *, line_bytes: int, reply_bytes: int, reply_lines: int) -> None:
        self._sock = sock
        self.local = net.zoned_address(sock.getsockname())
        self.peer = net.zoned_address(sock.getpeername())
        self._reader = _Reader(sock)
        self._writer = _Writer(sock, start)
        self._unsealed: deque[bytes] = deque()
        self._failed: TlsError | None = None
        self._unheard = 0
        self.tls: Tls | None = None
        self.replies = ReplyReader(max_line=line_bytes, max_bytes=reply_bytes, max_lines=reply_lines)

    async def start_tls(self, tls: Tls, until: float) -> None:
        """Secure the connection. Raises Refused, TlsError, OSError, TimeoutError at `until`.

        Bytes that came in clear behind the reply to AUTH are an attack (CVE-2021-22947): nothing of them is used.
        """
        if self.replies.pending:
            raise Refused("bytes_after_auth", "the server sent more in clear after it had agreed to TLS")
        await shake_hands(self._sock, tls, until)
        self._reader.more = True  # there may be bytes behind those that the handshake has read
        self.tls = tls

    async def receive(self, until: float) -> bool:
        """Wait for bytes and take them → False when the server has ended. Raises Lost, Flood, TlsError, TimeoutError.

        True may mean bytes of TLS alone: `until` may have been moved meanwhile, so the next wait is the caller's.
        """
        tls = self.tls
        if self._failed is not None:
            raise self._failed
        if tls is not None and tls.ended:
            return False
        if tls is None or not tls.unread:  # else a greeting came in one piece with the end of the handshake
            data = await self._reader.receive(until)
            if not data or tls is None:
                self.replies.feed(data)
                return bool(data)
            tls.feed(data)
            self._unheard += len(data)
            if self._unheard > _MOST_UNHEARD:
                raise Flood(f"{self._unheard} bytes of TLS without a word")
        said = False
        try:
            while clear := tls.read_some():
                said = True
                self._unheard = 0
                self.replies.feed(clear)
                if not tls.unread:
                    break
        except TlsError as error:
            if not said:
                raise
            self._failed = error  # once what was said before it is heard
        self._seal(tls)  # keys are made anew
        return said or not tls.ended

    def pop(self) -> Reply | None:
        """The next reply, or None. Raises ftp.errors.ProtocolError."""
        return self.replies.pop()

    def send(self, data: bytes) -> None:
        """Send a command, sealed once TLS is up."""
        if self.tls is None:
            self._writer.send(data)
        else:
            self._unsealed.append(data)
            self._seal(self.tls)

    def _seal(self, tls: Tls) -> None:
        """Send what is to be sent; in a new handshake (TLS 1.2) commands wait for its end."""
        try:
            while self._unsealed and tls.write(self._unsealed[0]):
                self._unsealed.popleft()
        except TlsError:
            return  # the reader hears of it
        if tls.outgoing:
            self._writer.send(tls.take())

    async def say_goodbye(self, until: float, *, hear_end: bool) -> None:
        """End behind what was sent and close_notify; with `hear_end`, when the server has, too."""
        try:
            if self.tls is not None:
                self._writer.send(self.tls.close_notify(), net.MSG_MORE)
            await self._writer.flush(until)
            self._sock.shutdown(net.SHUT_WR)
            while hear_end and await self._reader.receive(until):
                pass
        except (OSError, Lost):
            pass  # TimeoutError, too

    def close(self) -> None:
        """Close at once."""
        self._sock.close()
