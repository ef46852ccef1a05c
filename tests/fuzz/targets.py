"""What is fuzzed, and what must hold for any bytes whatever. Each target raises AssertionError, or nothing."""

import contextlib
from collections.abc import Callable, Iterator

from ftpsproxy.ftp import addresses, commands
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.errors import LineTooLong, ProtocolError
from ftpsproxy.ftp.events import (
    ClientErred,
    ClientListening,
    ClientLost,
    Connected,
    EndpointFailed,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerLost,
    ServerRefused,
    ServerSaid,
    Stopped,
    TimedOut,
    TransferClosed,
)
from ftpsproxy.ftp.lines import LineReader, TelnetFilter
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToServer,
    FinishTransfer,
    HangUp,
    ListenForClient,
    Order,
    StartTls,
    TellServer,
)
from ftpsproxy.ftp.protocol import Policy, Protocol, heard
from ftpsproxy.ftp.replies import Reply, ReplyReader

Target = Callable[[bytes], None]


def _bytes_one_by_one(data: bytes) -> Iterator[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def _read_replies(chunks: Iterator[bytes]) -> list[Reply | str]:
    reader = ReplyReader(max_line=300, max_bytes=900, max_lines=8)
    found: list[Reply | str] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (reply := reader.pop()) is not None:
                found.append(reply)
    except ProtocolError:
        found.append("error")
    return found


def replies(data: bytes) -> None:
    """Whole and byte by byte agree; what comes out is well-formed and means the same when read again."""
    found = _read_replies(iter([data]))
    assert found == _read_replies(_bytes_one_by_one(data))
    for reply in found:
        if isinstance(reply, Reply):
            assert 100 <= reply.code <= 599
            assert b"\0" not in reply.encode()
            assert reply.encode().count(b"\r") == reply.encode().count(b"\n") == len(reply.lines)
            again = ReplyReader(max_line=2000, max_bytes=9000, max_lines=9)
            again.feed(reply.encode())
            assert again.pop() == reply
            assert not again.pending


def _read_commands(chunks: Iterator[bytes]) -> list[object]:
    reader, telnet = LineReader(200), TelnetFilter()
    found: list[object] = []
    for chunk in chunks:
        reader.feed(telnet.feed(chunk))
        while True:
            try:
                line = reader.pop()
                if line is None:
                    break
                found.append(commands.parse(line))
            except LineTooLong:
                found.append("too long")
            except ProtocolError:
                found.append("bad")
    assert reader.pending <= 202
    return found


def command_lines(data: bytes) -> None:
    """Whole and byte by byte agree; a command goes out as one line."""
    found = _read_commands(iter([data]))
    assert found == _read_commands(_bytes_one_by_one(data))
    for command in found:
        if isinstance(command, commands.Command):
            wire = command.encode()
            assert wire.count(b"\r") == wire.count(b"\n") == 1
            assert wire.endswith(b"\r\n")
            assert b"\0" not in wire


def address_codecs(data: bytes) -> None:
    """Only the protocol's error escapes; what was read is written so that it reads the same."""
    try:
        endpoint = addresses.parse_port(data)
        assert addresses.parse_port(addresses.render_port(endpoint)) == endpoint
    except ProtocolError:
        pass
    try:
        endpoint = addresses.parse_eprt(data)
        assert addresses.parse_eprt(addresses.render_eprt(endpoint)) == endpoint
    except ProtocolError:
        pass
    try:
        endpoint = addresses.parse_passive(data)
        assert addresses.parse_passive(addresses.render_port(endpoint)) == endpoint
    except ProtocolError:
        pass
    with contextlib.suppress(ProtocolError):
        assert 1 <= addresses.parse_extended_passive(data) <= 65535


_VERBS = b"USER a|PASS b|PASV|EPSV|PORT 10,0,0,7,8,1|RETR a|STOR a|LIST|XFOO|PWD|ABOR|NOOP|STAT|QUIT|FEAT|OPTS UTF8 ON"
_REPLIES = (
    b"150 go|226 done|200 ok|225 no|230 in|331 more|229 (|||2000|)|227 (1,2,3,4,8,0)|425 no|426 torn|500 ?|530 no"
    b"|550 no|211-a\r\n AUTH\r\n211 z|221 bye|234 go|220 hi|421 out"
)


class _Witness:
    """Watches one session's orders for what must never be."""

    def __init__(self) -> None:
        self.protocol = Protocol(Policy(client="10.0.0.7"))
        self.secure = self.over = False
        self.open = self.begun = 0
        self.data_ok = False
        self.good = False
        self.closed: Event | None = None
        self.news: list[Event] = [Connected("192.0.2.1")]

    def feed(self, event: Event) -> None:
        for order in self.protocol.handle(event):
            assert not self.over
            self._see(order)
        assert not (self.over and self.open)
        closed, self.closed = self.closed, None
        if closed is not None:
            self.feed(closed)

    def _see(self, order: Order) -> None:
        match order:
            case TellServer(data):
                assert data.endswith(b"\r\n")
                assert data.count(b"\n") == 1
                assert self.secure or data.startswith(b"AUTH ")
            case StartTls():
                self.news.append(Secured())
            case ListenForClient():
                self.news.append(ClientListening(Endpoint("10.0.0.1", 3000)))
            case ConnectToServer():
                self.news.append(ServerDataReady())
            case BeginTransfer(transfer):
                assert not self.open
                assert transfer.number == self.begun + 1
                self.open = self.begun = transfer.number
                self.data_ok = False
            case FinishTransfer(number, whole, code, _, _):
                assert number == self.open
                self.open = 0
                assert (200 <= code < 300) == whole
                assert not whole or self.data_ok
                if whole:
                    self.closed = TransferClosed(number, "broken" if self.begun & 1 else "")
            case HangUp():
                self.over = True
            case _:
                pass


def protocol(data: bytes) -> None:
    """Each byte is an event; nothing raises, and the law holds."""
    witness = _Witness()
    verbs, said = _VERBS.split(b"|"), _split_replies()
    for byte in data[:400]:
        kind, which = byte >> 5, byte & 31
        match kind:
            case 0 | 1:
                line = heard(verbs[which % len(verbs)])
                if witness.protocol.hears_client and line is not None:
                    witness.feed(line)
            case 2 | 3 | 4:
                witness.feed(ServerSaid(said[which % len(said)]))
            case 5:
                if witness.news:
                    event = witness.news.pop(0)
                    witness.secure = witness.secure or isinstance(event, Secured)
                    witness.feed(event)
            case 6:
                ok = bool(which & 1)
                number = witness.begun - (which >> 1 & 1)
                if number and number == witness.open:
                    witness.data_ok = ok
                witness.feed(RelayFinished(number, ok, 226 if ok else 426, "" if ok else "cut"))
            case _:
                witness.feed(_RARE[which % len(_RARE)])


_RARE: tuple[Event, ...] = (
    TimedOut(),
    ClientLost("", data_left=True),
    ClientLost("reset"),
    ServerLost("reset"),
    EndpointFailed("refused", Cause.REFUSED),
    ClientErred("line too long"),
    ServerRefused("closed", "gone"),
    Stopped("The gateway is shutting down."),
)


def _split_replies() -> list[Reply]:
    reader = ReplyReader(max_line=300, max_bytes=900, max_lines=8)
    found = []
    for text in _REPLIES.replace(b"(|||2000|)", b"(!!!2000!)").split(b"|"):
        reader.feed(text + b"\r\n")
        reply = reader.pop()
        assert reply is not None
        found.append(reply)
    return found


TARGETS: dict[str, Target] = {
    "replies": replies,
    "commands": command_lines,
    "addresses": address_codecs,
    "protocol": protocol,
}
