"""The client's control connection, in clear, and all that others want to know of it: they ask here."""

import contextlib

import trio

from ftpsproxy import net
from ftpsproxy.data.relay.upload_end import FirstEnd
from ftpsproxy.data.service import Start
from ftpsproxy.ftp.lines import LineReader, TelnetFilter
from ftpsproxy.net import Socket
from ftpsproxy.session.control import MOST_UNHEARD, Flood, Lost, Reader, Writer

# Whoever wants the client heard out first waits no longer than this, whatever keeps its session from hearing it.
_HEARD_OUT_SECONDS = 1.0


class ForeignProtocol(Lost):
    """The client speaks another protocol; `str()` names it."""


class ClientControl:
    """The client's control connection. `local` and `peer` are its addresses, with zones. Where a load balancer stands
    before the client, `peer` and `port` are the client's own, and `reached` is where at the balancer it has connected.

    `listened_to`: whether its session takes what it says; while it does not, `heard_out` waits for nobody.
    """

    __slots__ = (
        "_lines",
        "_quiet",
        "_reader",
        "_said",
        "_sock",
        "_telnet",
        "_unheard",
        "_waits",
        "_writer",
        "listened_to",
        "local",
        "peer",
        "port",
        "reached",
    )

    def __init__(self, sock: Socket, client: str | net.Origin, start: Start, *, line_bytes: int) -> None:
        # ABOR comes with urgent data (RFC 959 section 4.1.3); out of line, its byte would be lost or misplaced.
        with contextlib.suppress(OSError):
            sock.setsockopt(net.SOL_SOCKET, net.SO_OOBINLINE, 1)
        self._sock = sock
        self._lines = LineReader(line_bytes)
        self._telnet = TelnetFilter()
        self._reader = Reader(sock)
        self._writer = Writer(sock, start)
        self._said = False
        self._unheard = 0
        self._waits = False
        self._quiet: trio.Event | None = None
        self.listened_to = True
        self.local = self.reached = net.zoned_address(sock.getsockname())
        if isinstance(client, net.Origin):
            self.peer, self.port, self.reached = client.client, client.client_port, client.reached
            return
        try:
            peer = sock.getpeername()
            self.peer, self.port = net.zoned_address(peer), peer[1]
        except OSError:
            self.peer, self.port = client, 0  # gone already

    # --- what is known of it ------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the client has ended its side, and nothing is left to read."""
        return net.has_ended(self._sock) and not net.unread(self._sock)

    @property
    def broken(self) -> bool:
        """Whether the client has reset it."""
        return net.is_broken(self._sock)

    def first_end(self, data: Socket) -> FirstEnd:
        """From now on, which of the two ends first: this, or this data connection. Raises OSError."""
        return FirstEnd(self._sock, data)

    async def heard_out(self) -> None:
        """Until its session has heard what the client has said by now, if it listens."""
        if self.listened_to and (not self._waits or net.unread(self._sock)):
            if self._quiet is None:
                self._quiet = trio.Event()
            with trio.move_on_after(_HEARD_OUT_SECONDS):
                await self._quiet.wait()

    # --- what passes over it ------------------------------------------------------------------------------------------

    async def receive(self) -> bool:
        """Wait for bytes and take them → False when the client has closed. Raises Lost, Flood."""
        if self._quiet is not None and not net.unread(self._sock):
            self._quiet.set()
            self._quiet = None
        self._waits = True
        data = await self._reader.receive()
        self._waits = False
        self._unheard += len(data)
        if self._unheard > MOST_UNHEARD:
            raise Flood(f"{self._unheard} bytes without the end of a line")
        if not self._said and data:
            self._said = True
            if data[0] == 0x16 and data[1:2] in (b"", b"\x03"):
                raise ForeignProtocol("tls")
            if net.begins_proxy_header(data):
                raise ForeignProtocol("proxy")
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

    async def say_goodbye(self) -> None:
        """End so that what was sent arrives: no reset for what the client sent unheard. For as long as that takes."""
        with contextlib.suppress(OSError, Lost):
            await self._writer.flush()
            self._sock.shutdown(net.SHUT_WR)
            while await self._reader.receive():
                pass

    def close(self) -> None:
        """Close at once."""
        net.close(self._sock)
