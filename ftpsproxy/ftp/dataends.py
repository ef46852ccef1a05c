"""Preparing the two data connections of a transfer: the client's way is its own choice, the server's way is ours.

The server's end comes first, the client hears 227, 229 or 200 only when both stand: what can fail fails here, with a
plain reply, and the transfer command itself passes untouched.
"""

import enum
from dataclasses import dataclass, field

from ftpsproxy.ftp import addresses, replies
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.messages import (
    ClientListening,
    ConnectToClient,
    ConnectToServer,
    DataFailed,
    DropData,
    ListenForClient,
    ListenForServer,
    NoteAddress,
    NoteLimit,
    Order,
    ServerDataReady,
    ServerListening,
    TellClient,
    TellServer,
)
from ftpsproxy.ftp.replies import Reply

_LOWEST_PORT = 1024  # RFC 2577: below are services that a bounced connection could talk to


@dataclass(slots=True)
class Learned:
    """What sessions of one upstream have found out about it; shared by them."""

    no_epsv: bool = False


@dataclass(frozen=True, slots=True)
class ClientWay:
    """How the client wants its data connection: `verb` PASV, EPSV, PORT or EPRT; `endpoint` for the last two."""

    verb: bytes
    endpoint: Endpoint | None = None


DATA_END_VERBS = frozenset({b"PASV", b"EPSV", b"PORT", b"EPRT"})


def wanted(command: Command, client: str, *, epsv_only: bool, v4: bool) -> ClientWay | list[Order]:
    """PASV, EPSV, PORT or EPRT → the way the client of address `client` wants, or the refusal of it.

    `epsv_only`: after EPSV ALL (RFC 2428 section 4); `v4`: whether there is an IPv4 address to put into 227.
    """
    name = command.verb.decode()
    argument = (command.argument or b"").strip()
    if command.verb == b"EPSV":
        family = b"2" if ":" in client else b"1"
        if argument in (b"1", b"2") and argument != family:
            return [TellClient(replies.own(522, f"Network protocol not supported, use ({family.decode()})."))]
        if argument not in (b"", b"1", b"2"):
            return [TellClient(replies.own(501, "EPSV takes 1, 2, ALL or nothing."))]
        return ClientWay(b"EPSV")
    if epsv_only:
        return [TellClient(replies.own(501, f"{name} not allowed after EPSV ALL."))]
    if command.verb == b"PASV":
        if not v4:
            return [TellClient(replies.own(522, "PASV knows IPv4 only, use EPSV."))]
        return ClientWay(b"PASV")
    try:
        endpoint = addresses.parse_port(argument) if command.verb == b"PORT" else addresses.parse_eprt(argument)
    except ProtocolError as error:
        return [TellClient(replies.own(501, f"Illegal {name} command: {error}."))]
    # RFC 2577: no bounce to third hosts, none to the ports of services.
    if endpoint.host != client or endpoint.port < _LOWEST_PORT:
        refusal = f"Illegal {name} command: only your own address, ports from {_LOWEST_PORT} on."
        return [NoteLimit("bounce", f"{name} to {endpoint}"), TellClient(replies.own(500, refusal))]
    return ClientWay(command.verb, endpoint)


class _Step(enum.Enum):
    SERVER_REPLY = 1
    SERVER_END = 2
    CLIENT_END = 3


