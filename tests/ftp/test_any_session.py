"""A random walk through the protocol: client, server, data and clock in any order, and what must hold all the same.

The number of steps follows the hypothesis profile: `HYPOTHESIS_PROFILE=nightly` walks more than 100,000.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.charsets import Charsets
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.events import (
    Accepted,
    ClientListening,
    ClientLost,
    Connected,
    DataSpoke,
    EndpointFailed,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerListening,
    ServerLost,
    ServerSaid,
    ServerSaidLines,
    TimedOut,
    TransferClosed,
)
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToServer,
    Dial,
    FinishTransfer,
    HangUp,
    ListenForClient,
    ListenForServer,
    ProbeData,
    StartTls,
    TellClient,
    TellServer,
    TellStatus,
)
from ftpsproxy.ftp.protocol import Policy, Protocol, heard
from ftpsproxy.ftp.rights import Rights
from tests.ftp.play import CLIENT, SERVER, reply

LINES = st.sampled_from(
    [
        "USER a",
        "PASS b",
        "PASV",
        "EPSV",
        "PORT 10,0,0,7,8,1",
        "EPSV ALL",
        "RETR a",
        "STOR a",
        "STOR /in/a",
        "APPE /in/a",
        "CWD /in",
        "LIST",
        "XFOO",
        "DELE a",
        "P@SW",
        "SITE x",
        "TYPE I",
        "REST 5",
        "PWD",
        "ABOR",
        "NOOP",
        "STAT",
        "MODE B",
        "MODE S",
        "QUIT",
        "FEAT",
        "AUTH TLS",
        "OPTS UTF8 ON",
        "XCWD a",
        "PORT 1,2,3,4,5,6",
        "RETR a\x00b",
        "",
    ]
)
REPLIES = st.sampled_from(
    [
        "150 go",
        "125 go",
        "226 done",
        "250 done",
        "200 ok",
        "225 nothing",
        "230 in",
        "331 more",
        "350 more",
        "213 1",
        "213 9",
        "421 no more",
        "120 soon",
        "227 (1,2,3,4,8,0)",
        "229 (|||2000|)",
        "227 none",
        "425 no",
        "426 torn",
        "450 no",
        "500 ?",
        "502 ?",
        "530 no",
        "550 no",
        "550 PRET first",
        "211-a\n AUTH TLS\n211 z",
        "221 bye",
        "234 go",
        "220 hi",
        "522 session reuse required",
    ]
)


class AnySession(RuleBasedStateMachine):
    """One session with no sense in it."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol = Protocol(Policy(client=CLIENT))
        self.connected = self.secure = False
        self.over = False
        self.breaks = False
        self.begun = 0
        self.open_transfer = 0
        self.data_ok: bool | None = None
        self.unproved = 0
        self.listing = False
        self.server_good: bool | None = None
        self.asked = 0
        self.answered = 0
        self.pending: list[Event] = []
        self.number = 0

    def feed(self, event: Event) -> None:
        """Handle one event and check every order; a transfer that ends whole is closed before anything else happens."""
        closed: TransferClosed | None = None
        verdict_told = False
        for order in self.protocol.handle(event):
            assert not self.over, "an order behind the end"
            match order:
                case TellServer(data):
                    assert data.endswith(b"\r\n")
                    assert data.count(b"\n") == 1
                    assert self.connected
                    assert self.secure or data.startswith(b"AUTH ")
                case Dial():
                    assert not self.connected
                    self.pending.append(Connected(SERVER))
                case StartTls():
                    self.pending.append(Secured())
                case ProbeData():
                    self.pending.append(DataSpoke())
                case ListenForClient():
                    self.pending.append(ClientListening(Endpoint("10.0.0.1", 3000)))
                case ConnectToServer():
                    self.pending.append(ServerDataReady())
                case ListenForServer():
                    self.pending.append(ServerListening(Endpoint("192.0.2.9", 3001)))
                case BeginTransfer(transfer):
                    assert not self.open_transfer, "two transfers at a time"
                    assert transfer.number == self.begun + 1
                    self.begun = self.open_transfer = self.number = transfer.number
                    self.data_ok = None
                    self.unproved = 0
                    self.listing = transfer.verb == b"LIST"
                case FinishTransfer(number, whole, code, _, _):
                    assert number == self.open_transfer, "a transfer ended twice, or one that never began"
                    self.open_transfer = 0
                    if whole:
                        assert self.data_ok is True
                        assert self.server_good is True
                        assert not self.unproved or event == ServerSaid(reply(f"213 {self.unproved}"))
                        assert 200 <= code < 300
                        closed = TransferClosed(number, "broken" if self.breaks else "")
                    else:
                        assert not 200 <= code < 300
                case TellClient(said):
                    if said.code >= 200:
                        self.answered += 1
                    if isinstance(event, TransferClosed) and not verdict_told:
                        assert (said.code >= 400) == bool(event.why)
                        verdict_told = True  # what comes behind it answers commands that were held
                case TellStatus():
                    self.answered += 1
                case HangUp():
                    self.over = True
        assert not (self.over and self.open_transfer), "left with a transfer open"
        if closed is not None:
            assert not self.over
            self.feed(closed)

    @rule(breaks=st.booleans())
    def client_breaks_data(self, breaks: bool) -> None:
        """The client resets its data connection, or does not, at the very end of the coming transfers."""
        self.breaks = breaks

    @rule()
    @precondition(lambda self: bool(self.pending))
    def news(self) -> None:
        """What was ordered has been done."""
        if self.pending:
            event = self.pending.pop(0)
            if isinstance(event, Secured):
                self.secure = True
            if isinstance(event, Connected):
                self.connected = True
            self.feed(event)

    @rule(why=st.sampled_from(["refused", "no answer"]))
    def no_news(self, why: str) -> None:
        """What was ordered has failed."""
        if self.pending and not isinstance(self.pending[0], Secured | Connected):
            self.pending.pop(0)
            self.feed(EndpointFailed(why, Cause.REFUSED))

    @rule(line=LINES)
    def client(self, line: str) -> None:
        """A line of the client's, when it is heard."""
        if self.protocol.hears_client and not self.over:
            if line:
                self.asked += 1
            event = heard(line.encode())
            if event is not None:
                self.feed(event)

    @rule(good=st.booleans())
    def verdict(self, good: bool) -> None:
        """What a server says at the end of a transfer."""
        if self.open_transfer:
            self.server("226 done" if good else "426 torn")

    @rule(text=REPLIES)
    def server(self, text: str) -> None:
        """Any reply."""
        if not self.connected:
            return
        said = reply(text)
        if self.open_transfer and said.code >= 200 and self.server_good is None:
            self.server_good = said.good
        if not self.open_transfer:
            self.server_good = said.good if said.code >= 200 else None
        self.feed(ServerSaid(said))

    @initialize(far=st.integers(0, 5), greeted=st.booleans())
    def opening(self, far: int, greeted: bool) -> None:
        """Most walks start behind the login, some before TLS, some before there is a server, some in the middle."""
        self.protocol = Protocol(Policy(client=CLIENT, bad_lines=1000, login_attempts=1000, greet_first=greeted))
        self.feed(Accepted())
        if far == 0:
            return
        if greeted:
            self.client("FEAT")
        self.news()
        for text in ("220 hi", "234 go"):
            self.feed(ServerSaid(reply(text)))
        self.news()
        for text in ("200 ok", "200 ok"):
            self.feed(ServerSaid(reply(text)))
        if greeted:
            self.feed(ServerSaid(reply("200 ok")))
        if far > 1:
            self.client("USER a")
            self.feed(ServerSaid(reply("230 in")))

    @rule(command=st.sampled_from(["RETR a", "STOR a", "LIST", "XFOO"]))
    def transfer(self, command: str) -> None:
        """Into a transfer by the shortest way."""
        if not (self.connected and self.protocol.idle) or self.over:
            return
        self.client("PASV")
        for text in ("229 (|||2000|)", ""):
            if text:
                self.feed(ServerSaid(reply(text)))
            while self.pending:
                self.news()
        if self.protocol.idle:
            self.client(command)
            self.server_good = None
            self.feed(ServerSaid(reply("150 go")))

    @rule(ok=st.booleans(), late=st.integers(0, 1))
    def data(self, ok: bool, late: int) -> None:
        """The bytes of this transfer, or of the last one, have ended."""
        number = self.number - late
        if number == self.open_transfer and number and self.data_ok is not False:
            self.data_ok = ok
            self.unproved = 0
        self.feed(RelayFinished(number, ok, 226 if ok else 426, "" if ok else "cut"))

    @rule()
    def unproved_data(self) -> None:
        """They have ended without close_notify."""
        if self.open_transfer and self.data_ok is None:
            self.data_ok = True
            self.unproved = 0 if self.listing else 9
            self.feed(RelayFinished(self.number, True, unproved=9))

    @rule(code=st.sampled_from([211, 250, 227, 550]))
    def lines(self, code: int) -> None:
        """Of a reply that has several."""
        self.feed(ServerSaidLines(code, (b"%d-one" % code, b" two")))

    @rule()
    def clock(self) -> None:
        """Time is up, now and then."""
        if self.begun % 3 == 2:
            self.feed(TimedOut())

    @rule(whole=st.booleans(), often=st.integers(0, 5))
    def client_leaves(self, whole: bool, often: int) -> None:
        """Seldom: it ends the walk."""
        if not often:
            self.feed(ClientLost("", data_left=whole))
            self.asked = -1

    @rule(often=st.integers(0, 8))
    def server_leaves(self, often: int) -> None:
        """Seldom."""
        if not often and self.connected:
            self.feed(ServerLost("reset"))

    @invariant()
    def every_command_has_one_answer(self) -> None:
        """With nothing under way, the client has heard one final reply for each command, and the greeting."""
        if self.asked >= 0 and not self.over and self.protocol.idle and self.protocol.hears_client:
            assert self.answered == self.asked + 1


class AnySessionOfADevice(AnySession):
    """The same where little is allowed, names are translated, and the server is asked on our own behalf."""

    def __init__(self) -> None:
        super().__init__()
        rights = Rights("upload", ("DELE",), ("/in/**",), 100)
        self.protocol = Protocol(Policy(client=CLIENT, rights=rights, charsets=Charsets("cp1252")))


TestAnySession = AnySession.TestCase
TestAnySessionOfADevice = AnySessionOfADevice.TestCase
