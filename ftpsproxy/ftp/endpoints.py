"""Preparing the two data connections of a transfer: the client's way is its own choice, the server's way is ours.

The server's end comes first, the client hears 227, 229 or 200 only when both stand: what can fail fails here, with a
plain reply, and the transfer command itself passes untouched. `server_endpoint` tells when the server's end is put off.
"""

from dataclasses import dataclass

from ftpsproxy.ftp import addresses, replies
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.data_failure import Cause, DataFailure
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.events import ClientListening, EndpointFailed, EndpointsUnused, ServerDataReady, ServerListening
from ftpsproxy.ftp.orders import (
    ConnectToClient,
    DropEndpoints,
    DropServerEndpoint,
    ListenForClient,
    NoteCommandRefused,
    NoteDataFailed,
    NoteLimit,
    Order,
    TellClient,
)
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import LOWEST_PORT, DeferredEndpoint, ServerEndpoint, UpstreamQuirks


@dataclass(frozen=True, slots=True)
class ClientEndpoint:
    """How the client wants its data connection: `verb` PASV, EPSV, PORT or EPRT; `endpoint` for the last two."""

    verb: bytes
    endpoint: Endpoint | None = None


ENDPOINT_VERBS = frozenset({b"PASV", b"EPSV", b"PORT", b"EPRT"})


class IllegalAddress(Exception):
    """PORT or EPRT with no address, or not the client's; `orders` refuse it, `str()` is one plain line."""

    def __init__(self, why: str, orders: list[Order]) -> None:
        super().__init__(why)
        self.orders = orders


def wanted(command: Command, client: str, *, epsv_only: bool, v4: bool, elsewhere: str) -> ClientEndpoint | list[Order]:
    """PASV, EPSV, PORT or EPRT → the way the client of address `client` wants, or the refusal of it. Raises
    IllegalAddress.

    `epsv_only`: after EPSV ALL (RFC 2428 section 4); `v4`: whether there is an IPv4 address to put into 227.
    `elsewhere`: the address for data connections, where that is not the one the client has connected to.
    """
    name = command.verb.decode()
    argument = (command.argument or b"").strip()
    if command.verb == b"EPSV":
        if elsewhere:
            return _refused(name, _no_epsv(elsewhere, v4=v4))
        family = b"2" if ":" in client else b"1"
        if argument in (b"1", b"2") and argument != family:
            return _refused(name, replies.own(522, f"Network protocol not supported, use ({family.decode()})."))
        if argument not in (b"", b"1", b"2"):
            return _refused(name, replies.own(501, "EPSV takes 1, 2, ALL or nothing."))
        return ClientEndpoint(b"EPSV")
    if epsv_only:
        return _refused(name, replies.own(501, f"{name} not allowed after EPSV ALL."))
    if command.verb == b"PASV":
        if not v4:
            return _refused(name, replies.own(522, "PASV knows IPv4 only, use EPSV."))
        return ClientEndpoint(b"PASV")
    if (
        command.verb == b"EPRT"
        and argument[:1] == argument[2:3]
        and argument[1:2].isdigit()
        and argument[1] not in b"12"
    ):
        return _refused(name, replies.own(522, "Network protocol not supported, use (1,2)."))
    try:
        endpoint = addresses.parse_port(argument) if command.verb == b"PORT" else addresses.parse_eprt(argument)
    except ProtocolError as error:
        why = f"Illegal {name} command: {error}"
        raise IllegalAddress(why, _refused(name, replies.own(501, f"{why}."))) from None
    # RFC 2577: no bounce to third hosts, none to the ports of services.
    if endpoint.host != client or endpoint.port < LOWEST_PORT:
        refusal = f"Illegal {name} command: only your own address, ports from {LOWEST_PORT} on."
        note = NoteLimit("bounce", f"{name} to {endpoint}")
        raise IllegalAddress(note.detail, [note, TellClient(replies.own(500, refusal))])
    return ClientEndpoint(command.verb, endpoint)


