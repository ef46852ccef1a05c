"""One data transfer: joins its two data connections, secures the server's, runs the engine, reports its end.

One task each. It holds both sockets from the beginning, so that whoever ends it can close them at once.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from ftpsproxy import errors, metrics, net
from ftpsproxy.data_tls import DataTls
from ftpsproxy.dataports import Contested, Expectation
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.blocks import Blocks
from ftpsproxy.ftp.commands import LISTINGS, Direction
from ftpsproxy.ftp.messages import DataEnded, Transfer
from ftpsproxy.net import Socket
from ftpsproxy.reactor import NEVER, Start, Task, now, pause, readable
from ftpsproxy.relay import memory_bio as engine
from ftpsproxy.relay.contract import Flow, Pace, RelayError
from ftpsproxy.relay.departure import ClientConnection, Departure
from ftpsproxy.relay.direction import first_to_speak
from ftpsproxy.relay.handshake import NotBegun
from ftpsproxy.relay.records import Records
from ftpsproxy.service import Service
from ftpsproxy.tls import Refused, Resumption, Tls, TlsError, check_pins, explain

# How often a transfer whose connection may stay open is looked at.
_LOOK_SECONDS = 0.05
_CLIENT_BROKE = "the client broke the data connection before its end"
# An acknowledgement is late by some 40 ms at most, where nothing else is to be sent with it.
_ACKNOWLEDGED_SECONDS = 0.01
# To connect to a client only to reset that.
_TURN_AWAY_SECONDS = 5.0
# An end counts as one byte; its acknowledgement, which clients delay, need not be waited for.
_END = 1


@dataclass(slots=True)
class Ends:
    """The prepared ends of a transfer, and by which command each side came to it (for the log). `server` becomes `tls`
    once the server has been asked for a transfer.

    A connection to the client comes from `client_source`, the address the client knows. `departure` of an upload.
    """

    client: Expectation | Endpoint | None = None
    server: Expectation | Socket | None = None
    tls: DataTls | None = None
    client_source: str | None = None
    client_mode: str = ""
    server_mode: str = ""
    departure: Departure | None = None
    unmet: Endpoint | None = None

    async def turn_away(self) -> None:
        """An active client that waits for its connection, and hears nothing else meanwhile, gets one that is reset."""
        if self.unmet is not None:
            with contextlib.suppress(OSError):  # TimeoutError, too
                family, sockaddr = net.numeric(self.unmet.host, self.unmet.port)
                sock = net.start_connecting(family, sockaddr, self.client_source)
                await net.finish_connecting(sock, now() + _TURN_AWAY_SECONDS)
                net.reset(sock)

    def watch_client(self, control: ClientConnection) -> Departure:
        """From now on, which of the client's two connections ends first."""
        if self.departure is None:
            self.departure = Departure(control)
            if isinstance(self.client, Expectation):
                self.client.tell(self.departure.watch)
        return self.departure

    def control_lost(self, control: ClientConnection) -> bool:
        """The client's control connection is gone → whether its data connection is there, to tell what it was about."""
        if not isinstance(self.client, Expectation) or self.client.sock is None:
            return False
        self.watch_client(control).control_lost(0)
        return True

    def drop(self) -> None:
        """Forget both; what is open is reset."""
        self.drop_client()
        self.drop_server()

    def drop_client(self) -> None:
        """Forget the client's; an active one that has begun to wait is `unmet`."""
        if isinstance(self.client, Expectation):
            self.client.cancel()
        elif self.client is not None:
            self.unmet = self.client
        self.client = None
        if self.departure is not None:
            self.departure.close()
            self.departure = None

    def drop_server(self) -> None:
        """Forget the server's."""
        if isinstance(self.server, Expectation):
            self.server.cancel()
        elif self.server is not None:
            net.reset(self.server)
        if self.tls is not None:
            self.tls.drop()
        self.server = self.tls = None

    def start_tls(self, tls: Tls, start: Start, failed: Callable[[Tls], None]) -> None:
        """Begin TLS with the server, now or when it has connected; nothing for one that has begun."""
        if self.server is not None and self.tls is None:
            self.tls = DataTls(self.server, tls, failed)
            self.server = None
            self.tls.task = start(self.tls.run())


