"""One data transfer, from the transfer command on: one task, read from top to bottom, with a frozen result.

TLS on the server's data connection begins with the command. Not before: ProFTPD, Pure-FTPd and Azure wait for it first.
And not only behind the 150: ftp-srv says that when TLS stands, and for all others a round trip is saved. So the
handshake goes on while the 150 is waited for. What was begun for a command that is refused serves the next one.

Only an order ends a transfer: no cancellation from outside reaches it, so that there is always a result, and both
connections are closed as that says.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ftpsproxy import errors, net
from ftpsproxy.data.endpoints import Endpoints
from ftpsproxy.data.passive import Contested, PendingConnection, Unreachable
from ftpsproxy.data.relay.direction import FirstToSpeak
from ftpsproxy.data.relay.download import Download
from ftpsproxy.data.relay.flow import Flow, RelayError
from ftpsproxy.data.relay.records import Records
from ftpsproxy.data.relay.upload import Upload
from ftpsproxy.data.relay.upload_end import ClientConnection, UploadEnd
from ftpsproxy.data.service import DataService
from ftpsproxy.ftp.blocks import Blocks
from ftpsproxy.ftp.commands import LISTINGS, Direction
from ftpsproxy.ftp.messages import DataClosed, DataEnded, EndData, Event, Outcome
from ftpsproxy.ftp.messages import Transfer as Order
from ftpsproxy.net import Socket
from ftpsproxy.observe import metrics
from ftpsproxy.tls import Refused, Resumption, Tls, TlsError, check_pins, explain
from ftpsproxy.tls.handshake import NotBegun, shake_hands

_CLIENT_BROKE = "the client broke the data connection before its end"
# How often is looked whether the receiver has all.
_LOOK_SECONDS = 0.05
# An acknowledgement is late by some 40 ms at most, where nothing else is to be sent with it.
_ACKNOWLEDGED_SECONDS = 0.01
# An end counts as one byte; its acknowledgement, which clients delay, need not be waited for.
_END = 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session's transfers have in common; `report` tells its protocol."""

    service: DataService
    resumption: Resumption
    client: ClientConnection
    report: Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class TransferResult:
    """All there is to say of a transfer. `reply` is what the client has heard, 0 where nobody was there to hear it."""

    order: Order
    direction: Direction
    outcome: Outcome
    reply: int
    reason: str
    seconds: float
    client_mode: str
    server_mode: str
    tls: Tls | None
    flow: Flow