def _no_epsv(elsewhere: str, *, v4: bool) -> Reply:
    """229 has a port and no address: the client would knock where its control connection goes, at a load balancer."""
    return replies.own(
        502, f"Data connections go to {elsewhere}, which EPSV can't say, use {'PASV' if v4 else 'EPRT'}."
    )


def _refused(name: str, reply: Reply) -> list[Order]:
    return [NoteCommandRefused(name, reply.text), TellClient(reply)]


class _Preparation:
    """One preparation. Ends with `done`; `ready` tells whether the ends stand, `put_off` that the server's does not."""

    __slots__ = ("_server", "_way", "done", "put_off", "ready")

    def __init__(self, way: ClientEndpoint, server: ServerEndpoint) -> None:
        self._way = way
        self._server = server
        self.done = self.ready = self.put_off = False

    @property
    def waits_for_server(self) -> bool:
        """Whether the next news is a reply of the server's."""
        return self._server.waits_for_server and not self.done

    @property
    def server(self) -> ServerEndpoint:
        """The server's end."""
        return self._server

    def start(self) -> list[Order]:
        """The first orders; what was prepared before is forgotten."""
        if self._server.pret_applies:
            return [DropEndpoints(), *self._put_off()]
        return [DropEndpoints(), *self._server.start()]

    def heard(self, reply: Reply) -> list[Order]:
        """The server's reply to what it was asked for its end."""
        return self._next(self._server.heard(reply))

    def on(self, event: ServerDataReady | ServerListening | ClientListening | EndpointFailed) -> list[Order]:
        """News of either end."""
        if self._server.stands or self.put_off:
            return self._client_end(event) if isinstance(event, ClientListening | EndpointFailed) else []
        return self._next(self._server.on(event)) if not isinstance(event, ClientListening) else []

    def _next(self, orders: list[Order]) -> list[Order]:
        server = self._server
        if server.wants_pret:
            return [*orders, *self._put_off()]
        if server.failed is not None:
            return [*orders, *self._fail(server.failed)]
        return [*orders, *self._ask_client()] if server.stands else orders

    def _put_off(self) -> list[Order]:
        self.put_off = True
        return self._ask_client()

    def _ask_client(self) -> list[Order]:
        if self._way.endpoint is None:
            return [ListenForClient()]
        self.done = self.ready = True
        verb = self._way.verb.decode()
        return [ConnectToClient(self._way.endpoint), TellClient(replies.own(200, f"{verb} command successful."))]

    def _client_end(self, event: ClientListening | EndpointFailed) -> list[Order]:
        match event:
            case EndpointFailed(why, cause):
                failure = DataFailure("client", cause, f"no passive port here: {why}", "passive")
                return [NoteDataFailed(failure), *self._fail(replies.own(425, f"No passive port here: {why}."))]
            case ClientListening(endpoint):
                self.done = self.ready = True
                if self._way.verb == b"EPSV":
                    return [TellClient(replies.own(229, f"Entering Extended Passive Mode (|||{endpoint.port}|)"))]
                numbers = addresses.render_port(endpoint).decode()
                return [TellClient(replies.own(227, f"Entering Passive Mode ({numbers})"))]

    def _fail(self, reply: Reply) -> list[Order]:
        self.done = True
        return [DropEndpoints(), TellClient(reply)]