@dataclass(slots=True)
class Preparation:
    """One preparation. Ends with `done`; `ready` tells whether both ends stand."""

    way: ClientWay
    data_mode: str
    peer: str
    learned: Learned
    done: bool = False
    ready: bool = False
    _mode: str = ""
    _step: _Step = field(default=_Step.SERVER_REPLY)

    def start(self) -> list[Order]:
        """The first orders; what was prepared before is forgotten."""
        return [DropData(), *self._ask(self._first_mode())]

    def _first_mode(self) -> str:
        if self.data_mode != "auto":
            return self.data_mode
        return "pasv" if self.learned.no_epsv and ":" not in self.peer else "epsv"

    def _ask(self, mode: str) -> list[Order]:
        self._mode = mode
        self._step = _Step.SERVER_REPLY
        match mode:
            case "epsv":
                return [TellServer(b"EPSV\r\n")]
            case "pasv":
                return [TellServer(b"PASV\r\n")]
            case _:
                self._step = _Step.SERVER_END
                return [ListenForServer(mode)]

    @property
    def waits_for_server(self) -> bool:
        """Whether the next news is a reply of the server's."""
        return self._step is _Step.SERVER_REPLY and not self.done

    def heard(self, reply: Reply) -> list[Order]:
        """The server's reply to EPSV, PASV, EPRT or PORT."""
        if reply.preliminary:
            return []
        if not reply.good:
            if self._may_fall_back() and reply.code in (500, 501, 502, 503, 504, 522):
                return self._fall_back()
            return self._fail(reply)
        if self._mode in ("eprt", "port"):
            return self._server_end_stands()
        try:
            return self._connect(reply)
        except ProtocolError as error:
            if self._may_fall_back():
                return self._fall_back()
            return self._fail(replies.own(425, f"The server's passive reply is of no use: {error}."))

    def _connect(self, reply: Reply) -> list[Order]:
        orders: list[Order] = []
        # Behind 464XLAT a 229 answers PASV, and some servers answer EPSV with 227: the code decides, not the question.
        if reply.code == 229:
            port = addresses.parse_extended_passive(reply.words)
        else:
            endpoint = addresses.parse_passive(reply.words)
            port = endpoint.port
            # The connection goes to the control connection's peer whatever stands here (CVE-2020-8284).
            if endpoint.host not in (self.peer, "0.0.0.0"):  # noqa: S104 - AWS Transfer means "the same host" by it
                orders.append(NoteAddress(endpoint.host))
        if port < _LOWEST_PORT:
            return self._fail(replies.own(425, f"The server offers port {port} for data; below 1024 is refused."))
        self._step = _Step.SERVER_END
        return [*orders, ConnectToServer(port, self._mode)]

    def _may_fall_back(self) -> bool:
        return self.data_mode == "auto" and self._mode == "epsv" and ":" not in self.peer

    def _fall_back(self) -> list[Order]:
        self.learned.no_epsv = True
        return [DropData(), *self._ask("pasv")]

    def server_end(self, event: ServerDataReady | ServerListening | DataFailed) -> list[Order]:
        """News of the server's end."""
        match event:
            case ServerDataReady():
                return self._server_end_stands()
            case ServerListening(endpoint):
                self._step = _Step.SERVER_REPLY
                if self._mode == "port":
                    return [TellServer(b"PORT %s\r\n" % addresses.render_port(endpoint))]
                return [TellServer(b"EPRT %s\r\n" % addresses.render_eprt(endpoint))]
            case DataFailed(why):
                if self._may_fall_back():
                    return self._fall_back()
                return self._fail(replies.own(425, f"No data connection to the server: {why}."))

    def _server_end_stands(self) -> list[Order]:
        self._step = _Step.CLIENT_END
        if self.way.endpoint is None:
            return [ListenForClient()]
        self.done = self.ready = True
        verb = self.way.verb.decode()
        return [ConnectToClient(self.way.endpoint), TellClient(replies.own(200, f"{verb} command successful."))]

    def client_end(self, event: ClientListening | DataFailed) -> list[Order]:
        """News of the client's end."""
        match event:
            case DataFailed(why):
                return self._fail(replies.own(425, f"No passive port here: {why}."))
            case ClientListening(endpoint):
                self.done = self.ready = True
                if self.way.verb == b"EPSV":
                    return [TellClient(replies.own(229, f"Entering Extended Passive Mode (|||{endpoint.port}|)"))]
                numbers = addresses.render_port(endpoint).decode()
                return [TellClient(replies.own(227, f"Entering Passive Mode ({numbers})"))]

    def on(self, event: ServerDataReady | ServerListening | ClientListening | DataFailed) -> list[Order]:
        """News of either end."""
        if self._step is _Step.CLIENT_END and isinstance(event, ClientListening | DataFailed):
            return self.client_end(event)
        if self._step is _Step.SERVER_END and not isinstance(event, ClientListening):
            return self.server_end(event)
        return []

    def _fail(self, reply: Reply) -> list[Order]:
        self.done = True
        return [DropData(), TellClient(reply)]
