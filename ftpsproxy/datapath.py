"""The data side of a session: prepares ends, begins and ends transfers, adds up what passed, says so in the log."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from ftpsproxy import errors, log, metrics, net
from ftpsproxy.dataports import Expectation, NoPort, TooManyPending
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.messages import (
    BeginData,
    ClientListening,
    ConnectToClient,
    ConnectToServer,
    DataClosed,
    DataFailed,
    DataSpoke,
    DataUnused,
    DropServerEnd,
    EndData,
    EndInBand,
    Event,
    ListenForServer,
    Outcome,
    ServerDataReady,
    ServerListening,
)
from ftpsproxy.net import Socket
from ftpsproxy.reactor import NEVER, Start, Task, now
from ftpsproxy.relay.contract import Pace
from ftpsproxy.relay.departure import ClientConnection
from ftpsproxy.service import Service
from ftpsproxy.tls import Resumption, TlsError
from ftpsproxy.transfer import DataTransfer, Ends

# Servers in Go, Java and .NET can't resume TLS 1.3 sessions now and then; so many refusals in a row are no accident.
_REFUSALS = 3
_HINT = 'refused again and again: TLS 1.3 sessions may not work there; try tls_max = "1.2" for this upstream'


@dataclass(frozen=True, slots=True)
class Route:
    """What is known of both control connections once they are up: numeric addresses, each side's own and the peer's.

    With their zones, which link-local addresses need; what is shown or compared goes without (net.unzoned).
    """

    client_local: str
    client_peer: str
    server_local: str
    server_peer: str


@dataclass(slots=True)
class Totals:
    """What a session has moved."""

    transfers: int = 0
    torn: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class DataPath:
    """The data connections of one session. Its news goes to `feed`."""

    def __init__(
        self,
        service: Service,
        route: Route,
        resumption: Resumption,
        start: Start,
        feed: Callable[[Event], None],
        control: ClientConnection,
    ) -> None:
        self.totals = Totals()
        self.unused_by = NEVER  # when what was prepared has waited too long
        self._service = service
        self._listener = service.listener
        self._upstream = service.upstream
        self._route = route
        self._resumption = resumption
        self._start = start
        self._feed = feed
        self._control = control
        self._ends = Ends()
        self._connecting: tuple[Task, Socket] | None = None
        self._transfer: DataTransfer | None = None
        timeouts = service.timeouts
        self._pace = Pace(
            client_stall=timeouts.client_stall,
            server_stall=timeouts.server_stall,
            handshake=timeouts.handshake,
            data_connect=timeouts.data_connect,
            linger=timeouts.linger,
            close_notify=service.upstream.close_notify,
        )

    # --- preparing ------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Forget what was prepared."""
        self.unused_by = NEVER
        self._stop_connecting()
        self._ends.drop()

    def drop_server_end(self, order: DropServerEnd) -> None:
        """Forget the server's end; behind a refusal the client may use its own once more."""
        self._stop_connecting()
        self._ends.drop_server()
        self.unused_by = NEVER
        if order.refused:
            self._await_transfer()
            if isinstance(self._ends.client, Expectation):
                self._ends.client.renew()

    def _await_transfer(self) -> None:
        self.unused_by = now() + self._service.timeouts.data_unused

    def give_up(self) -> None:
        """No transfer came in time for what was prepared; feeds DataUnused."""
        self._await_transfer()  # unless the protocol knows of one
        client = self._ends.client
        self._feed(DataUnused(absent=isinstance(client, Expectation) and client.sock is None))

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            task, sock = self._connecting
            task.cancel()
            sock.close()  # the task may not have begun
            self._connecting = None

    def listen_for_client(self) -> None:
        """Expect the client's data connection; feeds ClientListening or DataFailed."""
        route = self._route
        try:
            expectation = self._service.data_listeners.expect(
                route.client_local, self._listener.passive_ports, net.unzoned(route.client_peer)
            )
        except NoPort as error:
            self._no_port(error)
            return
        self._ends.client = expectation
        self._ends.client_mode = "passive"
        self._await_transfer()
        shown = self._listener.passive_address or route.client_local
        self._feed(ClientListening(Endpoint(net.unzoned(shown), expectation.port)))

    def connect_to_client(self, order: ConnectToClient) -> None:
        """Remember where the client listens."""
        # The client's own address (ftp/dataends.py has seen to that), with the zone that no EPRT names.
        self._ends.client = Endpoint(self._route.client_peer, order.endpoint.port)
        self._ends.client_source = self._route.client_local
        self._ends.client_mode = "active"
        self._await_transfer()

    def connect_to_server(self, order: ConnectToServer) -> None:
        """Connect to the server's passive port; feeds ServerDataReady or DataFailed."""
        self._ends.server_mode = order.mode
        route = self._route
        address = (net.unzoned(route.server_peer), order.port)
        try:
            family, sockaddr = net.numeric(route.server_peer, order.port)
            sock = net.start_connecting(family, sockaddr, route.server_local)
        except OSError as error:
            self._feed(_not_connected(address, error))
            return
        if net.is_connected(sock):
            # At once, as on loopback: no task, no wait.
            self._ends.server = sock
            self._feed(ServerDataReady())
            return
        self._connecting = self._start(self._connect(sock, address)), sock

    async def _connect(self, sock: Socket, address: tuple[str, int]) -> None:
        event: Event
        try:
            await net.finish_connecting(sock, now() + self._service.timeouts.connect)
            self._ends.server = sock
            event = ServerDataReady()
        except TimeoutError:
            event = DataFailed(f"no answer from {address[0]} port {address[1]}")
        except OSError as error:
            event = _not_connected(address, error)
        self._connecting = None
        self._feed(event)

    def listen_for_server(self, order: ListenForServer) -> None:
        """Expect the server's data connection; feeds ServerListening or DataFailed."""
        route = self._route
        try:
            expectation = self._service.data_listeners.expect_once(
                route.server_local, self._upstream.active_ports, net.unzoned(route.server_peer)
            )
        except NoPort as error:
            self._no_port(error)
            return
        self._ends.server = expectation
        self._ends.server_mode = order.mode
        shown = self._upstream.active_address or route.server_local
        self._feed(ServerListening(Endpoint(net.unzoned(shown), expectation.port)))

    def _no_port(self, error: NoPort) -> None:
        if isinstance(error, TooManyPending):
            log.session_limit(limit="pending_data", detail=str(error))
        self._feed(DataFailed(str(error)))

    # --- moving ---------------------------------------------------------------------------------------------------

    def start_tls(self, direction: Direction) -> None:
        """The server has been asked for what is, or may be, a transfer: TLS begins on its data connection."""
        if direction is Direction.UPLOAD:
            self._ends.watch_client(self._control)
        with contextlib.suppress(TlsError):  # then there is none, and the transfer says so
            # The name is the control connection's, whatever address the data goes to.
            tls = self._service.context.connect(self._upstream.server_name, self._resumption.offer())
            self._ends.start_tls(tls, self._start, self._resumption.failed)

    def listen(self) -> None:
        """Find out whether a command that nobody knows is a transfer: its server answers TLS then."""
        self.start_tls(Direction.UNKNOWN)
        if self._ends.tls is not None:
            self._ends.tls.on_heard = lambda: self._feed(DataSpoke())

    def leave(self) -> None:
        """It is none; what was prepared, a ClientHello said already, is for the next one."""
        if self._ends.tls is not None:
            self._ends.tls.on_heard = None

    def begin(self, order: BeginData) -> None:
        """Begin a transfer over the prepared ends."""
        self.leave()
        self.unused_by = NEVER
        ends, self._ends = self._ends, Ends()
        self._transfer = DataTransfer(
            order.transfer, ends, self._service, self._resumption, self._pace, self._feed, self._control
        )
        self._transfer.task = self._start(self._transfer.run())
        metrics.TRANSFERS_OPEN.add(self._service.listener.name, self._upstream.name)

    def end_in_band(self, order: EndInBand) -> None:
        """The connection of a transfer in MODE B or C need not close any more."""
        transfer = self._transfer
        if transfer is not None and transfer.order.number == order.number:
            self._start(transfer.end_in_band())

    def not_resumed(self) -> str | None:
        """The server did not find its TLS session resumed → a hint for the operator, when that happens all the time.

        The control connection's own session is offered next (z/OS).
        """
        self._resumption.start_again()
        self._service.learned.reuse_refused += 1
        often = self._service.learned.reuse_refused >= _REFUSALS
        return _HINT if often and self._resumption.version == "TLSv1.3" else None

    def control_lost(self) -> bool:
        """The client's control connection is gone → whether the upload under way, or about to begin, may go on."""
        if self._transfer is not None:
            return self._transfer.control_lost()
        return self._ends.control_lost(self._control)

    @property
    def moved(self) -> int:
        """Bytes of the transfer under way so far."""
        return self._transfer.flow.bytes if self._transfer is not None else 0

    def end(self, order: EndData) -> None:
        """End a transfer as ordered, and say so in the log; feeds DataClosed, then or later, if it was to end whole."""
        transfer = self._transfer
        if transfer is None or transfer.order.number != order.number:
            return
        done, amiss = transfer.finish() if order.whole else (True, "")
        if done:
            self._end(transfer, order, amiss)
        else:
            self._start(self._end_later(transfer, order))

    async def _end_later(self, transfer: DataTransfer, order: EndData) -> None:
        amiss = await transfer.has_all()
        if self._transfer is transfer:
            self._end(transfer, order, amiss)

    def _end(self, transfer: DataTransfer, order: EndData, amiss: str) -> None:
        self._transfer = None
        metrics.TRANSFERS_OPEN.add(self._service.listener.name, self._upstream.name, by=-1)
        transfer.end(whole=order.whole and not amiss, answered=order.outcome != "aborted")
        if transfer.ends.unmet is not None:
            self._start(transfer.ends.turn_away())
        outcome: Outcome = "torn" if amiss else order.outcome
        ended_in_band = "ended_in_band" if transfer.flow.ended_in_band else ""
        code, why = (426, amiss) if amiss else (order.code, order.why or ended_in_band)
        if order.whole:
            self._feed(DataClosed(order.number, amiss))
        flow, tls, totals = transfer.flow, transfer.tls, self.totals
        if tls is not None and tls.resumed and outcome == "complete":
            self._service.learned.reuse_refused = 0
        totals.transfers += 1
        if outcome != "complete":
            totals.torn += 1
        if transfer.direction is Direction.UPLOAD:
            totals.bytes_up += flow.bytes
        else:
            totals.bytes_down += flow.bytes
        log.transfer_finished(
            number=order.number,
            verb=transfer.order.verb.decode("ascii", "backslashreplace"),
            path=transfer.order.path,
            direction=transfer.direction.value,
            bytes=flow.bytes,
            seconds=round(time.monotonic() - transfer.started, 4),
            client_mode=transfer.ends.client_mode,
            upstream_mode=transfer.ends.server_mode,
            tls_version=tls.version if tls is not None else None,
            cipher=tls.cipher if tls is not None else None,
            resumed=tls.resumed if tls is not None else None,
            close_notify=flow.close_notify,
            reply=code or None,
            outcome=outcome,
            reason=why,
            sha256=flow.digest.hexdigest() if flow.digest is not None else None,
        )

    def close(self, why: str) -> None:
        """The session is over, and why: whatever is open is reset."""
        self.drop()
        if self._transfer is not None:
            self.end(EndData(self._transfer.order.number, False, 0, "torn", f"the session ended: {why}"))


def _not_connected(address: tuple[str, int], error: OSError) -> DataFailed:
    return DataFailed(f"{address[0]} port {address[1]}: {errors.words(error)}")