class DataTransfer:
    """A transfer under way. `run` reports DataEnded through `report`; `end` closes both connections as ordered."""

    def __init__(
        self,
        order: Transfer,
        ends: Ends,
        service: Service,
        resumption: Resumption,
        pace: Pace,
        report: Callable[[DataEnded], None],
        control: ClientConnection,
    ) -> None:
        self.order = order
        self.ends = ends
        self.flow = Flow()
        self.tls: Tls | None = None
        self.task: Task | None = None
        self.started = time.monotonic()
        self.upload_read = False
        self._lingering = False
        self._linger_until = NEVER
        self._handshake_over = False
        self._doomed = False
        self._over = False
        self._service = service
        self._resumption = resumption
        self._pace = pace
        self._report = report
        self._control = control
        self._client: Socket | None = None
        self._server: Socket | None = None
        self._drained = False
        self._expectation: Expectation | None = None
        self._amiss = ""
        self._direction = order.direction
        if service.listener.digest == "sha256":
            self.flow.start_digest()
        if order.mode == b"B":
            self.flow.blocks = Blocks()

    async def run(self) -> None:
        """The whole transfer; both connections stay open, for `end` to close on the verdict."""
        try:
            await self._move()
        except BaseException:
            self._close(whole=False)
            raise
        finally:
            self._over = True
        if self._lingering:
            self._close(whole=True)

    async def _move(self) -> None:
        number = self.order.number
        try:
            server = await self._server_end()
            try:
                tls = self.tls = await self._secure()
            except NotBegun as end:
                await self._end_empty(server, end)
                return
            self._handshake_over = True
            if self._doomed:
                self._close(whole=False)
                return
            client = await self._client_end()
            direction = self._direction
            records = Records.behind(tls)
            if direction is Direction.UNKNOWN:
                direction = self._direction = await first_to_speak(
                    self._service.reactor, client, server, tls, records, self._pace, self._watch_client()
                )
            listener, upstream = self._service.listener.name, self._service.upstream.name
            self.flow.meter = metrics.TRANSFER_BYTES.meter(listener, upstream, direction.value)
            if direction is Direction.DOWNLOAD:
                await engine.download(client, server, tls, records, self.flow, self._pace)
                unproved = self._check_close_notify()
                server.close()  # both have said their end; to hear of the server's FIN, too, is a wake-up for nothing
                self._server = None
                self._resumption.learn(tls)
                self._report(DataEnded(number, True, unproved=unproved))
                return
            await engine.upload(client, server, tls, self.flow, self._pace, self._watch_client())
            self.upload_read = True
            self._report(DataEnded(number, True))
            if self._over:
                return  # the server's verdict was in, and is belied by what it has said here
            await engine.drain(server, tls, self.flow, lambda: self._linger_until)
            if tls.failed:
                self._resumption.failed(tls)
            else:
                self._resumption.learn(tls)
            self._drained = True
        except RelayError as error:
            if self.tls is not None:
                self._resumption.failed(self.tls)
            self._amiss = self._amiss or error.why
            # Both sides learn it now: the server's verdict depends on it.
            self._close(whole=False)
            self._report(DataEnded(number, False, error.code, error.why))

    async def _end_empty(self, server: Socket, end: NotBegun) -> None:
        """The server has closed the connection of a download without a word of TLS: a failure.

        But some that have nothing to send say it so, and by their 2xx (Go's ftpserverlib): with that it is as good as
        an end without close_notify. Raises RelayError.
        """
        why = f"TLS on the data connection: {end.detail}"
        self._resumption.start_again()
        if self._direction is not Direction.DOWNLOAD or self._pace.close_notify == "require":
            raise RelayError(425, why)
        server.close()
        self._server = None
        self._handshake_over = True
        if not self._doomed:
            await self._client_end()
            self.flow.close_notify = False
            self._report(DataEnded(self.order.number, False, 425, why, unproved=0))
        else:
            self._close(whole=False)

    def _check_close_notify(self) -> int | None:
        """A download has ended → how many bytes, if it is yet to be proved that these are all.

        A FIN between two records is all that a cut leaves to be seen, and the server's 226 says only what it sent: a
        missing close_notify proves nothing. Raises RelayError where its word is taken (for a listing, or by "reply"),
        but it is known to end such data with close_notify.
        """
        owed = self._service.learned.close_notify_behind
        if self.flow.at_end:
            return None  # the data has said its end itself, and its connection may stay open
        if self.flow.close_notify:
            owed.add(self.order.verb)
        elif self._pace.close_notify == "prove" and (self.order.verb not in LISTINGS or self.order.verb not in owed):
            return self.flow.bytes
        elif self._pace.close_notify in ("prove", "reply") and self.order.verb in owed:
            raise RelayError(
                426, "the server's data ended without the close_notify it has said before, so it may be cut"
            )
        return None

    async def _server_end(self) -> Socket:
        tls = self.ends.tls
        if tls is None:
            raise RelayError(425, "no data connection to the server was prepared")
        try:
            self._server = await tls.connection(now() + self._pace.data_connect)
        except TimeoutError:
            who = f"; one came from {tls.stranger}" if tls.stranger else ""
            raise RelayError(425, f"the server opened no data connection in time{who}") from None
        return self._server

    async def _client_end(self) -> Socket:
        end, self.ends.client = self.ends.client, None
        until = now() + self._pace.data_connect
        try:
            if isinstance(end, Expectation):
                self._expectation = end
                self._take_client(await end.wait(until))
                end.on_contest(self._contested)
            elif end is not None:
                # Known before it is up: its far side may end it, and leave, before we have had our turn.
                family, sockaddr = net.numeric(end.host, end.port)
                client = net.start_connecting(family, sockaddr, self.ends.client_source)
                self._take_client(client)
                await net.finish_connecting(client, until)
                if self.ends.departure is not None:
                    self.ends.departure.look(0)  # being connected put it first in the order
        except Contested as error:
            raise RelayError(425, str(error)) from None
        except TimeoutError:
            self._client = None
            stranger = _stranger(end) if isinstance(end, Expectation) else ""
            raise RelayError(425, f"the client opened no data connection in time{stranger}") from None
        except OSError as error:
            self._client = None
            why = errors.words(error)
            raise RelayError(425, f"no connection to the client's data port: {why}") from None
        if self._client is None:
            raise RelayError(425, "no data connection with the client was prepared")
        return self._client

    def _contested(self) -> None:
        """Somebody else has come for this transfer, too: whatever has passed is not kept as whole."""
        assert self._expectation is not None  # noqa: S101 - it tells of itself
        self._amiss = str(Contested(self._expectation.host))
        self._close(whole=False)
        self._report(DataEnded(self.order.number, False, 425, self._amiss))
        if self.task is not None:
            self.task.cancel()

    def _take_client(self, client: Socket) -> None:
        self._client = client
        if self._direction is not Direction.DOWNLOAD:
            self._watch_client().watch(client)

    def _watch_client(self) -> Departure:
        return self.ends.watch_client(self._control)

    async def _secure(self) -> Tls:
        upstream, handshake = self._service.upstream, self.ends.tls
        assert handshake is not None  # noqa: S101 - its connection was had
        tls = handshake.tls
        try:
            await handshake.finish(now() + self._pace.handshake)
            if not tls.resumed:
                check_pins(tls, upstream.pins)
                if upstream.data_session_reuse == "require":
                    raise Refused("not_resumed", "the server did not resume the TLS session on the data connection")
        except TimeoutError:
            raise RelayError(425, "the server did not finish the TLS handshake of the data connection") from None
        except NotBegun:
            raise
        except (TlsError, OSError, Refused) as error:
            self._resumption.start_again()
            raise RelayError(425, f"TLS on the data connection: {explain(error).detail}") from None
        return tls

    # --- what the session asks and orders -----------------------------------------------------------------------------

    @property
    def direction(self) -> Direction:
        """Which way it goes; found out on the way for verbs nobody knows."""
        return self._direction

    def control_lost(self) -> bool:
        """The client's control connection is gone → whether this may go on, as an upload: its `departure` judges."""
        if self._direction is Direction.DOWNLOAD:
            return False
        if self._client is None:
            return self.ends.control_lost(self._control)
        self._watch_client().control_lost(self.flow.bytes)
        return True

    async def end_in_band(self) -> None:
        """The server has said 2xx, and neither side need close its connection (MODE B, C): find the end without it.

        In MODE B it is the block that says end of file; without one nothing ends before the stall limit does it. MODE C
        can't be told from here for sure: nothing more has come for as long as an upload is lingered over. Then the
        sending side is read as if it had closed, so that what is amiss with its end is found as ever: half a TLS record
        is a torn file.
        """
        moved, since = -1, 0.0
        while not self._over and not self.upload_read:
            source = self._sender()
            time_now = now()
            if source is None or self.tls is None or net.unread(source) or self.flow.bytes != moved:
                moved, since = self.flow.bytes, time_now
            blocks = self.flow.blocks
            if source is not None and (blocks.ended if blocks is not None else time_now - since >= self._pace.linger):
                self.flow.ended_in_band = True
                net.stop_reading(source)
                return
            await pause(time_now + _LOOK_SECONDS)

    def _sender(self) -> Socket | None:
        """The side that sends; None where it is not there yet, or not known (a verb nobody knows)."""
        if self._direction is Direction.DOWNLOAD:
            return self._server
        return self._client if self._direction is Direction.UPLOAD else None

    def finish(self) -> tuple[bool, str]:
        """Both sides say that it went well: the last look → whether it may end now, and what is amiss.

        The server's 226 may have been read before what it said on the data connection: an alert there gives it the lie.
        A whole download ends at the client, with FIN behind its bytes.
        """
        client = self._client
        download = client is not None and self._direction is Direction.DOWNLOAD
        if download and client is not None and not net.finish(client):
            return True, _CLIENT_BROKE
        return self._has_all() if download or self.upload_read else (True, "")

    def _has_all(self) -> tuple[bool, str]:
        """Whether the receiver's kernel has all bytes, and the end, or never will; and what is amiss."""
        sock = self._server if self.upload_read else self._client
        if sock is None:
            return True, self._amiss or "the session ended"
        if not self.upload_read:
            return (True, _CLIENT_BROKE) if net.error_of(sock) else (net.unsent(sock) <= _END, "")
        assert self.tls is not None  # noqa: S101 - an upload went through it
        try:
            engine.hear_behind(sock, self.tls, self.flow)
        except RelayError as error:
            self._resumption.failed(self.tls)
            return True, error.why
        return self.flow.at_end or net.unsent(sock) <= _END, ""

    async def has_all(self) -> str:
        """Until the receiver has all bytes, and the end → "", or what went wrong.

        What is in our kernel's buffer, some MiB, is lost when it falls silent or resets: the client must not have heard
        226 by then.
        """
        pace = self._pace
        side, stall = ("server", pace.server_stall) if self.upload_read else ("client", pace.client_stall)
        left, until = -1, 0.0
        while True:
            done, amiss = self._has_all()
            sock = self._server if self.upload_read else self._client
            if done or sock is None:
                return amiss
            time_now = now()
            if (unsent := net.unsent(sock)) != left:
                left, until = unsent, time_now + stall
            elif time_now >= until:
                return f"the {side} took no bytes for {stall:g} seconds"
            if self.upload_read:
                await pause(time_now + _ACKNOWLEDGED_SECONDS)  # the socket is waited for already, by `drain`
            else:
                with contextlib.suppress(OSError):  # closed meanwhile: seen above
                    await readable(sock, time_now + _LOOK_SECONDS)  # most close once they have it all

    def end(self, *, whole: bool, answered: bool = True) -> None:
        """Close: whole, so that the client sees the end of a file, or torn, with resets both ways.

        `answered`: the server has said its last word on it. Until then a handshake is finished before the reset:
        vsftpd and Pure-FTPd end the whole session over one that breaks off.
        """
        if whole and self.upload_read and not self._drained:
            # The server has said 2xx but has not closed; it gets a moment, so that nothing unread resets it.
            self._lingering = True
            self._linger_until = now() + self._pace.linger
            if self.task is not None:
                self.task.deadline(self._linger_until)
            self._expect_nobody()
            if self._client is not None:
                self._client.close()
                self._client = None
            return
        if not answered and not self._handshake_over and not self._over:
            self._doomed = True
            self.ends.drop_client()
            return
        if self.task is not None:
            self.task.cancel()
        self._close(whole=whole)

    def _expect_nobody(self) -> None:
        if self._expectation is not None:
            self._expectation.cancel()

    def _close(self, *, whole: bool) -> None:
        self._expect_nobody()
        self.ends.drop()
        for sock in (self._client, self._server):
            if sock is not None:
                if whole or self._lingering:
                    sock.close()
                else:
                    net.reset(sock)
        self._client = self._server = None
        self._over = True


def _stranger(end: Expectation) -> str:
    """Who came instead of the one expected, for a reply and the log."""
    return f"; one came from {end.stranger}, and is expected from {end.host} only" if end.stranger else ""
