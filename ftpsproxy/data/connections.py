"""The data connections of one session: prepares endpoints, begins and ends transfers, adds up what passed, says so in
the log."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from ftpsproxy import errors, net
from ftpsproxy.data.account import TransferResult
from ftpsproxy.data.client_connection import Source
from ftpsproxy.data.endpoints import Endpoints
from ftpsproxy.data.passive import NoPort, TooManyPending
from ftpsproxy.data.pending import PendingConnection
from ftpsproxy.data.relay.upload_end import ClientConnection
from ftpsproxy.data.service import DataService, SessionData, Start
from ftpsproxy.data.transfer import Transfer
from ftpsproxy.ftp import data_failure
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.events import (
    ClientListening,
    DataSpoke,
    EndpointFailed,
    EndpointsUnused,
    Event,
    ServerDataReady,
    ServerListening,
)
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToClient,
    ConnectToServer,
    DropServerEndpoint,
    FinishInBand,
    FinishTransfer,
    ListenForServer,
)
from ftpsproxy.net import NEVER, Socket, now
from ftpsproxy.observe import log, metrics
from ftpsproxy.tls import Resumption, Tls, TlsError

# Servers in Go, Java and .NET can't resume TLS 1.3 sessions now and then; so many refusals in a row are no accident.
_REFUSALS = 3
_HINT = 'refused again and again: TLS 1.3 sessions may not work there; try tls_max = "1.2" for this upstream'


@dataclass(frozen=True, slots=True)
class Route:
    """What is known of both control connections once they are up: numeric addresses, each side's own and the peer's.

    With their zones, which link-local addresses need; what is shown or compared goes without (net.unzoned).
    `client_reached` is the address that the client itself has connected to, perhaps a load balancer's.
    """

    client_local: str
    client_reached: str
    client_peer: str
    client_port: int
    server_local: str
    server_peer: str


@dataclass(slots=True)
class Totals:
    """What a session has moved."""

    transfers: int = 0
    torn: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class DataConnections:
    """The data connections of one session, each a task of its own. Its news goes to `feed`."""

    def __init__(
        self,
        service: DataService,
        route: Route,
        tls: Tls,
        control: ClientConnection,
        start: Start,
        feed: Callable[[Event], None],
    ) -> None:
        self.totals = Totals()
        self.unused_by = NEVER  # when what was prepared has waited too long
        self._service = service
        self._route = route
        self._resumption = Resumption(tls)
        self._control = control
        self._start_task = start
        self._feed = feed
        self._shared = SessionData(service, self._resumption, control, start, feed)
        self._endpoints = Endpoints()
        self._connecting: _Connecting | None = None
        self._next: Transfer | None = None  # whose TLS has begun
        self._transfer: Transfer | None = None  # the one under way
        self._living: set[Transfer] = set()

    # --- preparing ------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Forget what was prepared."""
        self.unused_by = NEVER
        self._endpoints.drop_client()
        self._drop_server()

    def drop_server_end(self, order: DropServerEndpoint) -> None:
        """Forget the server's end; behind a refusal the client may use its own once more."""
        self._drop_server()
        self.unused_by = NEVER
        if order.refused:
            self._await_transfer()
            if isinstance(self._endpoints.client, PendingConnection):
                self._endpoints.client.renew()

    def _drop_server(self) -> None:
        if self._connecting is not None:
            self._connecting.drop()
            self._connecting = None
        self._endpoints.drop_server()
        if self._next is not None:
            self._next.stop("")
            self._next = None

    def _await_transfer(self) -> None:
        self.unused_by = now() + self._service.timeouts.data_unused

    def give_up(self) -> None:
        """No transfer came in time for what was prepared; feeds EndpointsUnused."""
        self._await_transfer()  # unless the protocol knows of one
        client = self._endpoints.client
        if isinstance(client, PendingConnection) and client.sock is None:
            self._feed(EndpointsUnused(absent=True, came_from=client.take_stranger()))
        else:
            self._feed(EndpointsUnused(absent=False))

    def listen_for_client(self) -> None:
        """Expect the client's data connection; feeds ClientListening or EndpointFailed."""
        route, listener = self._route, self._service.listener
        balancers = listener.proxy_protocol if listener.proxy_protocol_data else ()
        try:
            pending = self._service.passive_ports.expect(
                route.client_local, listener.passive_ports, net.unzoned(route.client_peer), balancers
            )
        except NoPort as error:
            self._no_port(error)
            return
        self._endpoints.client = pending
        self._endpoints.client_mode = "passive"
        self._await_transfer()
        shown = net.unzoned(listener.passive_address or route.client_reached)
        self._endpoints.client_at = Endpoint(shown, pending.port)
        self._feed(ClientListening(self._endpoints.client_at))

    def connect_to_client(self, order: ConnectToClient) -> None:
        """Remember where the client listens."""
        # The client's own address (ftp/endpoints.py has seen to that), with the zone that no EPRT names.
        self._endpoints.client = Endpoint(self._route.client_peer, order.endpoint.port)
        self._endpoints.client_source = Source(self._route.client_local, self._service.listener.active_source_port or 0)
        self._endpoints.client_mode = "active"
        self._endpoints.client_at = order.endpoint
        self._await_transfer()

    def connect_to_server(self, order: ConnectToServer) -> None:
        """Connect to the server's passive port; feeds ServerDataReady or EndpointFailed."""
        route = self._route
        self._endpoints.server_mode = order.mode
        self._endpoints.server_at = Endpoint(net.unzoned(route.server_peer), order.port)
        try:
            family, sockaddr = net.numeric(route.server_peer, order.port)
            sock = net.start_connecting(family, sockaddr, route.server_local)
            if connected := net.is_connected(sock):
                self._announce(sock)
        except OSError as error:
            self._feed(self._not_connected(order.port, error))
            return
        if connected:
            # At once, as on loopback: no task, no wait.
            self._endpoints.server = sock
            self._feed(ServerDataReady())
            return
        seconds = self._service.timeouts.data_connect
        self._connecting = _Connecting(sock, order.port, seconds / 2 if order.hasty else seconds)
        self._start_task(self._connect, self._connecting)

    async def _connect(self, connecting: "_Connecting") -> None:
        where = f"{net.unzoned(self._route.server_peer)} port {connecting.port}"
        event: Event = EndpointFailed(f"no answer from {where}", Cause.NO_ANSWER, connecting.port)
        with connecting.scope:
            connecting.scope.deadline = now() + connecting.seconds
            try:
                await net.finish_connecting(connecting.sock)
                self._announce(connecting.sock)
                event = ServerDataReady()
            except OSError as error:
                event = self._not_connected(connecting.port, error)
        if self._connecting is connecting:
            self._connecting = None
            if isinstance(event, ServerDataReady):
                self._endpoints.server = connecting.sock
            self._feed(event)

    def _announce(self, sock: Socket) -> None:
        """Say for whom the connection is, to a server that wants it, first of all. Raises OSError; closes it then."""
        upstream, route = self._service.upstream, self._route
        if upstream.send_proxy_protocol == "off" or not upstream.send_proxy_protocol_data:
            return
        try:
            net.announce(sock, upstream.send_proxy_protocol, net.unzoned(route.client_peer), route.client_port)
        except OSError:
            net.close(sock)
            raise

    def _not_connected(self, port: int, error: OSError) -> EndpointFailed:
        why = f"{net.unzoned(self._route.server_peer)} port {port}: {errors.words(error)}"
        return EndpointFailed(why, data_failure.of_connect(error), port)

    def listen_for_server(self, order: ListenForServer) -> None:
        """Expect the server's data connection; feeds ServerListening or EndpointFailed."""
        route, upstream = self._route, self._service.upstream
        try:
            pending = self._service.passive_ports.expect_once(
                route.server_local, upstream.active_ports, net.unzoned(route.server_peer)
            )
        except NoPort as error:
            self._no_port(error)
            return
        self._endpoints.server = pending
        self._endpoints.server_mode = order.mode
        shown = net.unzoned(upstream.active_address or route.server_local)
        self._endpoints.server_at = Endpoint(shown, pending.port)
        self._feed(ServerListening(self._endpoints.server_at))

    def _no_port(self, error: NoPort) -> None:
        if isinstance(error, TooManyPending):
            log.session_limit(limit="pending_data", detail=str(error))
        self._feed(EndpointFailed(str(error), Cause.NO_PORT))

    # --- moving ---------------------------------------------------------------------------------------------------

    def start_tls(self, direction: Direction) -> None:
        """The server has been asked for what is, or may be, a transfer: TLS begins on its data connection."""
        if direction is Direction.UPLOAD:
            self._endpoints.watch_client(self._control)
        server = self._endpoints.server
        if server is None or self._next is not None:
            return  # it has begun for a command before
        try:
            # The name is the control connection's, whatever address the data goes to.
            tls = self._service.context.connect(self._service.upstream.server_name, self._resumption.offer())
        except TlsError:
            return  # then there is none, and the transfer says so
        self._endpoints.server = None
        self._next = self._start(server, tls)

    def _start(self, server: PendingConnection | Socket | None, tls: Tls | None) -> Transfer:
        transfer = Transfer(self._shared, server, tls)
        self._living.add(transfer)
        self._start_task(self._carry_out, transfer)
        return transfer

    async def _carry_out(self, transfer: Transfer) -> None:
        try:
            result = await transfer.run()
            if self._transfer is transfer:
                self._transfer = None
            if result is not None:
                self._note(result)
                await transfer.linger()
        except Exception:
            if (torn := transfer.crashed()) is not None:
                self._note(torn)
            raise
        finally:
            self._living.discard(transfer)

    def listen(self) -> None:
        """Find out whether a command that nobody knows is a transfer: its server answers TLS then."""
        self.start_tls(Direction.UNKNOWN)
        if self._next is not None:
            self._next.server_tls.on_heard = lambda: self._feed(DataSpoke())

    def leave(self) -> None:
        """It is none; what was prepared, a ClientHello said already, is for the next one."""
        if self._next is not None:
            self._next.server_tls.on_heard = None

    def begin(self, order: BeginTransfer) -> None:
        """Begin a transfer over the prepared endpoints."""
        self.unused_by = NEVER
        endpoints, self._endpoints = self._endpoints, Endpoints()
        transfer = self._next or self._start(None, None)
        self._next = None
        self._transfer = transfer
        transfer.begin(order.transfer, endpoints)
        metrics.TRANSFERS_OPEN.add(self._service.listener.name, self._service.upstream.name)

    def end_in_band(self, order: FinishInBand) -> None:
        """The connection of a transfer in MODE B or C need not close any more."""
        if (transfer := self._under_way(order.number)) is not None:
            transfer.end_in_band()

    def end(self, order: FinishTransfer) -> None:
        """End a transfer as ordered; feeds TransferClosed if it was to end whole."""
        if (transfer := self._under_way(order.number)) is not None:
            transfer.finish(order)
            if not order.whole:
                self._transfer = None  # it may take a while to finish a handshake: what is prepared next is another's
                self._start_task(transfer.endpoints.turn_away)

    def _under_way(self, number: int) -> Transfer | None:
        transfer = self._transfer
        same = transfer is not None and transfer.order is not None and transfer.order.number == number
        return transfer if same else None

    def not_resumed(self) -> str | None:
        """The server did not find its TLS session resumed → a hint for the operator, when that happens all the time.

        The control connection's own session is offered next (z/OS).
        """
        self._resumption.start_again()
        self._service.quirks.reuse_refused += 1
        often = self._service.quirks.reuse_refused >= _REFUSALS
        return _HINT if often and self._resumption.version == "TLSv1.3" else None

    def control_lost(self) -> bool:
        """The client's control connection is gone → whether the upload under way, or about to begin, may go on."""
        if self._transfer is not None:
            return self._transfer.control_lost()
        return self._endpoints.control_lost(self._control)

    @property
    def transfer(self) -> Transfer | None:
        """The one under way, or about to be."""
        return self._transfer

    @property
    def under_way(self) -> bool:
        """Whether a transfer is, or is about to be."""
        return self._transfer is not None

    def note_progress(self, every: float) -> None:
        """Have a transfer under way say that it goes on, each time that so many seconds have passed."""
        if self._transfer is not None:
            self._transfer.note_progress(every)

    @property
    def moved(self) -> int:
        """Bytes of the transfer under way so far."""
        return self._transfer.flow.bytes if self._transfer is not None else 0

    def _note(self, result: TransferResult) -> None:
        """A transfer is over: say so in the log, and add it up."""
        metrics.TRANSFERS_OPEN.add(self._service.listener.name, self._service.upstream.name, by=-1)
        tls, totals = result.tls, self.totals
        if tls is not None and tls.resumed and result.outcome == "complete":
            self._service.quirks.reuse_refused = 0
        totals.transfers += 1
        if result.outcome != "complete":
            totals.torn += 1
        if result.direction is Direction.UPLOAD:
            totals.bytes_up += result.flow.bytes
        else:
            totals.bytes_down += result.flow.bytes
        result.note()

    def close(self, why: str) -> None:
        """The session is over, and why: whatever is open is reset."""
        try:
            self.drop()
        finally:
            for transfer in list(self._living):
                transfer.stop(f"the session ended: {why}")


class _Connecting:
    """A data connection to the server that is on its way."""

    __slots__ = ("port", "scope", "seconds", "sock")

    def __init__(self, sock: Socket, port: int, seconds: float) -> None:
        self.seconds = seconds
        self.sock = sock
        self.port = port
        self.scope = trio.CancelScope()

    def drop(self) -> None:
        """It is wanted no more."""
        self.scope.cancel()
        net.close(self.sock)
