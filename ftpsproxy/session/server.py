"""The server's control connection: replies in, commands out, under TLS once that is up."""

import contextlib
from collections import deque

from ftpsproxy import net
from ftpsproxy.data.service import Start
from ftpsproxy.ftp.replies import Reply, ReplyReader
from ftpsproxy.net import Socket
from ftpsproxy.session.control import MOST_UNHEARD, Flood, Lost, Reader, Writer
from ftpsproxy.tls import Refused, Tls, TlsError
from ftpsproxy.tls.handshake import shake_hands


class ServerControl:
    """The server's control connection: in clear until `start_tls`. `local` and `peer` are its addresses, with zones.

    Raises OSError where it is broken already.
    """

    __slots__ = ("_failed", "_reader", "_sock", "_unheard", "_unsealed", "_writer", "local", "peer", "replies", "tls")

    def __init__(self, sock: Socket, start: Start, *, line_bytes: int, reply_bytes: int, reply_lines: int) -> None:
        self._sock = sock
        self.local = net.zoned_address(sock.getsockname())
        self.peer = net.zoned_address(sock.getpeername())
        self._reader = Reader(sock)
        self._writer = Writer(sock, start)
        self._unsealed: deque[bytes] = deque()
        self._failed: TlsError | None = None
        self._unheard = 0
        self.tls: Tls | None = None
        self.replies = ReplyReader(max_line=line_bytes, max_bytes=reply_bytes, max_lines=reply_lines)

    async def start_tls(self, tls: Tls) -> None:
        """Secure the connection. Raises Refused, TlsError, OSError.

        Bytes that came in clear behind the reply to AUTH are an attack (CVE-2021-22947): nothing of them is used.
        """
        if self.replies.pending:
            raise Refused("bytes_after_auth", "the server sent more in clear after it had agreed to TLS")
        await shake_hands(self._sock, tls)
        self._reader.more = True  # there may be bytes behind those that the handshake has read
        self.tls = tls

    async def receive(self) -> bool:
        """Wait for bytes and take them → False when the server has ended. Raises Lost, Flood, TlsError.

        True may mean bytes of TLS alone.
        """
        tls = self.tls
        if self._failed is not None:
            raise self._failed
        if tls is not None and tls.ended:
            return False
        if tls is None or not tls.unread:  # else a greeting came in one piece with the end of the handshake
            data = await self._reader.receive()
            if not data or tls is None:
                self.replies.feed(data)
                return bool(data)
            tls.feed(data)
            self._unheard += len(data)
            if self._unheard > MOST_UNHEARD:
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
        if self._unsealed or tls.outgoing:
            self._seal(tls)  # keys are made anew
        return said or not tls.ended

    @property
    def unheard(self) -> bool:
        """Whether the server has said something that was not received yet."""
        return net.unread(self._sock) > 0

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

    async def say_goodbye(self, *, hear_end: bool) -> None:
        """End behind what was sent and close_notify; with `hear_end`, when the server has, too. For as long as it
        takes."""
        with contextlib.suppress(OSError, Lost):
            if self.tls is not None:
                self._writer.send(self.tls.close_notify(), net.MSG_MORE)
            await self._writer.flush()
            self._sock.shutdown(net.SHUT_WR)
            while hear_end and await self._reader.receive():
                pass

    def close(self) -> None:
        """Close at once."""
        net.close(self._sock)
