"""One client's session: a nursery. Feeds events to the protocol, carries out its orders, says good-bye.

Two tasks: one hears the server and keeps the time (server_hearing), one hears the client (client_hearing); each
transfer is one more. Whatever happens is an event for the protocol; its orders are carried out at once and never wait.
The farewell stands behind the nursery, where no cancellation reaches it, and has a limit.
"""

import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from ftpsproxy import net
from ftpsproxy.data.connections import DataConnections, Totals
from ftpsproxy.ftp import replies
from ftpsproxy.ftp.events import Accepted, Event, Stopped
from ftpsproxy.ftp.orders import Ending, HangUp, NoteReplyIgnored
from ftpsproxy.ftp.protocol import Policy, Protocol
from ftpsproxy.ftp.waiting import Waiting
from ftpsproxy.net import NEVER, Socket
from ftpsproxy.observe import log
from ftpsproxy.session.client import ClientControl
from ftpsproxy.session.client_hearing import ClientHearing
from ftpsproxy.session.clock import Clock
from ftpsproxy.session.orders import CARRY_OUT
from ftpsproxy.session.server import ServerControl
from ftpsproxy.session.server_hearing import ServerHearing
from ftpsproxy.session.service import Place, Service

_SERVER_GOODBYE_SECONDS = 1.0
_CLIENT_GOODBYE_SECONDS = 2.0
# Why a session has ended for which nobody has decided that, in the log and for the client.
_CRASHED = HangUp(Ending.CRASHED), "The gateway made a mistake and ends this session."
_AT_ONCE = HangUp(Ending.STOPPED_AT_ONCE), "The gateway stops at once."


