"""Playbooks for the protocol: what happens goes in as short calls, what it orders comes out as short lines.

`C 220 ...` is told to the client, `S AUTH TLS` to the server; the other orders are named in a word or two.
"""

from ftpsproxy.ftp import messages
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.messages import Event, Order
from ftpsproxy.ftp.protocol import Policy, Protocol
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.serverend import Learned

CLIENT = "10.0.0.7"
SERVER = "192.0.2.1"


def reply(text: str) -> Reply:
    """`"226 done"`, or several lines with newlines between."""
    lines = tuple(line.encode("latin-1") for line in text.split("\n"))
    return Reply(int(text[:3]), lines)


def show(order: Order) -> str:
    """One order in a line."""
    match order:
        case messages.TellClient(said):
            return "C " + b"|".join(said.lines).decode("latin-1")
        case messages.TellLines(lines):
            return "C+ " + b"|".join(lines).decode("latin-1")
        case messages.TellServer(data, _):
            assert data.endswith(b"\r\n")
            return "S " + data[:-2].decode("latin-1")
        case messages.TellStatus(number):
            return f"status {number}"
        case messages.ConnectToClient(endpoint):
            return f"client at {endpoint}"
        case messages.ConnectToServer(port, mode):
            return f"connect {mode} {port}"
        case messages.ListenForServer(mode):
            return f"listen for server {mode}"
        case messages.BeginData(transfer):
            return f"begin {transfer.number} {transfer.direction.value}"
        case messages.EndData(number, whole, _, outcome, _):
            return f"end {number} {'whole' if whole else 'torn'} {outcome}"
        case messages.DropServerEnd(refused):
            return "drop server's end" + (", refused" if refused else "")
        case messages.EndInBand(number):
            return f"in band {number}"
        case messages.HangUp():
            return "hang up"
        case messages.NoteRefused(reason, _):
            return f"refused {reason}"
        case messages.NoteLogin(user, ok, _):
            return f"login {user} {'ok' if ok else 'failed'}"
        case messages.NoteLimit(limit, _):
            return f"limit {limit}"
        case messages.NoteAddress(host):
            return f"ignored {host}"
        case _:
            return type(order).__name__


class Play:
    """One session on paper. What is for the log alone is `noted`."""

    def __init__(self, policy: Policy | None = None, learned: Learned | None = None) -> None:
        self.protocol = Protocol(policy if policy is not None else Policy(client=CLIENT), learned)
        self.broken = ""
        self.noted: list[str] = []

    def happens(self, event: Event) -> list[str]:
        """Any event → what is ordered. A transfer that ends whole is closed at once, well or because of `broken`."""
        orders = []
        for order in self.protocol.handle(event):
            match order:
                case messages.NoteCommand(verb, why):
                    self.noted.append(f"refused {verb}: {why}")
                case messages.NoteNoTransfer(command, answer):
                    self.noted.append(f"no transfer {command.verb.decode()}: {answer.code} {answer.text}")
                case messages.NoteReply(said, why):
                    self.noted.append(f"ignored {said}: {why}")
                case messages.NoteUnproved(verb):
                    self.noted.append(f"unproved {verb}")
                case messages.NoteData(side, mode, why):
                    self.noted.append(f"{side} {mode}: {why}")
                case _:
                    orders.append(order)
        shown = [show(order) for order in orders]
        for order in orders:
            if isinstance(order, messages.EndData) and order.whole:
                shown += self.happens(messages.DataClosed(order.number, self.broken))
        return shown

    def client(self, line: str) -> list[str]:
        """A line of the client's."""
        return self.happens(messages.ClientSaid(line.encode("latin-1")))

    def server(self, text: str) -> list[str]:
        """A reply of the server's."""
        return self.happens(messages.ServerSaid(reply(text)))

    def ended(self, number: int, why: str = "") -> list[str]:
        """The bytes of a transfer have ended, well or because of `why`."""
        return self.happens(messages.DataEnded(number, not why, 426 if why else 226, why))

    def opened(self) -> "Play":
        """Through the opening of an explicit server."""
        assert self.happens(messages.Connected(SERVER)) == []
        assert self.server("220 hello") == ["S AUTH TLS"]
        assert self.server("234 go") == ["StartTls"]
        assert self.happens(messages.Secured()) == ["S PBSZ 0"]
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
        assert self.client("PASV") == ["DropData", "S EPSV"]
        assert self.server("229 ok (|||2000|)") == ["connect epsv 2000"]
        assert self.happens(messages.ServerDataReady()) == ["ListenForClient"]
        assert self.happens(messages.ClientListening(Endpoint("10.0.0.1", 3000))) == [
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
