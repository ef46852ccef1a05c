"""One data transfer, from the transfer command on: one task, read from top to bottom, with a frozen result.

Only an order ends a transfer: no cancellation from outside reaches it, so that there is always a result, and both
connections are closed as that says.
"""

import trio

from ftpsproxy import net
from ftpsproxy.data import client_connection, receipt
from ftpsproxy.data.account import Account, TransferResult
from ftpsproxy.data.endpoints import Endpoints
from ftpsproxy.data.pending import Contested, PendingConnection
from ftpsproxy.data.relay.direction import FirstToSpeak
from ftpsproxy.data.relay.download import Download, ListingDownload
from ftpsproxy.data.relay.flow import Flow, RelayError
from ftpsproxy.data.relay.records import Records
from ftpsproxy.data.relay.upload import Upload
from ftpsproxy.data.relay.upload_end import UploadEnd
from ftpsproxy.data.server_tls import ServerTls
from ftpsproxy.data.service import SessionData
from ftpsproxy.ftp.blocks import Blocks
from ftpsproxy.ftp.commands import LISTINGS, Direction
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.ftp.events import RelayFinished, TransferClosed
from ftpsproxy.ftp.orders import FinishTransfer
from ftpsproxy.ftp.orders import Transfer as Order
from ftpsproxy.net import Socket, TimeLimit
from ftpsproxy.observe import log, metrics
from ftpsproxy.tls import Tls
from ftpsproxy.tls.handshake import NotBegun