class Transfer:
    """A transfer under way, or about to be: `run` is a task from the command on, `begin` gives it its order.

    `on_heard` is called at the server's first byte: it answers TLS, so the command is a transfer.
    """

    def __init__(self, surroundings: Surroundings, server: PendingConnection | Socket | None, tls: Tls | None) -> None:
        self.flow = Flow()
        self.tls = tls
        self.order: Order | None = None
        self.direction = Direction.UNKNOWN
        self.endpoints = Endpoints()
        self.on_heard: Callable[[], None] | None = None
        self._started = time.monotonic()
        self._service = surroundings.service
        self._policy = surroundings.service.policy
        self._resumption = surroundings.resumption
        self._control = surroundings.client
        self._report = surroundings.report
        self._pending_server = server
        self._pending_client: PendingConnection | None = None
        self._server: Socket | None = None
        self._client: Socket | None = None
        self._scope = trio.CancelScope(shield=True)
        self._opening = trio.CancelScope()
        self._awaiting: trio.CancelScope | None = None
        self._begun = trio.Event()
        self._secured = self._handshake_over = False
        self._relay: Download | Upload | None = None
        self._in_band = False
        self._drained = False
        self._end: EndData | None = None
        self._why_empty = ""
        self._failed = ""
        self._over = False

    # --- what the session orders, and asks ----------------------------------------------------------------------------

    def begin(self, order: Order, endpoints: Endpoints) -> None:
        """This is the transfer; the client's connection comes from these endpoints."""
        self.order = order
        self.direction = order.direction
        self.endpoints = endpoints
        self.on_heard = None
        self._started = time.monotonic()
        if self._policy.digest:
            self.flow.start_digest()
        if order.mode == b"B":
            self.flow.blocks = Blocks()
        policy = self._policy
        self._opening.deadline = net.now() + (policy.data_connect if self._server is None else policy.handshake)
        self._begun.set()

    def end_in_band(self) -> None:
        """The server has said 2xx to a transfer in MODE B or C: its connection need not close any more."""
        self._in_band = True
        if self._relay is not None:
            self._relay.end_in_band()

    def control_lost(self) -> bool:
        """The client's control connection is gone → whether this may go on, as an upload: its end judges."""
        if self.direction is Direction.DOWNLOAD or self._end is not None:
            return False
        if self._client is None:
            return self.endpoints.control_lost(self._control)
        self._upload_end().control_lost(self.flow.bytes)
        return True

    def end(self, order: EndData) -> None:
        """End it: whole, so that the client sees the end of a file, or torn, with resets both ways.

        Whoever has broken off before the handshake is over, and the server has not answered: the handshake is finished
        before the reset. vsftpd and Pure-FTPd end the whole session over one that breaks off.
        """
        if self._end is not None:
            return
        self._end = order
        if order.whole:
            if self._awaiting is not None:
                self._awaiting.cancel()
        elif order.outcome == "aborted" and not self._handshake_over and not self._over:
            self.endpoints.drop_client()
        else:
            self._reset()
            self._scope.cancel()

    def stop(self, why: str) -> None:
        """The session is over: whatever is open is closed, and torn where it was not whole yet."""
        if self.order is not None and self._end is None:
            self.end(EndData(self.order.number, False, 0, "torn", why))
            return
        if not self._over:
            self._failed = self._failed or why
            self._reset()
        self._scope.cancel()

    # --- the transfer -------------------------------------------------------------------------------------------------

    async def run(self) -> TransferResult | None:
        """The whole transfer → its result; None where it has not begun. A server that has not closed yet behind an
        upload that is whole is left to `linger`."""
        try:
            with self._scope:
                try:
                    await self._open()
                    if self._end is None:
                        await self._move()
                        await self._ordered()
                except RelayError as error:
                    self._break(error)
                    await self._ordered()
                if self._end is not None and self._end.whole:
                    await self._close_whole(self._end)
        finally:
            self._over = True
            self.endpoints.drop()
            if not self._lingers:
                self._reset()
        return self._result()

    async def _open(self) -> None:
        """TLS with the server; and the order to begin. Raises RelayError."""
        error: Exception | None = None
        if self._pending_server is not None and self.tls is not None:
            with self._opening:
                try:
                    await self._connect_server(self._pending_server)
                    await shake_hands(self._connection(), self.tls, self._heard)
                except (TlsError, OSError, Refused, Contested, Unreachable) as failure:
                    error = failure
                    self._resumption.failed(self.tls)
        await self._begun.wait()
        if self._server is None:
            raise RelayError(425, self._no_server())
        if isinstance(error, NotBegun):
            self._open_empty(error)
        elif error is not None:
            raise self._not_secured(error)
        elif self._opening.cancelled_caught:
            raise RelayError(425, "the server did not finish the TLS handshake of the data connection")
        else:
            self._check_server()
        self._handshake_over = True

    async def _connect_server(self, pending: PendingConnection | Socket) -> None:
        if isinstance(pending, PendingConnection):
            self._server = await pending.wait()
            pending.cancel()
        else:
            self._server = pending
        self._pending_server = None
        if self._begun.is_set():
            self._opening.deadline = net.now() + self._policy.handshake

    def _connection(self) -> Socket:
        assert self._server is not None  # noqa: S101 - it was connected above
        return self._server

    def _heard(self) -> None:
        if self.on_heard is not None:
            self.on_heard()

    def _no_server(self) -> str:
        pending = self._pending_server
        if pending is None:
            return "no data connection to the server was prepared"
        stranger = pending.stranger if isinstance(pending, PendingConnection) else ""
        return "the server opened no data connection in time" + (f"; one came from {stranger}" if stranger else "")

    def _open_empty(self, end: NotBegun) -> None:
        """The server has closed the connection of a download without a word of TLS: a failure.

        But some that have nothing to send say it so, and by their 2xx (Go's ftpserverlib): with that it is as good as
        an end without close_notify. Raises RelayError.
        """
        self._resumption.start_again()
        why = f"TLS on the data connection: {end.detail}"
        if self.direction is not Direction.DOWNLOAD or self._policy.close_notify == "require":
            raise RelayError(425, why)
        net.close(self._connection())
        self._server = None
        self._why_empty = why

    def _not_secured(self, error: Exception) -> RelayError:
        self._resumption.start_again()
        return RelayError(425, f"TLS on the data connection: {explain(error).detail}")

    def _check_server(self) -> None:
        """It has proved on its data connection what it must. Raises RelayError."""
        tls, upstream = self.tls, self._service.upstream
        if tls is not None and not tls.resumed:  # to resume a session proves what its full handshake has proved
            try:
                check_pins(tls, upstream.pins)
                if upstream.data_session_reuse == "require":
                    raise Refused("not_resumed", "the server did not resume the TLS session on the data connection")
            except Refused as error:
                raise self._not_secured(error) from None
        self._secured = True

    async def _move(self) -> None:
        """The bytes, and the report that they have ended. Raises RelayError."""
        assert self.order is not None  # noqa: S101 - it has begun
        client = await self._connect_client()
        server, tls, number = self._server, self.tls, self.order.number
        if server is None or tls is None:
            self.flow.close_notify = False
            self._report(DataEnded(number, False, 425, self._why_empty, unproved=0))
            return
        records = Records.behind(tls)
        if self.direction is Direction.UNKNOWN:
            speaks = FirstToSpeak(client, server, tls, records, self._upload_end())
            self.direction = await speaks.found(self._policy)
        listener, upstream = self._service.listener.name, self._service.upstream.name
        self.flow.meter = metrics.TRANSFER_BYTES.meter(listener, upstream, self.direction.value)
        if self.direction is Direction.DOWNLOAD:
            await self._run(Download(client, server, tls, records, self.flow, self._policy))
            unproved = self._check_close_notify(self.order)
            net.close(server)  # both have said their end; to hear of the server's FIN, too, is a wake-up for nothing
            self._server = None
            self._resumption.learn(tls)
            self._report(DataEnded(number, True, unproved=unproved))
        else:
            await self._run(Upload(client, server, tls, self._upload_end(), self.flow, self._policy))
            self._report(DataEnded(number, True))

    async def _run(self, relay: Download | Upload) -> None:
        self._relay = relay
        if self._in_band:
            relay.end_in_band()
        await relay.run()

    async def _connect_client(self) -> Socket:
        """Raises RelayError."""
        end, self.endpoints.client = self.endpoints.client, None
        with trio.move_on_after(self._policy.data_connect) as limit:
            try:
                if isinstance(end, PendingConnection):
                    self._pending_client = end
                    self._take_client(await end.wait())
                    end.on_contest(self._contested)
                elif end is not None:
                    # Known before it is up: its far side may end it, and leave, before we have had our turn.
                    family, sockaddr = net.numeric(end.host, end.port)
                    client = net.start_connecting(family, sockaddr, self.endpoints.client_source)
                    self._take_client(client)
                    await net.finish_connecting(client)
                    if self.endpoints.upload_end is not None:
                        self.endpoints.upload_end.look(0)  # being connected put it first in the order
            except Contested as error:
                raise RelayError(425, str(error)) from None
            except OSError as error:
                self._client = None
                why = errors.words(error)
                raise RelayError(425, f"no connection to the client's data port: {why}") from None
            except Unreachable:
                pass  # nobody can come any more
        if self._client is None or limit.cancelled_caught:
            self._client = None
            if end is None:
                raise RelayError(425, "no data connection with the client was prepared")
            raise RelayError(425, f"the client opened no data connection in time{_stranger(end)}")
        return self._client

    def _take_client(self, client: Socket) -> None:
        self._client = client
        if self.direction is not Direction.DOWNLOAD:
            self._upload_end().watch(client)

    def _upload_end(self) -> UploadEnd:
        return self.endpoints.watch_client(self._control)

    def _contested(self) -> None:
        """Somebody else has come for this transfer, too: whatever has passed is not kept as whole."""
        if self._pending_client is not None:
            self._break(RelayError(425, str(Contested(self._pending_client.host))))

    def _check_close_notify(self, order: Order) -> int | None:
        """A download has ended → how many bytes, if it is yet to be proved that these are all.

        A FIN between two records is all that a cut leaves to be seen, and the server's 226 says only what it sent: a
        missing close_notify proves nothing. Raises RelayError where its word is taken (for a listing, or by "reply"),
        but it is known to end such data with close_notify.
        """
        owed, policy = self._service.learned.close_notify_behind, self._policy.close_notify
        if self.flow.at_end:
            return None  # the data has said its end itself, and its connection may stay open
        if self.flow.close_notify:
            owed.add(order.verb)
        elif policy == "prove" and (order.verb not in LISTINGS or order.verb not in owed):
            return self.flow.bytes
        elif policy in ("prove", "reply") and order.verb in owed:
            raise RelayError(
                426, "the server's data ended without the close_notify it has said before, so it may be cut"
            )
        return None

    def _break(self, error: RelayError) -> None:
        """It has failed. Both sides learn it now: the server's verdict depends on it."""
        if self.tls is not None and self._secured:
            self._resumption.failed(self.tls)
        self._reset()
        if not self._failed and self._end is None and self.order is not None:
            self._failed = error.why
            self._report(DataEnded(self.order.number, False, error.code, error.why))

    # --- its end ------------------------------------------------------------------------------------------------------

    async def _ordered(self) -> None:
        """Until it is ordered to end. What an upload's server says meanwhile is heard. Raises RelayError."""
        while self._end is None:
            with trio.CancelScope() as self._awaiting:
                await self._drain()
                await trio.sleep_forever()
        self._awaiting = None

    async def _drain(self) -> None:
        """Behind an upload, until the server's end. Raises RelayError."""
        if isinstance(self._relay, Upload) and self._server is not None and not self._drained:
            await self._relay.drain()
            self._drained = True
            if self.tls is not None:
                if self.tls.failed:
                    self._resumption.failed(self.tls)
                else:
                    self._resumption.learn(self.tls)

    async def _close_whole(self, order: EndData) -> None:
        """Both sides say that it went well: the last look, then the client sees the end; and the report of that.

        The server's 226 may have been read before what it said on the data connection: an alert there gives it the lie.
        A whole download ends at the client, with FIN behind its bytes.
        """
        if isinstance(self._relay, Upload):
            failed = await self._server_has_all(self._relay)
        else:
            failed = await self._client_has_all()
        self._failed = self._failed or failed
        if self._failed:
            self._reset()
        else:
            self._expect_nobody()
            for sock in (self._client, None if self._lingers else self._server):
                if sock is not None:
                    net.close(sock)
            self._client = None
        self._report(DataClosed(order.number, self._failed))

    async def _server_has_all(self, upload: Upload) -> str:
        """Until the server's kernel has all bytes, and the end → "", or what went wrong.

        What is in our kernel's buffer, some MiB, is lost when it falls silent or resets: the client must not have heard
        226 by then.
        """
        stall = _Stall("server", self._policy.server_stall)
        while (sock := self._server) is not None:
            try:
                upload.hear_behind()
            except RelayError as error:
                if self.tls is not None:
                    self._resumption.failed(self.tls)
                return error.why
            unsent = net.unsent(sock)
            if self.flow.at_end or unsent <= _END:
                return ""
            if stall.lasts(unsent):
                return stall.why
            await trio.sleep(_ACKNOWLEDGED_SECONDS)
        return "the session ended"

    async def _client_has_all(self) -> str:
        """The same of the client's, behind a download."""
        if self._client is None or not net.finish(self._client):
            return _CLIENT_BROKE
        stall = _Stall("client", self._policy.client_stall)
        looked = False
        while (sock := self._client) is not None:
            if net.error_of(sock):
                return _CLIENT_BROKE
            unsent = net.unsent(sock)
            if unsent <= _END:
                return ""
            if stall.lasts(unsent):
                return stall.why
            with trio.move_on_after(_LOOK_SECONDS):
                if looked:
                    await trio.sleep_forever()
                looked = True
                await net.readable(sock)  # most close once they have it all
        return "the session ended"

    @property
    def _lingers(self) -> bool:
        """Whether the server has said 2xx to an upload, and has not closed: it gets a moment, so that nothing unread
        resets it."""
        whole = self._end is not None and self._end.whole and not self._failed
        return whole and isinstance(self._relay, Upload) and not self._drained and self._server is not None

    async def linger(self) -> None:
        """Behind an upload that is whole; and an active client that was left waiting is turned away."""
        self._scope = trio.CancelScope(shield=True)
        with self._scope:
            try:
                with trio.move_on_after(self._policy.linger), contextlib.suppress(RelayError):
                    await self._drain()  # what it says now comes too late: its verdict is in
            finally:
                if self._server is not None:
                    net.close(self._server)
            await self.endpoints.turn_away()

    def _expect_nobody(self) -> None:
        if self._pending_client is not None:
            self._pending_client.cancel()

    def _reset(self) -> None:
        """Nothing that is open, or may come, passes for whole."""
        self._expect_nobody()
        self.endpoints.drop()
        if isinstance(self._pending_server, PendingConnection):
            self._pending_server.cancel()
        for sock in (self._client, self._server, self._pending_server):
            if isinstance(sock, Socket):
                net.reset(sock)
        self._client = self._server = self._pending_server = None

    def _result(self) -> TransferResult | None:
        order, end = self.order, self._end
        if order is None or end is None:
            return None
        torn = end.whole and self._failed
        in_band = "ended_in_band" if self.flow.ended_in_band else ""
        return TransferResult(
            order=order,
            direction=self.direction,
            outcome="torn" if torn else end.outcome,
            reply=426 if torn else end.code,
            reason=self._failed if torn else end.why or in_band,
            seconds=time.monotonic() - self._started,
            client_mode=self.endpoints.client_mode,
            server_mode=self.endpoints.server_mode,
            tls=self.tls if self._secured else None,
            flow=self.flow,
        )


class _Stall:
    """Whether a receiver, of this side, takes no bytes for too long."""

    __slots__ = ("_left", "_seconds", "_until", "why")

    def __init__(self, side: str, seconds: float) -> None:
        self.why = f"the {side} took no bytes for {seconds:g} seconds"
        self._seconds = seconds
        self._left = -1
        self._until = 0.0

    def lasts(self, unsent: int) -> bool:
        """So much is unsent now."""
        if unsent != self._left:
            self._left, self._until = unsent, net.now() + self._seconds
        return net.now() >= self._until


def _stranger(end: object) -> str:
    """Who came instead of the one expected, for a reply and the log."""
    if not isinstance(end, PendingConnection) or not end.stranger:
        return ""
    return f"; one came from {end.stranger}, and is expected from {end.host} only"