class Session:
    """One session; `run` is its whole life. `place` is taken when the server is to be reached; there is an `origin`
    where a load balancer stands before the client."""

    def __init__(
        self, service: Service, sock: Socket, client: str, place: Place, origin: net.Origin | None = None
    ) -> None:
        self.service = service
        self.place = place
        self.address = client
        self._introduced = origin is not None
        self.client: ClientControl = ClientControl(
            sock, origin or client, self.start, line_bytes=service.limits.line_bytes
        )
        self.protocol = Protocol(self._policy(service), service.data.quirks)
        self.clock = Clock(service.patience)
        self.server: ServerControl | None = None
        self.data: DataConnections | None = None
        self.over = False
        self.end = _AT_ONCE[0]
        self.commands = 0
        self.unproved = False
        self.tls_wanted = False
        self.stop_reason = ""
        self.stop_now = False
        self.makes_way = False  # for others that wait
        self.server_hearing: ServerHearing = ServerHearing(self)
        self.client_hearing = ClientHearing(self)
        self.shown = self._turned_away = False
        self._opened = time.monotonic()
        self._events: deque[Event] = deque()
        self._feeding = False
        self._crashed = self._at_once = False
        self._nursery: trio.Nursery | None = None
        self._log: log.Bound | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until the session ends; closes everything it opened. Raises only for our own mistakes."""
        service = self.service
        log.bind(
            session=secrets.token_hex(6),
            client=self.address,
            listener=service.listener.name,
            upstream=service.upstream.name,
        )
        self._log = log.bound_now()
        self.feed(Accepted())
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    self.start(self.client_hearing.run)  # which finds out, too, when it leaves before there is a server
                    await self._guard(self.server_hearing.run)
                except trio.Cancelled:
                    self._at_once = not self._crashed
                    raise
                finally:
                    self._stop_hearing()
                    self._nursery.cancel_scope.cancel()
                    self._nursery = None
        finally:
            await self._leave()

    def start(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Start a task that ends with the session; nothing happens once that is over."""
        if self._nursery is not None:
            self._nursery.start_soon(self._guard, task, *arguments)

    async def _guard(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        log.join(self._log)  # somebody else's may have started it, such as that of a passive port
        try:
            await task(*arguments)
        except Exception:
            self._crashed = True
            raise

    def _stop_hearing(self) -> None:
        """Nobody is heard any more. Where nobody has decided on that, it is a crash, or the whole gateway ends."""
        if not self.over or self._crashed:
            self.end, text = _CRASHED if self._crashed else _AT_ONCE
            self.client.send(replies.own(421, text).encode())
        self.over = True
        if self.data is not None:
            self.data.close(self.end.why)

    async def _leave(self) -> None:
        """Close everything, with a word of farewell where there is time for it."""
        if self.server is not None:
            with trio.move_on_after(0 if self._at_once else _SERVER_GOODBYE_SECONDS, shield=True):
                await self.server.say_goodbye(hear_end=self.service.upstream.sessions > 0)
            self.server.close()
        with trio.move_on_after(0 if self._at_once else _CLIENT_GOODBYE_SECONDS, shield=True):
            await self.client.say_goodbye()
        self.client.close()
        seconds = round(self.seconds, 3)
        if not self.shown:
            if not self._turned_away:
                log.session_unused(seconds=seconds, end=self.end)
            return
        totals = self.data.totals if self.data is not None else Totals()
        log.session_closed(
            seconds=seconds,
            end=self.end,
            commands=self.commands,
            transfers=totals.transfers,
            torn=totals.torn,
            bytes_up=totals.bytes_up,
            bytes_down=totals.bytes_down,
        )

    # --- what it is -------------------------------------------------------------------------------------------------

    def serve_by(self, service: Service) -> None:
        """The server is about to be reached, by this: settings may have changed since the client came."""
        if service is not self.service:
            self.service = service
            self.clock.patience = service.patience
            self.protocol.serve_by(self._policy(service), service.data.quirks)

    def _policy(self, service: Service) -> Policy:
        reached = self.client.reached
        shown = service.listener.passive_address or reached
        # Without a load balancer it is the same one, before a NAT.
        elsewhere = self._introduced and shown != reached and not service.listener.proxy_protocol_data
        return dataclasses.replace(
            service.policy,
            client=self.address,
            passive_v4=":" not in shown,
            passive_elsewhere=shown if elsewhere else "",
        )

    def show(self, waited: float | None = None) -> None:
        """Let the log have it as a session: the server is to be reached for it, or there is something to be told of it.

        `waited` seconds its client had to wait for a place at the server.
        """
        if not self.shown:
            self.shown = True
            log.session_opened(waited_seconds=waited)

    def drop_server(self) -> None:
        """There is nothing to be had of it; the client may still have to hear that."""
        if self.server is not None:
            self.server.close()
        self.server = self.data = None
        self.place.give_back()

    def turned_away(self, limit: str, text: str) -> None:
        """There was no place for it at the server."""
        self._turned_away = True
        log.session_refused(client=self.address, listener=self.service.listener.name, detail=text, limit=limit)

    @property
    def seconds(self) -> float:
        """How long its client has been here."""
        return time.monotonic() - self._opened

    @property
    def bound(self) -> log.Bound | None:
        """Whose lines of the log are its; None before it has begun."""
        return self._log

    # --- how it is told to end --------------------------------------------------------------------------------------

    def stop(self, why: str, *, now: bool) -> None:
        """End the session: at once, or as soon as nothing is under way."""
        self.stop_reason = why
        self.stop_now = now
        self.server_hearing.interrupt(opening=now)

    def make_way(self, seconds: float, *, rich: bool) -> bool:
        """Others wait for the place at the server: end the session if it has no login by now, or if it is silent for so
        long and its client has more places than they (`rich`) → whether it ends."""
        protocol, clock, time_now = self.protocol, self.clock, net.now()
        if self.over or self.stop_reason or self.server is None or protocol.waiting is Waiting.OPENING:
            return False
        if not protocol.logged_in:
            late = time_now - clock.greeted - seconds
            why = "Others wait for a place at the server, and you have not logged in."
            makes_way = late >= (0 if protocol.idle else seconds)  # the server may be slow to answer a login
        else:
            why = "Others wait for a place at the server, and you have several and say nothing."
            makes_way = rich and protocol.idle and time_now - clock.quiet_since >= seconds
        if makes_way:
            self.makes_way = True
            self.stop(why, now=True)
        return makes_way

    def note_progress(self) -> None:
        """Have a transfer that lasts say so in the log. To be called every second or so, from without."""
        # Most sessions are idle, and there may be thousands of them.
        if self.data is not None and self.data.under_way and (every := self.service.progress_seconds):
            with log.within(self._log):
                self.data.note_progress(every)

    # --- events and orders ------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Let the protocol know, and do what it orders. Never waits; may be called from within an order."""
        self._events.append(event)
        if self._feeding or self.over:
            return
        self._feeding = True
        alive = False
        try:
            while self._events:
                orders = self.protocol.handle(self._events.popleft())
                for order in orders:
                    CARRY_OUT[type(order)](self, order)
                # What nobody asked for is no sign of life.
                alive = alive or not orders or type(orders[-1]) is not NoteReplyIgnored
                if self.stop_reason and self.protocol.idle:
                    self._events.append(Stopped(self.stop_reason))
                    self.stop_reason = ""
        finally:
            self._feeding = False
        if not self.over:
            if alive:
                self.alive()
            self.client_hearing.go_on()

    def alive(self) -> None:
        """Something has happened: the time for what is waited for begins anew."""
        if self.data is not None:
            self.clock.unused_by = self.data.unused_by
        if self.protocol.logged_in:
            self.clock.login_due = NEVER
        self.clock.arm(self.protocol.waiting)
