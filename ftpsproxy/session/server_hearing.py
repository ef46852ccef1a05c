"""The task of a session that reaches the server, hears it and keeps the time."""

from typing import TYPE_CHECKING

import trio

from ftpsproxy import net
from ftpsproxy.data.connections import DataConnections, Route
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.events import (
    Connected,
    Secured,
    ServerLost,
    ServerRefused,
    ServerSaid,
    ServerSaidLines,
    Stopped,
    TimedOut,
    TurnedAway,
)
from ftpsproxy.ftp.orders import Ignored
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.waiting import Waiting
from ftpsproxy.net import NEVER, now
from ftpsproxy.observe import log
from ftpsproxy.session.control import Lost
from ftpsproxy.session.server import ServerControl
from ftpsproxy.session.service import NoPlace
from ftpsproxy.session.upstream import reach, recognised, secure
from ftpsproxy.tls import Refused, TlsError, explain

if TYPE_CHECKING:
    from ftpsproxy.session.session import Session

_LINES_A_TURN = 32
# What was there when a time limit passed is still heard, so long behind it: it may be we who were late.
_GRACE_SECONDS = 0.5


class ServerHearing:
    """`run` is the task. `reaching`: whether it waits for a place at the server, connects or shakes hands."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._limit = session.clock.limit
        self._opening: trio.CancelScope | None = None
        self._dial = trio.Event()
        self._read = 0  # how many times, so that a reply can be told from what was there before its command
        self._asked = False  # whether a silent server was asked what it is
        self._server_gone = self._left = False
        self.reaching = False

    def dial(self) -> None:
        """The server is wanted now."""
        self._dial.set()

    def leave(self) -> None:
        """The server is of no use."""
        self._left = True
        self._limit.interrupt()

    async def run(self) -> None:
        """Until the session is over."""
        session = self._session
        self._begin_login()
        await self._keep_time(self._dial)
        if not session.over and (server := await self._reach()) is not None:
            session.feed(Connected(net.unzoned(server.peer)))
            self._begin_login()
            if not session.service.upstream.tls_first:
                session.clock.due = min(session.clock.due, now() + session.service.timeouts.greeting)
            await self._hear(server)
        if not session.over:
            session.drop_server()
            session.clock.reply_ends = NEVER
            self._begin_login()
            await self._keep_time(trio.Event())  # the client hears why when it logs in

    def interrupt(self, *, opening: bool = False) -> None:
        """Stop hearing and look at clock and orders; with `opening` also break off what leads to the server."""
        self._limit.interrupt()
        if opening and self.reaching and self._opening is not None:
            self._opening.cancel()

    def _begin_login(self) -> None:
        clock = self._session.clock
        clock.login_due = now() + self._session.service.timeouts.login
        clock.arm(self._session.protocol.waiting)

    async def _keep_time(self, until: trio.Event) -> None:
        """There is no server to be heard."""
        session = self._session
        while not (until.is_set() or session.over):
            session.clock.set_limit()
            if not await self._limit.run(until.wait):
                self._look_up()

    async def _reach(self) -> ServerControl | None:
        """A place at the server, a connection, and TLS if that comes first; None when nothing comes of it."""
        session = self._session
        self.reaching, placed = True, False
        try:
            with trio.CancelScope() as self._opening:
                service, waited = await session.place.take()
                placed = True
                session.serve_by(service)
                session.show(waited)
                server = session.server = await reach(service, session.start, session.client)
                if service.upstream.tls_first:
                    await self._secure(server)
                return server
        except NoPlace as error:
            session.feed(TurnedAway(error.limit, error.text))
        except Refused as error:
            self._refuse(error)
        else:
            if not placed and session.over and not session.shown:
                session.turned_away("left", "the client left while it waited for a place")
        finally:
            self.reaching = False
        return None

    async def _secure(self, server: ServerControl) -> None:
        """TLS on the server's control connection. Raises Refused."""
        session = self._session
        tls = await secure(server, session.service)
        client = session.client
        route = Route(client.local, client.reached, client.peer, client.port, server.local, server.peer)
        session.data = DataConnections(session.service.data, route, tls, session.client, session.start, session.feed)

    async def _hear(self, server: ServerControl) -> None:
        session = self._session
        while not (session.over or self._left):
            try:
                if session.tls_wanted:
                    session.tls_wanted, self.reaching = False, True
                    with trio.CancelScope() as self._opening:
                        await self._secure(server)  # which has a limit of its own
                    if self._opening.cancel_called:
                        return
                    self.reaching = False
                    session.feed(Secured())
                    continue
                if not await self._limit.run(self._listen) and not await self._heard_late(server):
                    self._look_up()
            except Lost as error:
                self._lose(str(error))
            except (TlsError, Refused) as error:
                alert = isinstance(error, TlsError) and error.is_alert
                if alert and session.protocol.waiting is not Waiting.OPENING:
                    self._lose(f"it ended TLS by an alert: {error}")  # vsftpd ends an idle session so
                else:
                    # in TLS 1.3 the want of a certificate is said behind the handshake
                    self._refuse(explain(error, session.service.upstream))
            except ProtocolError as error:
                self._refuse(Refused("protocol_error", f"the server broke the protocol: {error}"))

    async def _listen(self) -> None:
        session, server = self._session, self._session.server
        assert server is not None  # noqa: S101 - it was reached
        session.clock.set_limit()
        while not (session.over or session.tls_wanted or self._left):
            if self._server_gone:
                await trio.sleep_forever()  # a transfer that has its verdict is carried through
            await self._receive(server)

    async def _receive(self, server: ServerControl) -> None:
        if not await server.receive():
            self._lose("closed by the server")
        await self._hear_replies(server)

    async def _heard_late(self, server: ServerControl) -> bool:
        """Hearing the server was interrupted. If by the time: whether it had spoken, and only we were late."""
        session, clock = self._session, self._session.clock
        if server.unheard and not self._server_gone and self._limit.due <= now() < self._limit.due + _GRACE_SECONDS:
            await self._receive(server)
            if not session.stop_reason:
                return True
        if now() >= clock.reply_ends and not self._server_gone:
            clock.reply_ends = NEVER
            self._hear_reply(server.replies.end())
        return False

    def _look_up(self) -> None:
        """Listening was interrupted: by the time, or for a reason."""
        session, clock = self._session, self._session.clock
        if session.stop_reason and (session.stop_now or session.protocol.idle):
            if session.makes_way:
                log.session_limit(limit="others_wait", detail=session.stop_reason)
            session.feed(Stopped(session.stop_reason, session.stop_now))
        if session.data is not None and now() >= clock.unused_by:
            session.data.give_up()
        if not session.over and now() >= clock.due:
            server = session.server
            if server is None or self._read or self._asked or session.service.upstream.tls_first:
                session.feed(TimedOut(login=now() >= clock.login_due))
            else:
                self._asked = True
                clock.arm(session.protocol.waiting)
                session.start(self._ask_what_it_is, server)

    async def _ask_what_it_is(self, server: ServerControl) -> None:
        """Where a greeting belongs it says nothing."""
        refused = await recognised(server.peer, self._session.service)
        if refused is not None and not self._read and self._session.server is server and not self._session.over:
            self._refuse(refused)

    def _lose(self, why: str) -> None:
        self._server_gone = True
        self._session.feed(ServerLost(why))

    def _refuse(self, refused: Refused) -> None:
        self._server_gone = True
        shown = refused.shown.facts if refused.shown is not None else ()
        self._session.feed(ServerRefused(refused.reason, refused.detail, shown))

    async def _hear_replies(self, server: ServerControl) -> None:
        """All that are there. Raises ProtocolError."""
        session, clock = self._session, self._session.clock
        self._read += 1
        heard = 0
        clock.reply_ends = NEVER
        while not (session.over or session.tls_wanted or self._left) and (reply := server.pop()) is not None:
            self._hear_reply(reply)
            if (heard := heard + 1) % _LINES_A_TURN == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()  # nothing that was said is left behind
        replies = server.replies
        if replies.under_way and not session.over and not session.tls_wanted:
            if (lines := replies.fresh()) is not None:
                session.feed(ServerSaidLines(*lines))
            if replies.may_be_over:
                clock.reply_may_be_over(changes_class=replies.changes_class)
        if replies.passed_over:
            for said in replies.passed_over:
                log.upstream_reply_ignored(said=said, why=Ignored.NO_CODE)
            replies.passed_over.clear()

    def _hear_reply(self, reply: Reply) -> None:
        if self._session.service.debug:
            log.session_reply(reply=reply.code, text=reply.text)
        self._session.feed(ServerSaid(reply, self._read))