class Transfer:
    """A transfer under way, or about to be: `run` is a task from the command on, `begin` gives it its order."""

    def __init__(self, shared: SessionData, server: PendingConnection | Socket | None, tls: Tls | None) -> None:
        self.flow = Flow()
        self.order: Order | None = None
        self.direction = Direction.UNKNOWN
        self._limit = TimeLimit(shield=True)
        self.server_tls = ServerTls(shared, server, tls, self._limit)
        self._shared = shared
        self._policy = shared.service.policy
        self.endpoints = Endpoints()
        self.account = Account(self.flow)
        self._tls: Tls | None = None
        self._pending_client: PendingConnection | None = None
        self._server: Socket | None = None
        self._client: Socket | None = None
        self._draining: trio.CancelScope | None = None
        self._begun = trio.Event()
        self._finish_ordered = trio.Event()
        self._finish: FinishTransfer | None = None
        self._secured = False
        self._relay: Download | Upload | None = None
        self._in_band = False
        self._drained = False
        self._failed = ""
        self._failed_by: tuple[Side, Cause] | None = None
        self._contest = ""
        self._over = False
        self._stopped = self._noted = False

    # --- what the session orders, and asks ----------------------------------------------------------------------------

    def begin(self, order: Order, endpoints: Endpoints) -> None:
        """This is the transfer; the client's connection comes from these endpoints."""
        self.order = order
        self.direction = order.direction
        self.endpoints = endpoints
        self.account.begin(order, endpoints)
        if self._policy.digest:
            self.flow.start_digest()
        if order.mode == b"B":
            self.flow.blocks = Blocks()
        self.server_tls.begin()
        self._begun.set()

    def end_in_band(self) -> None:
        """The server has said 2xx to a transfer in MODE B or C: its connection need not close any more."""
        self._in_band = True
        if self._relay is not None:
            self._relay.end_in_band()

    def note_progress(self, every: float) -> None:
        """Have the log told that it goes on, each time that so many seconds have passed."""
        if self.order is not None and self._finish is None:
            self.account.note_progress(self.order, self.direction, self.endpoints, every)

    def control_lost(self) -> bool:
        """The client's control connection is gone → whether this may go on, as an upload: its end judges."""
        if self.direction is Direction.DOWNLOAD or self._finish is not None:
            return False
        if self._client is None:
            return self.endpoints.control_lost(self._shared.client)
        self._upload_end().control_lost(self.flow.bytes)
        return True

    def finish(self, order: FinishTransfer) -> None:
        """Finish it: whole, so that the client sees the end of a file, or torn, with resets both ways.

        Whoever has broken off before the handshake is over, and the server has not answered: the handshake is finished
        before the reset. vsftpd and Pure-FTPd end the whole session over one that breaks off.
        """
        if self._finish is not None:
            return
        self._finish = order
        self._finish_ordered.set()
        if order.whole:
            if self._draining is not None:
                self._draining.cancel()
        elif order.outcome == "aborted" and not self._secured and not self._over:
            self.endpoints.drop_client()
        else:
            self._reset()
            self._limit.interrupt()

    def stop(self, why: str) -> None:
        """The session is over: whatever is open is closed, and torn where it was not whole yet."""
        self._stopped = True
        if self.order is not None and self._finish is None:
            self.finish(FinishTransfer(self.order.number, False, 0, "torn", why))
            return
        if not self._over:
            self._failed = self._failed or why
            self._reset()
        self._limit.interrupt()

    # --- the transfer -------------------------------------------------------------------------------------------------

    async def run(self) -> TransferResult | None:
        """The whole transfer → its result; None where it has not begun. A server that has not closed yet behind an
        upload that is whole is left to `linger`."""
        try:
            while not await self._limit.run(self._go_through):
                if self._stopped or (self._finish is not None and not self._finish.whole):
                    break
                self._limit.due = net.NEVER
                self._break(self.server_tls.too_late())
        except BaseException:
            self._failed = self._failed or "the gateway made a mistake"
            raise
        finally:
            self._over = True
            self.endpoints.drop()
            if not self._lingers:
                self._reset()
        return self._result()

    async def _go_through(self) -> None:
        """From the handshake to the close, or, where it has failed, to the close."""
        try:
            if not self._failed:
                why_empty = await self._secure()
                if self._finish is None and self.order is not None:
                    await self._move(self.order, why_empty)
            await self._ordered()
        except RelayError as error:
            self._break(error)
            await self._ordered()
        if self._finish is not None and self._finish.whole:
            await self._close_whole(self._finish)

    async def _secure(self) -> str:
        """TLS with the server, and the order to begin → "", or why a download has come without TLS. Raises RelayError.

        A server that closes without a word of TLS has failed. But some that have nothing to send say it so, and by
        their 2xx (Go's ftpserverlib): with that it is as good as an end without close_notify.
        """
        await self.server_tls.shake_hands()
        if not self._begun.is_set():
            await self._begun.wait()
        why = ""
        try:
            self._tls = self.server_tls.verify()
            self._server = self.server_tls.take()
        except NotBegun as end:
            why = f"TLS on the data connection: {end.detail}"
            if self.direction is not Direction.DOWNLOAD or self._policy.close_notify == "require":
                raise RelayError(425, why, "server", Cause.TLS) from None
            if (sock := self.server_tls.take()) is not None:
                net.close(sock)
        self._secured = True
        return why

    async def _move(self, order: Order, why_empty: str) -> None:
        """The bytes, and the report that they have ended. Raises RelayError."""
        client = await self._connect_client()
        server, tls, shared = self._server, self._tls, self._shared
        if server is None or tls is None:
            self.flow.close_notify = False
            shared.report(RelayFinished(order.number, False, 425, why_empty, unproved=0))
            return
        records = Records.behind(tls)
        if self.direction is Direction.UNKNOWN:
            speaks = FirstToSpeak(client, server, tls, records, self._upload_end())
            self.direction = await speaks.found(self._policy)
        if (most := self._policy.max_file_bytes) and order.verb not in LISTINGS:
            self.flow.bound(most, order.offset or 0, "server" if self.direction is Direction.DOWNLOAD else "client")
        listener, upstream = shared.service.listener.name, shared.service.upstream.name
        self.flow.meter = metrics.TRANSFER_BYTES.meter(listener, upstream, self.direction.value)
        if self.direction is Direction.DOWNLOAD:
            translated = order.verb in LISTINGS and self._policy.charsets.client_charset is not None
            kind = ListingDownload if translated else Download
            await self._run(kind(client, server, tls, records, self.flow, self._policy))
            unproved = receipt.unproved(self.flow, order, shared.service)
            net.close(server)  # both have said their end; to hear of the server's FIN, too, is a wake-up for nothing
            self._server = None
            shared.resumption.learn(tls)
            shared.report(RelayFinished(order.number, True, unproved=unproved, left_out=self.flow.left_out))
        else:
            await self._run(Upload(client, server, tls, self._upload_end(), self.flow, self._policy))
            shared.report(RelayFinished(order.number, True))

    async def _run(self, relay: Download | Upload) -> None:
        self._relay = relay
        if self._in_band:
            relay.end_in_band()
        await relay.run()

    async def _connect_client(self) -> Socket:
        """Raises RelayError."""
        end = self.endpoints.client
        if isinstance(end, PendingConnection):
            self._pending_client = end
            end.on_contest(self._contested)
            client = end.take() or await client_connection.that_comes(end, self._policy.data_connect)
            self._take_client(client)
            if end.balanced:
                self.endpoints.client_mode = "balanced"
            return client
        self.endpoints.client = None  # it is no way to somebody who waits any more
        if end is None:
            why = "no data connection with the client was prepared"
            raise RelayError(425, why, "client", Cause.NOT_PREPARED)
        source, seconds = self.endpoints.client_source, self._policy.data_connect
        try:
            client = await client_connection.that_is_made(end, source, seconds, self._take_client)
        except RelayError:
            self._client = None
            raise
        if self.endpoints.upload_end is not None:
            self.endpoints.upload_end.look(0)  # being connected put it first in the order
        return client

    def _take_client(self, client: Socket) -> None:
        self._client = client
        self.endpoints.client = None
        if self.direction is not Direction.DOWNLOAD:
            self._upload_end().watch(client)

    def _upload_end(self) -> UploadEnd:
        return self.endpoints.watch_client(self._shared.client)

    def _contested(self) -> None:
        """Somebody else has come for this transfer, too: whatever has passed is not kept as whole. That is heard in a
        task of the gateway's; one of the session's says so."""
        if self._pending_client is not None and not self._over:
            self._contest = str(Contested(self._pending_client.host))
            self._shared.start(self._break_contested)

    async def _break_contested(self) -> None:
        if not self._over:
            self._break(RelayError(425, self._contest, "client", Cause.CONTESTED))

    def _break(self, error: RelayError) -> None:
        """It has failed. Both sides learn it now: the server's verdict depends on it."""
        self._note_failed_tls()
        self._note_failure(error)
        self._reset()
        known, self._failed = self._failed, self._failed or error.why
        if not known and self._finish is None and self.order is not None:
            by_server = error.side == "server" and error.cause in (Cause.BROKEN, Cause.CUT)
            number = self.order.number
            self._shared.report(RelayFinished(number, False, error.code, error.why, by_server=by_server))

    def _note_failure(self, error: RelayError) -> None:
        """For the log, the first time, and unless it was broken off."""
        if not self._failed and (self._finish is None or self._finish.whole):
            self._failed_by = error.side, error.cause
            log.data_failed(self.endpoints.failure(error.side, error.cause, error.why, error.came_from))

    def _note_failed_tls(self) -> None:
        if self._tls is not None:
            self._shared.resumption.failed(self._tls)

    # --- its end ------------------------------------------------------------------------------------------------------

    async def _ordered(self) -> None:
        """Until it is ordered to end. What an upload's server says meanwhile is heard. Raises RelayError."""
        if self._finish is None and isinstance(self._relay, Upload):
            with trio.CancelScope() as self._draining:
                await self._drain()
        if self._finish is None:
            await self._finish_ordered.wait()

    async def _drain(self) -> None:
        """Behind an upload, until the server's end. Raises RelayError."""
        if isinstance(self._relay, Upload) and self._server is not None and not self._drained:
            await self._relay.drain()
            self._drained = True
            if self._tls is not None:
                if self._tls.failed:
                    self._note_failed_tls()
                else:
                    self._shared.resumption.learn(self._tls)

    async def _close_whole(self, order: FinishTransfer) -> None:
        """Both sides say that it went well: the last look, then the client sees the end; and the report of that."""
        policy = self._policy
        try:
            if isinstance(self._relay, Upload):
                await receipt.of_server(self._server, self._relay, policy.server_stall)
            else:
                await receipt.of_client(self._client, policy.client_stall)
        except RelayError as error:
            self._note_failure(error)
            self._failed = self._failed or error.why
            self._note_failed_tls()
        self._failed = self._failed or self._contest
        if self._failed:
            self._reset()
        else:
            self._expect_nobody()
            for sock in (self._client, None if self._lingers else self._server):
                if sock is not None:
                    net.close(sock)
            self._client = None
        self._shared.report(TransferClosed(order.number, self._failed))

    @property
    def _lingers(self) -> bool:
        """Whether the server has said 2xx to an upload, and has not closed: it gets a moment, so that nothing unread
        resets it."""
        whole = self._finish is not None and self._finish.whole and not self._failed
        return whole and isinstance(self._relay, Upload) and not self._drained and self._server is not None

    async def linger(self) -> None:
        """Behind an upload that is whole, until the server has closed, too, or for so long."""
        if self._server is None:
            return
        self._limit.due = net.now() + self._policy.linger
        try:
            if not self._stopped:
                await self._limit.run(self._drain)
        except RelayError:
            self._note_failed_tls()  # it comes too late for the transfer: the server's verdict is in
        finally:
            if self._server is not None:
                net.close(self._server)
                self._server = None

    def crashed(self) -> TransferResult | None:
        """What is to be said of it where `run` has raised; None where it has not begun, or said all itself."""
        if self.order is None or self._noted:
            return None
        if self._finish is None or self._finish.whole:
            self._finish = FinishTransfer(self.order.number, False, 0, "torn", self._failed)
        return self._result()

    def _expect_nobody(self) -> None:
        if self._pending_client is not None:
            self._pending_client.cancel()

    def _reset(self) -> None:
        """Nothing that is open, or may come, passes for whole."""
        self._expect_nobody()
        self.endpoints.drop()
        self.server_tls.drop()
        for sock in (self._client, self._server):
            if sock is not None:
                net.reset(sock)
        self._client = self._server = None

    def _result(self) -> TransferResult | None:
        order, finish = self.order, self._finish
        if order is None or finish is None:
            return None
        self._noted = True
        torn = finish.whole and self._failed
        in_band = "ended_in_band" if self.flow.ended_in_band else ""
        return TransferResult(
            order=order,
            direction=self.direction,
            outcome="torn" if torn else finish.outcome,
            reply=426 if torn else finish.code,
            why=self._failed if torn else finish.why or in_band,
            failed=self._failed_by if torn or finish.outcome == "torn" else None,
            seconds=self.account.seconds,
            ttfb=self.account.ttfb,
            client_mode=self.endpoints.client_mode,
            server_mode=self.endpoints.server_mode,
            tls=self._tls,
            flow=self.flow,
            facts=self.account.facts,
        )
