"""One client's session: feeds what happens to the protocol, carries out its orders, keeps the clock.

Two tasks: one hears the server and keeps the time, one hears the client; a transfer has its own. Whatever happens is
an event for the protocol; its orders are carried out at once and never wait.
"""

import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ftpsproxy import log, net
from ftpsproxy.clients import one_client
from ftpsproxy.control import ClientControl, Flood, ForeignProtocol, Lost, ServerControl
from ftpsproxy.datapath import DataPath, Route, Totals
from ftpsproxy.ftp import commands, messages, replies
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.messages import Event, Waiting
from ftpsproxy.ftp.protocol import Policy, Protocol
from ftpsproxy.net import Socket
from ftpsproxy.reactor import NEVER, Cancelled, Flag, Task, now, pause, this_task, turn
from ftpsproxy.server import reach, secure
from ftpsproxy.service import Service
from ftpsproxy.tls import Refused, Resumption, TlsError, explain

# A client whose next line waits is not read from; whether it is still there is looked at this often.
_LOOK_SECONDS = 1.0
# A client that has ended its side of the connection, and perhaps more, waits so long for the reply to a command.
_HEARD_OUT_SECONDS = 5.0
_LINES_A_TURN = 32
# After so much silence behind a line that may end a reply, it has.
_ODD_END_SECONDS, _ODDER_END_SECONDS = 1.0, 3.0
_SERVER_GOODBYE_SECONDS = 1.0
_CLIENT_GOODBYE_SECONDS = 2.0


