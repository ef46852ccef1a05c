"""Playbooks for the protocol: what happens goes in as short calls, what it orders comes out as short lines.

`C 220 ...` is told to the client, `S AUTH TLS` to the server; the other orders are named in a word or two.
"""

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import DataFailure
from ftpsproxy.ftp.events import (
    ClientListening,
    Connected,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerSaid,
    TransferClosed,
)
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToClient,
    ConnectToServer,
    DropServerEndpoint,
    FinishInBand,
    FinishTransfer,
    HangUp,
    ListenForServer,
    NoteAddressIgnored,
    NoteCloseNotifyMissing,
    NoteCommandRefused,
    NoteDataFailed,
    NoteFileChanged,
    NoteLimit,
    NoteLogin,
    NoteReplyIgnored,
    NoteTransferRefused,
    NoteUpstreamFailed,
    Order,
    StartDataTls,
    TellClient,
    TellLines,
    TellServer,
    TellStatus,
)
from ftpsproxy.ftp.protocol import Policy, Protocol, heard
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks

CLIENT = "10.0.0.7"
SERVER = "192.0.2.1"


def reply(text: str) -> Reply:
    """`"226 done"`, or several lines with newlines between."""
    lines = tuple(line.encode("latin-1") for line in text.split("\n"))
    return Reply(int(text[:3]), lines)


def show(order: Order) -> str:
    """One order in a line."""
    match order:
        case TellClient(said):
            return "C " + b"|".join(said.lines).decode("latin-1")
        case TellLines(lines):
            return "C+ " + b"|".join(lines).decode("latin-1")
        case TellServer(data):
            assert data.endswith(b"\r\n")
            return "S " + data[:-2].decode("latin-1")
        case TellStatus(number):
            return f"status {number}"
        case ConnectToClient(endpoint):
            return f"client at {endpoint}"
        case ConnectToServer(port, mode):
            return f"connect {mode} {port}"
        case ListenForServer(mode):
            return f"listen for server {mode}"
        case BeginTransfer(transfer):
            return f"begin {transfer.number} {transfer.direction.value}"
        case FinishTransfer(number, whole, _, outcome, _):
            return f"end {number} {'whole' if whole else 'torn'} {outcome}"
        case DropServerEndpoint(refused):
            return "drop server's end" + (", refused" if refused else "")
        case FinishInBand(number):
            return f"in band {number}"
        case HangUp():
            return "hang up"
        case NoteUpstreamFailed(reason, _):
            return f"refused {reason}"
        case NoteLogin(user, ok, _):
            return f"login {user} {'ok' if ok else 'failed'}"
        case NoteLimit(limit, _):
            return f"limit {limit}"
        case NoteAddressIgnored(host):
            return f"ignored {host}"
        case _:
            return type(order).__name__


class Play:
    """One session on paper. What is for the log alone is `noted`; `tls_for` which way data was to
    go when its TLS began; `orders` are all there were."""

    def __init__(self, policy: Policy | None = None, quirks: UpstreamQuirks | None = None) -> None:
        self.protocol = Protocol(policy if policy is not None else Policy(client=CLIENT), quirks)
        self.broken = ""
        self.noted: list[str] = []
        self.tls_for: list[Direction] = []
        self.orders: list[Order] = []

    @property
    def begun(self) -> list[BeginTransfer]:
        """The transfers that have begun."""
        return [order for order in self.orders if isinstance(order, BeginTransfer)]

    def happens(self, event: Event) -> list[str]:
        """Any event → what is ordered. A transfer that ends whole is closed at once, well or because of `broken`."""
        orders = []
        for order in self.protocol.handle(event):
            self.orders.append(order)
            match order:
                case NoteCommandRefused(verb, why):
                    self.noted.append(f"refused {verb}: {why}")
                case NoteTransferRefused(command, answer, _):
                    self.noted.append(f"no transfer {command.verb.decode()}: {answer.code} {answer.text}")
                case NoteFileChanged(change, code):
                    self.noted.append(f"{change.action.value} {change.path}: {code}")
                case StartDataTls(direction):
                    self.tls_for.append(direction)
                case NoteReplyIgnored(said, why):
                    self.noted.append(f"ignored {said}: {why.words}")
                case NoteCloseNotifyMissing(verb):
                    self.noted.append(f"unproved {verb}")
                case NoteDataFailed(DataFailure(side, cause, why, mode)):
                    self.noted.append(f"{side} {mode} {cause.value}: {why}")
                case _:
                    orders.append(order)
        shown = [show(order) for order in orders]
        for order in orders:
            if isinstance(order, FinishTransfer) and order.whole:
                shown += self.happens(TransferClosed(order.number, self.broken))
        return shown

    def client(self, line: str) -> list[str]:
        """A line of the client's."""
        event = heard(line.encode("latin-1"))
        return self.happens(event) if event is not None else []

    def server(self, text: str) -> list[str]:
        """A reply of the server's."""
        return self.happens(ServerSaid(reply(text)))

    def ended(self, number: int, why: str = "") -> list[str]:
        """The bytes of a transfer have ended, well or because of `why`."""
        return self.happens(RelayFinished(number, not why, 426 if why else 226, why))

    def opened(self) -> "Play":
        """Through the opening of an explicit server."""
        assert self.happens(Connected(SERVER)) == []
        assert self.server("220 hello") == ["S AUTH TLS"]
        assert self.server("234 go") == ["StartTls"]
        assert self.happens(Secured()) == ["S PBSZ 0"]
        assert self.server("200 ok") == ["S PROT P"]
        assert self.server("200 ok") == ["C 220 FTP service ready."]
        return self

    def logged_in(self) -> "Play":
        """And through a login."""
        self.opened()
        assert self.client("USER bob") == ["S USER bob"]
        assert self.server("331 password") == ["C 331 password"]
        assert self.client("PASS secret") == ["S PASS secret"]
        assert self.server("230 in") == ["login bob ok", "C 230 in"]
        return self

    def passive(self) -> "Play":
        """With both ends of a transfer prepared."""
        assert self.client("PASV") == ["DropEndpoints", "S EPSV"]
        assert self.server("229 ok (|||2000|)") == ["connect epsv 2000"]
        assert self.happens(ServerDataReady()) == ["ListenForClient"]
        assert self.happens(ClientListening(Endpoint("10.0.0.1", 3000))) == [
            "C 227 Entering Passive Mode (10,0,0,1,11,184)"
        ]
        return self

    def transfer(self, command: str, number: int = 1) -> "Play":
        """In the middle of a transfer."""
        self.passive()
        assert self.client(command) == [f"S {command}"]
        orders = self.server("150 here")
        assert orders[0].startswith(f"begin {number} ")
        assert orders[1:] == ["C 150 here"]
        return self
