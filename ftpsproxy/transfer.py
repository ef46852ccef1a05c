"""One data transfer: joins its two data connections, secures the server's, runs the engine, reports its end.

One task each. It holds both sockets from the beginning, so that whoever ends it can close them at once.
"""

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import trio

from ftpsproxy import net
from ftpsproxy.config import Upstream
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.messages import DataEnded, Transfer
from ftpsproxy.listeners import Expectation
from ftpsproxy.net import Socket
from ftpsproxy.relay import memory_bio as engine
from ftpsproxy.relay.contract import Flow, Pace, RelayError
from ftpsproxy.relay.handshake import shake_hands
from ftpsproxy.tls import Resumption, Tls, TlsRefused, explain

# What a client that is gone had sent already comes without a pause longer than this.
_HURRY_SECONDS = 1.0
# The commands behind whose data an upstream has said close_notify: it owes it from then on, because a FIN between two
# records is all that a cut leaves to be seen, and the server's 226 says only what it sent. An upstream has one context.
_OWED: WeakKeyDictionary[ssl.SSLContext, set[bytes]] = WeakKeyDictionary()


@dataclass(slots=True)
class Ends:
    """The prepared ends of a transfer, and by which command each side came to it (for the log).

    A connection to the client comes from `client_source`, the address the client knows.
    """

    client: Expectation | Endpoint | None = None
    server: Expectation | Socket | None = None
    client_source: str | None = None
    client_mode: str = ""
    server_mode: str = ""

    def upload_whole(self, pace: Pace) -> bool:
        """Whether an upload that nobody has read from yet has ended properly, or may have (DataTransfer tells when)."""
        sock = self.client.sock if isinstance(self.client, Expectation) else None
        return sock is not None and (net.has_ended(sock) or _hurry(sock, pace))

    def drop(self) -> None:
        """Forget both; what is open is reset."""
        if isinstance(self.client, Expectation):
            self.client.cancel()
        if isinstance(self.server, Expectation):
            self.server.cancel()
        elif self.server is not None:
            net.reset(self.server)
        self.client = self.server = None


def _hurry(sock: Socket, pace: Pace) -> bool:
    """Whether there are bytes to be read; if so, the rest of them must come without a pause."""
    if not net.unread(sock):
        return False
    pace.client_stall = min(pace.client_stall, _HURRY_SECONDS)
    return True