class Session:
    """One session; `run` is its whole life."""

    def __init__(self, service: Service, sock: Socket, client: str, waited: float | None = None) -> None:
        self.client = client
        self._waited = waited
        self._service = service
        self._sock = sock
        self._local = net.zoned_address(sock.getsockname())
        upstream, listener, limits = service.upstream, service.listener, service.limits
        shown = listener.passive_address or self._local
        self._protocol = Protocol(
            Policy(
                client=client,
                implicit=upstream.implicit,
                greeting_in_clear=upstream.implicit and not upstream.tls_first,
                auth=upstream.auth,
                data_mode=upstream.data_mode,
                own_greeting=listener.greeting == "own" or not upstream.implicit,  # else it was said in clear
                login_attempts=limits.login_attempts,
                bad_lines=limits.bad_lines,
                passive_v4=":" not in shown,
            ),
            service.learned,
        )
        self._opened = time.monotonic()
        self._commands = 0
        self._window = 0
        self._window_count = 0
        self._why = "ended"
        self._over = False
        self._stop_reason = ""
        self._stop_now = False
        self.makes_way = False  # for others that wait
        self._quiet_since = self._greeted = self._opened
        self._crash: BaseException | None = None
        self._events: deque[Event] = deque()
        self._feeding = False
        self._tls_wanted = False
        self._wanted = Flag()
        self._main: Task | None = None
        self._hearing = self._server_gone = self._unproved = False
        self._read = 0
        self._tasks: list[Task] = []
        self._due = self._ends_by = self._login_due = NEVER
        self._server: ServerControl | None = None
        self._data: DataPath | None = None
        self._patience = service.patience
        self._reactor = service.reactor

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until the session ends; closes everything it opened. Raises only for our own mistakes."""
        service = self._service
        log.bind(
            session=secrets.token_hex(6),
            client=self.client,
            listener=service.listener.name,
            upstream=service.upstream.name,
        )
        log.session_opened(waited_seconds=self._waited)
        self._main = await this_task()
        self._control = ClientControl(self._sock, self._start, line_bytes=service.limits.line_bytes)
        try:
            await self._serve()
            if self._crash is not None:
                raise self._crash
        except BaseException as error:
            if not self._over or self._crash is not None:
                ours = not isinstance(error, Cancelled)
                text = "The gateway made a mistake and ends this session." if ours else "The gateway stops at once."
                self._control.send(replies.own(421, text).encode())
                self._why = "crashed" if ours else "stopped at once"
                self._over = True
            raise
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Close everything, with a word of farewell where there is time for it."""
        for task in self._tasks:
            task.cancel()
        try:
            if self._data is not None:
                self._data.close(self._why)
            if self._server is not None:
                await self._server.say_goodbye(
                    now() + _SERVER_GOODBYE_SECONDS, hear_end=self._service.upstream.sessions > 0
                )
                self._server.close()
            await self._control.say_goodbye(now() + _CLIENT_GOODBYE_SECONDS)
        finally:
            for task in self._tasks:  # what the farewell has started
                task.cancel()
            if self._server is not None:
                self._server.close()
            self._control.close()
            self._say_closed()

    def _say_closed(self) -> None:
        totals = self._data.totals if self._data is not None else Totals()
        log.session_closed(
            seconds=round(time.monotonic() - self._opened, 3),
            reason=self._why,
            commands=self._commands,
            transfers=totals.transfers,
            torn=totals.torn,
            bytes_up=totals.bytes_up,
            bytes_down=totals.bytes_down,
        )

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Start a task that ends with the session."""
        task = self._reactor.start(coroutine, self._crashed)
        self._tasks = [one for one in self._tasks if not one.over]
        self._tasks.append(task)
        return task

    def _crashed(self, error: BaseException) -> None:
        """One of the session's tasks has failed: so has the session."""
        if self._crash is None:
            self._crash = error
        self._over = True
        if self._main is not None:
            self._main.wake()

    def stop(self, why: str, *, now: bool) -> None:
        """End the session: at once, or as soon as nothing is under way."""
        self._stop_reason = why
        self._stop_now = now
        if self._main is not None:
            if self._hearing:
                self._main.wake()
            elif now:
                self._main.cancel()

    def make_way(self, seconds: float, *, rich: bool) -> bool:
        """Others wait for the place at the server: end the session if it has no login by now, or if it is silent for so
        long and its client has more places than they (`rich`) → whether it ends."""
        protocol, time_now = self._protocol, now()
        if self._over or self._stop_reason or not self._hearing or protocol.waiting is Waiting.OPENING:
            return False
        if not protocol.logged_in:
            late = time_now - self._greeted - seconds
            why = "Others wait for a place at the server, and you have not logged in."
            makes_way = late >= (0 if protocol.idle else seconds)  # the server may be slow to answer a login
        else:
            why = "Others wait for a place at the server, and you have several and say nothing."
            makes_way = rich and protocol.idle and time_now - self._quiet_since >= seconds
        if makes_way:
            self.makes_way = True
            self.stop(why, now=True)
        return makes_way

    async def _serve(self) -> None:
        self._start(self._hear_client())  # which finds out, too, when the client leaves before there is a server
        try:
            server = self._server = await reach(self._service, self._start)
            if self._service.upstream.tls_first:
                await self._secure(server)
        except Refused as error:
            self.feed(messages.ServerRefused(error.reason, error.detail))
            return
        self.feed(messages.Connected(net.unzoned(server.peer)))
        if not self._over:
            self._login_due = now() + self._service.timeouts.login
            self._arm()
            await self._hear_server(server)

    async def _secure(self, server: ServerControl) -> None:
        """TLS on the server's control connection. Raises Refused."""
        tls = await secure(server, self._service)
        route = Route(self._local, self._client_peer(), server.local, server.peer)
        self._data = DataPath(self._service, route, Resumption(tls), self._start, self.feed, self._control)

    def _client_peer(self) -> str:
        """The client's address with its zone, where it has one."""
        try:
            return net.zoned_address(self._sock.getpeername())
        except OSError:
            return self.client  # gone already

    # --- hearing ----------------------------------------------------------------------------------------------------

    async def _hear_server(self, server: ServerControl) -> None:
        while not self._over:
            self._hearing = True
            try:
                if self._server_gone:
                    await pause(self._wakes_at)  # a transfer that has its verdict is carried through
                    raise TimeoutError
                if not await server.receive(self._wakes_at):
                    self._lose_server("closed by the server")
                await self._hear_replies(server)
            except TimeoutError:
                if now() >= self._ends_by:
                    self._ends_by = NEVER
                    self._hear_reply(server.replies.end())
                self._look_at_clock()
            except Lost as error:
                self._lose_server(str(error))
            except (TlsError, Refused) as error:
                alert = isinstance(error, TlsError) and error.is_alert
                if alert and self._protocol.waiting is not Waiting.OPENING:
                    self._lose_server(f"it ended TLS by an alert: {error}")  # vsftpd ends an idle session so
                else:
                    refused = explain(error)  # in TLS 1.3 the want of a certificate is said behind the handshake
                    self._refuse_server(refused.reason, refused.detail)
            except ProtocolError as error:
                self._refuse_server("protocol_error", f"the server broke the protocol: {error}")

    def _lose_server(self, why: str) -> None:
        self._server_gone = True
        self.feed(messages.ServerLost(why))

    def _refuse_server(self, reason: str, detail: str) -> None:
        self._server_gone = True
        self.feed(messages.ServerRefused(reason, detail))

    def _look_at_clock(self) -> None:
        """Hearing the server was interrupted: by the time, or for a reason."""
        if self._stop_reason and (self._stop_now or self._protocol.idle):
            if self.makes_way:
                log.session_limit(limit="others_wait", detail=self._stop_reason)
            self.feed(messages.Stopped(self._stop_reason, self._stop_now))
        if self._data is not None and now() >= self._data.unused_by:
            self._data.give_up()
        if not self._over and now() >= self._due:
            self.feed(messages.TimedOut())

    async def _hear_replies(self, server: ServerControl) -> None:
        """All that are there. Raises ProtocolError, Refused."""
        self._read += 1
        heard = 0
        while not self._over and not self._tls_wanted and (reply := server.pop()) is not None:
            self._hear_reply(reply)
            if (heard := heard + 1) % _LINES_A_TURN == 0:
                await turn()
        self._ends_by = NEVER
        if not self._over and not self._tls_wanted:
            if (lines := server.replies.fresh()) is not None:
                self.feed(messages.ServerSaidLines(*lines))
            if server.replies.may_be_over:
                self._ends_by = now() + (_ODDER_END_SECONDS if server.replies.changes_class else _ODD_END_SECONDS)
        for text in server.replies.passed_over:
            log.upstream_reply_ignored(reply=text.decode("utf-8", "backslashreplace"), reason="it begins with no code")
        server.replies.passed_over.clear()
        if self._tls_wanted and not self._over:
            self._tls_wanted = self._hearing = False
            await self._secure(server)  # which has a limit of its own
            self.feed(messages.Secured())

    def _hear_reply(self, reply: replies.Reply) -> None:
        if self._service.debug:
            log.session_reply(code=reply.code, text=reply.text)
        self.feed(messages.ServerSaid(reply, self._read))

    async def _hear_client(self) -> None:
        control, protocol = self._control, self._protocol
        lines = 0
        while not self._over:
            if not protocol.hears_client:
                if not await self._client_waits():
                    self._client_left()
                    return
                continue
            try:
                line = control.pop()
            except ProtocolError as error:
                self.feed(messages.ClientErred(str(error)))
                continue
            if line is not None:
                self._hear_line(line)
                if (lines := lines + 1) % _LINES_A_TURN == 0:
                    await turn()  # a flood of what is answered here must not starve the others
                continue
            try:
                if await control.receive():
                    continue
                while protocol.owes_replies and await self._client_waits():
                    pass
                why = "left with commands unanswered" if protocol.owes_replies else ""
            except ForeignProtocol as error:
                log.session_foreign(protocol=str(error))
                why = "foreign protocol"
            except Flood as error:
                log.session_limit(limit="line_bytes", detail=str(error))
                why = str(error)
            except Lost as error:
                why = str(error)
            self.feed(messages.ClientLost(why, data_left=self._upload_goes_on()))
            return

    async def _client_waits(self) -> bool:
        """Until the client is to be heard again → False when it has gone meanwhile, with nothing left to read.

        One that has ended its side alone, as a script does that pipes its commands into nc, can't be told from one that
        has gone until it is sent something. It gets the replies to what it has said, if none takes long.
        """
        sock, protocol = self._sock, self._protocol
        until = NEVER
        self._wanted.clear()
        while not await self._wanted.wait(min(until, now() + _LOOK_SECONDS)):
            ended = net.has_ended(sock) and not net.unread(sock)
            if ended and protocol.owes_replies:
                until = min(until, now() + _HEARD_OUT_SECONDS)
                ended = now() >= until
            if ended or net.is_broken(sock):
                return self._upload_goes_on()
        return True

    def _upload_goes_on(self) -> bool:
        """The client's control connection is gone: whether its data connection is to tell if an upload was whole."""
        return self._data is not None and self._protocol.upload_under_way and self._data.control_lost()

    def _client_left(self) -> None:
        """It has gone while it was not heard."""
        why = "left with commands unanswered" if self._commands else "left before its greeting"
        self.feed(messages.ClientLost(why))
        if self._over and not self._hearing and self._main is not None:
            self._main.cancel()  # it connects to the server, or shakes hands: nobody is left to do that for

    def _hear_line(self, line: bytes) -> None:
        self._commands += 1
        window = int(time.monotonic())
        if window != self._window:
            self._window, self._window_count = window, 0
        self._window_count += 1
        if self._window_count > self._service.limits.commands_per_second:
            log.session_limit(limit="commands_per_second", detail=f"{self._window_count} in one second")
            self.feed(messages.Stopped("Too many commands, closing."))
            return
        try:
            command = commands.parse(line)
        except ProtocolError:
            command = None
        if command is not None:
            log.hide(command.known_verb, *command.secrets)  # servers quote what they refuse
            if self._service.debug:
                log.session_command(verb=command.shown_verb, argument=command.shown)
        else:
            log.hide("", *re.split(r"[^\x21-\x7e]+", line.decode("utf-8", "backslashreplace")))
        self.feed(messages.ClientSaid(line))

    # --- the clock --------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the time by which something must happen, according to what is being waited for."""
        waiting = self._protocol.waiting
        self._quiet_since = self._reactor.time
        if waiting is Waiting.OPENING:
            self._greeted = self._reactor.time
        due = self._login_due if waiting is Waiting.LOGIN else self._reactor.time + self._patience[waiting]
        if waiting is Waiting.OPENING:
            due = min(due, self._login_due)  # a server that says 120 again and again would never be late
        self._due = due
        if self._main is not None and self._hearing:
            self._main.deadline(self._wakes_at)

    @property
    def _wakes_at(self) -> float:
        return min(self._due, self._ends_by, self._data.unused_by if self._data is not None else NEVER)

    # --- events and orders ------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Let the protocol know, and do what it orders. Never waits; may be called from within an order."""
        self._events.append(event)
        if self._feeding:
            return
        self._feeding = True
        alive = False
        try:
            while self._events:
                orders = self._protocol.handle(self._events.popleft())
                for order in orders:
                    _DO[type(order)](self, order)
                # What nobody asked for is no sign of life.
                stray = bool(orders) and all(type(order) is messages.NoteReply for order in orders)
                alive = alive or not stray
                if self._stop_reason and self._protocol.idle:
                    self._events.append(messages.Stopped(self._stop_reason))
                    self._stop_reason = ""
        finally:
            self._feeding = False
        if self._over:
            return
        if alive:
            self._arm()
        if self._protocol.hears_client:
            self._wanted.set()

    @property
    def _path(self) -> DataPath:
        assert self._data is not None  # noqa: S101 - no order for data comes before TLS is up
        return self._data

    def _tell_server(self, order: messages.TellServer) -> None:
        if self._server is not None:
            self._server.send(order.data)
            if order.transfers is not None:
                self._path.start_tls(order.transfers)

    def _tell_status(self, order: messages.TellStatus) -> None:
        moved = self._data.moved if self._data is not None else 0
        self._control.send(replies.own(211, f"Transfer {order.number} under way, {moved} bytes so far.").encode())

    def _note_login(self, order: messages.NoteLogin) -> None:
        log.session_login(user=order.user, ok=order.ok, reply=order.code)
        if order.ok:
            return
        service, limit = self._service, self._service.limits.refused_logins
        who = one_client(self.client, service.limits.client_prefix)
        lately = service.refused_logins.add(service.upstream.name, who, service.timeouts.refused_logins)
        if lately >= limit:
            log.session_limit(limit="refused_logins", detail=f"{lately} of this client lately")
            self.feed(messages.Stopped("Too many refused logins from your address, closing."))

    def _note_reply(self, order: messages.NoteReply) -> None:
        log.upstream_reply_ignored(reply=order.reply, reason=order.why)

    def _note_unproved(self, order: messages.NoteUnproved) -> None:
        log.upstream_close_notify_missing(verb=order.verb, again=self._unproved)
        self._unproved = True

    def _note_address(self, order: messages.NoteAddress) -> None:
        peer = net.unzoned(self._server.peer) if self._server is not None else ""
        log.upstream_address_ignored(reply_host=order.host, peer=peer)

    def _note_reuse(self, order: messages.NoteReuse) -> None:
        log.upstream_session_reuse_refused(reply=order.reply, hint=self._path.not_resumed())

    def _want_tls(self, order: messages.StartTls) -> None:
        self._tls_wanted = True

    def _hang_up(self, order: messages.HangUp) -> None:
        self._over = True
        self._why = order.why
        if self._main is not None and self._hearing:
            self._main.wake()