class Endpoints:
    """The ends prepared for a session's next transfer. `ready`: the client's stands, and the server's unless put off.

    `peer` is the server's address; `rest` the REST that the next transfer command is to find; `given_up` that the
    client has not come to its passive port in time.
    """

    __slots__ = (
        "_client",
        "_data_mode",
        "_elsewhere",
        "_epsv_only",
        "_preparation",
        "_put_off",
        "_quirks",
        "_told",
        "_v4",
        "given_up",
        "peer",
        "ready",
        "rest",
    )

    def __init__(self, client: str, data_mode: str, quirks: UpstreamQuirks, *, v4: bool, elsewhere: str = "") -> None:
        self._client = client
        self._data_mode = data_mode
        self._quirks = quirks
        self._v4 = v4
        self._elsewhere = elsewhere
        self._epsv_only = False
        self._preparation: _Preparation | None = None
        self._put_off = False
        self._told: Endpoint | None = None  # of our passive port
        self.peer = ""
        self.ready = self.given_up = False
        self.rest: Command | None = None

    @property
    def busy(self) -> bool:
        """Whether ends are being prepared."""
        return self._preparation is not None

    @property
    def waits_for_server(self) -> bool:
        """Whether the next news is a reply of the server's."""
        return self._preparation is not None and self._preparation.waits_for_server

    @property
    def asking(self) -> ServerEndpoint | None:
        """The end that the server is being asked for."""
        return self._preparation.server if self._preparation is not None else None

    def prepare(self, command: Command) -> list[Order]:
        """PASV, EPSV, PORT or EPRT of the client's. Raises IllegalAddress."""
        everything = command.verb == b"EPSV" and (command.argument or b"").strip().upper() == b"ALL"
        if everything and not self._elsewhere:
            self._epsv_only = True
            return [TellClient(replies.own(200, "EPSV ALL ok."))]
        way = wanted(command, self._client, epsv_only=self._epsv_only, v4=self._v4, elsewhere=self._elsewhere)
        if not isinstance(way, ClientEndpoint):
            return way
        self.ready = self.given_up = False
        self._preparation = _Preparation(way, self._server_endpoint())
        return self._after(self._preparation, self._preparation.start())

    def _server_endpoint(self, *, deferred: bool = False) -> ServerEndpoint:
        return ServerEndpoint(self._data_mode, self.peer, self._quirks, deferred)

    def on(self, event: ServerDataReady | ServerListening | ClientListening | EndpointFailed) -> list[Order]:
        """News of an end."""
        if isinstance(event, ClientListening):
            self._told = event.endpoint
        preparation = self._preparation
        return self._after(preparation, preparation.on(event)) if preparation is not None else []

    def heard(self, reply: Reply) -> list[Order]:
        """A reply of the server's, waited for by the preparation."""
        preparation = self._preparation
        return self._after(preparation, preparation.heard(reply)) if preparation is not None else []

    def _after(self, preparation: _Preparation, orders: list[Order]) -> list[Order]:
        if preparation.done:
            self._preparation = None
            self.ready = preparation.ready
            self._put_off = preparation.put_off
        return orders

    def deferred(self, command: Command) -> DeferredEndpoint | None:
        """What must go before this transfer command, if the server's end was put off."""
        rest, self.rest = self.rest, None
        if not (self.ready and self._put_off):
            return None
        return DeferredEndpoint(self._server_endpoint(deferred=True), command, rest)

    def deferred_done(self) -> None:
        """The server's end stands, too."""
        self._put_off = False

    def refused(self) -> list[Order]:
        """The transfer command was refused before any data: the client may use its end for the next one.

        Netscape 4 does; the server has closed its port by then (vsftpd), so its end is asked for anew.
        """
        if not self.ready:
            return []
        self._put_off = True
        return [DropServerEndpoint(refused=True)]

    def unused(self, event: EndpointsUnused) -> list[Order]:
        """No transfer came for what was prepared, which takes ports of ours and of the server's.

        The server's end can be asked for anew, the client's passive port can't: others may have it meanwhile.
        """
        if not self.ready:
            return []
        if event.absent:
            cause = Cause.FOREIGN_ADDRESS if event.came_from else Cause.NEVER_CAME
            why = "nobody came to the passive port, and it is given up"
            self.ready, self.given_up = False, True
            host, port = (self._told.host, self._told.port) if self._told is not None else ("", None)
            failure = DataFailure("client", cause, why, "passive", host, port, event.came_from)
            return [NoteDataFailed(failure), DropEndpoints()]
        self._put_off = True
        return [DropServerEndpoint()]