class DataTransfer:
    """A transfer under way. `run` reports DataEnded through `report`; `end` closes both connections as ordered."""

    def __init__(
        self,
        order: Transfer,
        ends: Ends,
        upstream: Upstream,
        context: ssl.SSLContext,
        resumption: Resumption,
        pace: Pace,
        report: Callable[[DataEnded], None],
        control: Socket,
        *,
        digest: bool,
    ) -> None:
        self.order = order
        self.ends = ends
        self.flow = Flow()
        self.tls: Tls | None = None
        self.scope = trio.CancelScope()
        self.started = time.monotonic()
        self.upload_read = False
        self._lingering = False
        self._doomed = False
        self._upstream = upstream
        self._context = context
        self._resumption = resumption
        self._pace = pace
        self._report = report
        self._control = control
        self._order: net.EndOrder | None = None
        self._client: Socket | None = None
        self._server: Socket | None = None
        self._drained = False
        self._direction = order.direction
        if digest:
            self.flow.start_digest()

    async def run(self) -> None:
        """The whole transfer, until `end` or the session's end."""
        try:
            with self.scope:
                await self._move()
                if not self._lingering and not self._doomed:
                    await trio.sleep_forever()  # `end` closes, on the verdict
        finally:
            self._close(whole=False)

    async def _move(self) -> None:
        number = self.order.number
        try:
            server = await self._server_end()
            tls = self.tls = await self._secure(server)
            if self._doomed:
                self._close(whole=False)
                return
            client = await self._client_end()
            direction = self._direction
            if direction is Direction.UNKNOWN:
                direction = self._direction = await _first_to_speak(client, server, tls, self._pace)
            if direction is Direction.DOWNLOAD:
                await engine.download(client, server, tls, self.flow, self._pace)
                self._check_close_notify()
                self._resumption.learn(tls)
                self._report(DataEnded(number, True))
                return
            sent = await engine.upload(client, server, tls, self.flow, self._pace)
            self.upload_read = True
            self._report(DataEnded(number, True))
            await engine.drain(server, tls, sent, self.flow)
            self._resumption.learn(tls)
            self._drained = True
        except RelayError as error:
            # Both sides learn it now: the server's verdict depends on it.
            self._close(whole=False)
            self._report(DataEnded(number, False, error.code, error.why))

    def _check_close_notify(self) -> None:
        """A download has ended. Raises RelayError if this server is known to end such data with close_notify."""
        owed = _OWED.setdefault(self._context, set())
        if self.flow.close_notify:
            owed.add(self.order.verb)
        elif self._pace.close_notify == "reply" and self.order.verb in owed:
            raise RelayError(
                426, "the server's data ended without the close_notify it has said before, so it may be cut"
            )

    async def _server_end(self) -> Socket:
        end, self.ends.server = self.ends.server, None
        if isinstance(end, Expectation):
            try:
                with trio.fail_after(self._pace.data_connect):
                    self._server = await end.wait()
            except trio.TooSlowError:
                raise RelayError(425, "the server opened no data connection") from None
            finally:
                end.cancel()
        else:
            self._server = end
        if self._server is None:
            raise RelayError(425, "no data connection to the server was prepared")
        return self._server

    async def _client_end(self) -> Socket:
        end, self.ends.client = self.ends.client, None
        try:
            with trio.fail_after(self._pace.data_connect):
                if isinstance(end, Expectation):
                    try:
                        self._take_client(await end.wait())
                    finally:
                        end.cancel()
                elif end is not None:
                    # Known before it is up: its far side may end it, and leave, before we have had our turn.
                    family = net.family_of(end.host)
                    client = net.start_connecting(family, (end.host, end.port), self.ends.client_source)
                    self._take_client(client)
                    await net.finish_connecting(client)
        except trio.TooSlowError:
            raise RelayError(425, "the client opened no data connection in time") from None
        except OSError as error:
            self._client = None
            why = (error.strerror or str(error)).lower()
            raise RelayError(425, f"no connection to the client's data port: {why}") from None
        if self._client is None:
            raise RelayError(425, "no data connection with the client was prepared")
        return self._client

    def _take_client(self, client: Socket) -> None:
        self._client = client
        if self._direction is not Direction.DOWNLOAD:
            self._order = net.EndOrder(client, self._control)

    async def _secure(self, server: Socket) -> Tls:
        upstream = self._upstream
        # The name is the control connection's, whatever address the data goes to.
        tls = Tls(self._context, upstream.server_name, self._resumption.offer())
        try:
            with trio.fail_after(self._pace.handshake):
                await shake_hands(server, tls)
            if not tls.resumed:
                tls.check_pins(upstream.pins)
                if upstream.data_session_reuse == "require":
                    raise TlsRefused("not_resumed", "the server did not resume the TLS session on the data connection")
        except trio.TooSlowError:
            raise RelayError(425, "the server did not finish the TLS handshake of the data connection") from None
        except (ssl.SSLError, OSError, TlsRefused) as error:
            self._resumption.start_again()
            raise RelayError(425, f"TLS on the data connection: {explain(error).detail}") from None
        return tls

    # --- what the session asks and orders -----------------------------------------------------------------------------

    @property
    def direction(self) -> Direction:
        """Which way it goes; found out on the way for verbs nobody knows."""
        return self._direction

    def upload_whole(self) -> bool:
        """The client's control connection has ended: whether its upload had ended properly before, or may have.

        A camera that is done ends its data first, then control. A program that is killed does the same where its kernel
        had sent all it was given (Linux closes what was opened last first), so those two can't be told apart; one
        killed with bytes queued ends the control connection first, as a camera with bytes queued does.
        Where bytes are still to be read the end of the data can't be seen yet: it must follow without a pause.
        """
        sock, order = self._client, self._order
        if self._direction is Direction.DOWNLOAD:
            return False
        if sock is None or order is None:
            return self.ends.upload_whole(self._pace)
        if order.was_first(sock):
            return self.upload_read or net.has_ended(sock)
        return not self.upload_read and _hurry(sock, self._pace)

    def end(self, *, whole: bool, answered: bool = True) -> str:
        """Close: whole, so that the client sees the end of a file, or torn, with resets both ways → what was amiss.

        `answered`: the server has said its last word on it. Until then a handshake is finished before the reset:
        vsftpd and Pure-FTPd end the whole session over one that breaks off.
        """
        amiss = ""
        if whole and self._client is not None and net.is_broken(self._client) and self._direction is Direction.DOWNLOAD:
            amiss = "the client broke the data connection before its end"
        if whole and self.upload_read and not self._drained:
            # The server has said 2xx but has not closed; it gets a moment, so that nothing unread resets it.
            self._lingering = True
            self.scope.deadline = trio.current_time() + self._pace.linger
            if self._client is not None:
                self._client.close()
                self._client = None
            return amiss
        if not answered and self.tls is None and self._server is not None:
            self._doomed = True
            self.ends.drop()
            return amiss
        self.scope.cancel()
        self._close(whole=whole)
        return amiss

    def _close(self, *, whole: bool) -> None:
        self.ends.drop()
        for sock in (self._client, self._server):
            if sock is not None:
                if whole or self._lingering:
                    sock.close()
                else:
                    net.reset(sock)
        self._client = self._server = None
        if self._order is not None:
            self._order.close()
            self._order = None


async def _first_to_speak(client: Socket, server: Socket, tls: Tls, pace: Pace) -> Direction:
    """For a verb nobody knows: a client that sends or ends first uploads, a server that does sends."""
    found = Direction.DOWNLOAD
    if tls.incoming.pending:
        return found
    with trio.move_on_after(min(pace.client_stall, pace.server_stall)) as limit:
        async with trio.open_nursery() as nursery:

            async def watch(sock: Socket, direction: Direction) -> None:
                nonlocal found
                await trio.lowlevel.wait_readable(sock)
                found = direction
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch, server, Direction.DOWNLOAD)
            nursery.start_soon(watch, client, Direction.UPLOAD)
    if limit.cancelled_caught:
        raise RelayError(426, "neither side sent any data")
    with contextlib.suppress(OSError):
        # TLS 1.3 tickets are bytes, too, but no data: a client that speaks as well is the one that means it.
        if found is Direction.DOWNLOAD and net.has_data(client):
            found = Direction.UPLOAD
    return found