_DO: dict[type[messages.Order], Callable[[Session, Any], None]] = {
    messages.TellClient: lambda session, order: session._control.send(order.reply.encode()),
    messages.TellLines: lambda session, order: session._control.send(b"\r\n".join((*order.lines, b""))),
    messages.TellServer: Session._tell_server,
    messages.TellStatus: Session._tell_status,
    messages.StartTls: Session._want_tls,
    messages.ListenForClient: lambda session, order: session._path.listen_for_client(),
    messages.ConnectToClient: lambda session, order: session._path.connect_to_client(order),
    messages.ConnectToServer: lambda session, order: session._path.connect_to_server(order),
    messages.ListenForServer: lambda session, order: session._path.listen_for_server(order),
    messages.ListenToData: lambda session, order: session._path.listen(),
    messages.LeaveData: lambda session, order: session._path.leave(),
    messages.DropData: lambda session, order: session._path.drop(),
    messages.DropServerEnd: lambda session, order: session._path.drop_server_end(order),
    messages.BeginData: lambda session, order: session._path.begin(order),
    messages.EndData: lambda session, order: session._path.end(order),
    messages.EndInBand: lambda session, order: session._path.end_in_band(order),
    messages.HangUp: Session._hang_up,
    messages.NoteLogin: Session._note_login,
    messages.NoteRefused: lambda session, order: log.upstream_failed(reason=order.reason, detail=order.detail),
    messages.NoteAddress: Session._note_address,
    messages.NoteReuse: Session._note_reuse,
    messages.NoteLimit: lambda session, order: log.session_limit(limit=order.limit, detail=order.detail),
    messages.NoteForeign: lambda session, order: log.session_foreign(protocol=order.protocol),
    messages.NoteCommand: lambda session, order: log.command_refused(verb=order.verb, reason=order.why),
    messages.NoteReply: Session._note_reply,
    messages.NoteUnproved: Session._note_unproved,
    messages.NoteNoTransfer: lambda session, order: log.transfer_refused(
        verb=order.command.verb.decode(), path=order.command.shown, reply=order.reply.code, text=order.reply.text
    ),
    messages.NoteData: lambda session, order: log.data_failed(side=order.side, mode=order.mode, reason=order.why),
}
