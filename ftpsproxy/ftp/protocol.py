"""The state machine of a session: events in, finished lists of orders out; no I/O, no clock.

Theory. One command at a time is under way at the server (`Exchange`); one more of the client's may be held, and while
it is, the client is not heard, so that pipelined lines queue in the kernel. In the middle of a transfer ABOR passes at
once, NOOP and STAT are answered here, because no server says which of its replies answers which, and all else is held.

The joint rule: the client hears a transfer's final reply only when the server has given it *and* the bytes have ended.
A transfer whose bytes did not end well is never answered 2xx, one that the server refuses never ends well. What has
been decided so is carried through, whoever leaves meanwhile (`_deferred`).

A code says what its class says (RFC 959 section 4.2); whether a session is over its connections say, not a 421.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ftpsproxy.ftp import commands, replies
from ftpsproxy.ftp.commands import Command, Direction
from ftpsproxy.ftp.dataends import DATA_END_VERBS, DataEnds, IllegalAddress
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.exchange import Exchange, in_band, reuse_note
from ftpsproxy.ftp.login import Login
from ftpsproxy.ftp.messages import (
    BeginData,
    ClientErred,
    ClientListening,
    ClientLost,
    ClientSaid,
    Connected,
    DataClosed,
    DataEnded,
    DataFailed,
    DataSpoke,
    DataUnused,
    DropData,
    Event,
    HangUp,
    LeaveData,
    ListenToData,
    NoteCommand,
    NoteForeign,
    NoteLimit,
    NoteNoTransfer,
    NoteRefused,
    NoteReply,
    Order,
    Secured,
    ServerDataReady,
    ServerListening,
    ServerLost,
    ServerRefused,
    ServerSaid,
    ServerSaidLines,
    Stopped,
    TellClient,
    TellLines,
    TellServer,
    TellStatus,
    TimedOut,
    Transfer,
    Waiting,
)
from ftpsproxy.ftp.opening import Opening
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.serverend import Late, Learned

_GREETING = replies.own(220, "FTP service ready.")
_QUIT = b"QUIT\r\n"
# Passive replies: to anything but our own PASV and EPSV they would send the client past the gateway.
_ADDRESSES = frozenset({227, 228, 229})
# In a session, and for a command; a sane server comes nowhere near.
_MOST_STRAYS = 100
_MOST_PRELIMINARIES = 1000
# Verbs whose replies are looked at as a whole, and may be changed.
_WHOLE = frozenset({b"USER", b"PASS", b"ACCT", b"FEAT", b"OPTS", b"QUIT", *commands.DATA_VERBS, *commands.MODERN})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the protocol must know of its listener, upstream and limits. `client` is the client's plain address."""

    client: str
    implicit: bool = False
    greeting_in_clear: bool = False
    auth: tuple[str, ...] = ("TLS",)
    data_mode: str = "auto"
    own_greeting: bool = True
    login_attempts: int = 6
    bad_lines: int = 10
    passive_v4: bool = True


class Protocol:
    """One session's rules. Feed it with `handle`; `waiting` and `hears_client` tell the session what to do next."""

    def __init__(self, policy: Policy, learned: Learned | None = None) -> None:
        self._policy = policy
        self._opening: Opening | None = Opening(
            implicit=policy.implicit, auth=policy.auth, greeting_in_clear=policy.greeting_in_clear
        )
        self._login = Login(implicit=policy.implicit, attempts=policy.login_attempts)
        learned = learned if learned is not None else Learned()
        self._ends = DataEnds(policy.client, policy.data_mode, learned, v4=policy.passive_v4)
        self._exchange: Exchange | None = None
        self._held: Command | ClientErred | None = None
        self._mode = b"S"
        self._type = b"A"  # RFC 959 section 3.1.1.1: the default
        self._closed = False
        self._client_gone = False
        self._deferred: list[ServerLost | ServerRefused | ClientLost | Stopped] = []
        self._farewell: Reply | None = None
        self._farewell_told = False
        self._strays = 0
        self._read = 0
        self._asked_at = -1
        self._bad_lines = 0
        self._number = 0

    def handle(self, event: Event) -> list[Order]:
        """What to do about `event`. Never raises for anything a peer can cause; after HangUp nothing is ordered."""
        if self._closed or self._defers(event):
            return []
        orders = self._handle(event)
        if any(isinstance(order, TellServer) for order in orders):
            self._asked_at = self._read
        return orders

    def _handle(self, event: Event) -> list[Order]:
        orders = _HANDLERS[type(event)](self, event)
        while self._deferred and self.idle and not self._closed:
            later = self._deferred.pop(0)
            orders += _HANDLERS[type(later)](self, later)
        while self._held is not None and self.idle and not self._closed:
            held, self._held = self._held, None
            orders += self._client_erred(held) if isinstance(held, ClientErred) else self._execute(held)
        if self._client_gone and self.idle and not self._closed:
            self._closed = True
            orders += [TellServer(_QUIT), HangUp("client gone")]
        return orders

    def _defers(self, event: Event) -> bool:
        """Whether this, the end of the session, has to wait for a transfer that has its verdict."""
        exchange = self._exchange
        if exchange is None or not exchange.settled:
            return False
        match event:
            case ServerLost() | ServerRefused():
                pass
            case ClientLost() | Stopped(now=False) if exchange.closing:
                pass
            case _:
                return False
        self._deferred.append(event)
        return True

    # --- what the session asks ------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether the client's next command can be taken up at once."""
        return self._exchange is None and not self._ends.busy and self._opening is None and not self._login.busy

    @property
    def logged_in(self) -> bool:
        """Whether the client has logged in."""
        return self._login.done

    @property
    def hears_client(self) -> bool:
        """Whether the client's lines are wanted now."""
        return self._held is None and self._opening is None and not self._closed

    @property
    def owes_replies(self) -> bool:
        """Whether a client that says no more may still be waiting for replies.

        Not round a transfer, which ends with its control connection (RFC 959 section 4.1.1, QUIT).
        """
        exchange = self._exchange
        if self._closed or self._opening is not None or self.idle or (exchange is not None and exchange.transfer):
            return False
        said = (exchange.command if exchange is not None else None, self._held)
        return not any(isinstance(one, Command) and one.verb in commands.DATA_VERBS for one in said)

    @property
    def waiting(self) -> Waiting:
        """What kind of waiting this is."""
        if self._closed:
            return Waiting.NOTHING
        if self._opening is not None:
            return Waiting.OPENING
        exchange = self._exchange
        if exchange is None:
            if self._ends.busy:
                return Waiting.REPLY if self._ends.waits_for_server else Waiting.CONNECTION
            if self._login.busy:
                return Waiting.REPLY
            return Waiting.CLIENT if self._login.done else Waiting.LOGIN
        if exchange.abort is not None:
            return Waiting.ABORT
        if exchange.late is not None:
            return Waiting.REPLY if exchange.late.waits_for_server else Waiting.CONNECTION
        if exchange.transfer is None:
            return Waiting.START if exchange.command.verb in commands.DATA_VERBS else Waiting.REPLY
        if exchange.proving:
            return Waiting.REPLY
        if exchange.reply is not None:
            return Waiting.DATA
        if exchange.ended is None:
            return Waiting.DATA
        return Waiting.VERDICT if exchange.ended.ok else Waiting.TORN

    @property
    def upload_under_way(self) -> bool:
        """Whether an upload is under way, so that the end of its data counts when the client is lost."""
        exchange = self._exchange
        if exchange is None or exchange.abort is not None:
            return False
        if exchange.transfer is not None:
            return exchange.transfer.direction is not Direction.DOWNLOAD
        return self._ends.ready and commands.DATA_VERBS.get(exchange.command.verb) is Direction.UPLOAD

    # --- opening --------------------------------------------------------------------------------------------------

    def _connected(self, event: Connected) -> list[Order]:
        self._ends.peer = event.peer
        return []

    def _secured(self, event: Secured) -> list[Order]:
        return self._opening.secured() if self._opening is not None else []

    def _open(self, opening: Opening, reply: Reply) -> list[Order]:
        orders = opening.heard(reply)
        if reply.refused:
            self._farewell = reply
        if opening.refusal is not None:
            return self._refuse(opening.refusal.reason, opening.refusal.detail)
        if opening.done:
            self._opening = None
            self._login.protect = opening.protect_later
            greeting = _GREETING if self._policy.own_greeting or opening.greeting is None else opening.greeting
            return [*orders, TellClient(greeting)]
        return orders

    def _refuse(self, reason: str, detail: str) -> list[Order]:
        return [NoteRefused(reason, detail), *self._goodbye(f"Service not available: {detail}", reason)]

    def _goodbye(self, text: str, why: str, code: int = 421) -> list[Order]:
        self._closed = True
        if text and not text.endswith((".", "!", "?")):
            text += "."
        return [TellClient(replies.own(code, text[:400])), HangUp(why)]

    # --- the client -----------------------------------------------------------------------------------------------

    def _client_said(self, event: ClientSaid) -> list[Order]:
        try:
            command = commands.parse(event.line)
        except ProtocolError as error:
            return self._client_erred(ClientErred(str(error)))
        if command is None:
            return []
        if self.idle:
            return self._execute(command)
        exchange = self._exchange
        if exchange is not None and exchange.abort is None and not (exchange.closing or exchange.proving):
            verb = exchange.command.verb
            transferring = exchange.transfer is not None or exchange.listens or verb in commands.DATA_VERBS
            if command.verb == b"ABOR" and transferring:
                return self._after(exchange, exchange.start_abort())
            if transferring:
                if command.verb == b"NOOP":
                    return [TellClient(replies.own(200, "NOOP ok."))]
                if command.verb == b"STAT" and not command.argument:
                    return [TellStatus(exchange.transfer.number if exchange.transfer else self._number + 1)]
        self._held = command
        return []

    def _client_erred(self, event: ClientErred) -> list[Order]:
        if not self.idle:
            self._held = event
            return []
        refusal = TellClient(replies.own(500, f"Not understood: {event.why}."))
        return self._bad_line(event.why, [NoteCommand("", event.why), refusal])

    def _bad_line(self, why: str, orders: list[Order]) -> list[Order]:
        """These orders refuse a line that no honest client says; after some of them, the good-bye."""
        self._bad_lines += 1
        if self._bad_lines < self._policy.bad_lines:
            return orders
        return [NoteLimit("bad_lines", why), *self._goodbye("Too many bad lines, closing.", "bad lines")]

    def _execute(self, command: Command) -> list[Order]:
        verb = command.verb
        if verb in DATA_END_VERBS:
            try:
                return self._ends.prepare(command)
            except IllegalAddress as error:
                return self._bad_line(str(error), error.orders)
        if verb in commands.DATA_VERBS and self._ends.given_up:
            return self._too_late(command)
        if (reason := commands.REFUSED.get(verb)) is not None:
            return [NoteCommand(verb.decode(), reason), TellClient(replies.own(502, reason))]
        if commands.is_http(command):
            if self._login.done and not commands.is_http_request(command):
                reason = "Not an FTP command."
                return [NoteCommand(command.shown_verb, reason), TellClient(replies.own(502, reason))]
            self._closed = True
            return [NoteForeign("http"), HangUp("foreign protocol")]
        return self._forward(command)

    def _too_late(self, command: Command) -> list[Order]:
        """A transfer whose passive port was given up: the server must not open a file, or even empty it, for that."""
        rest, self._ends.rest = self._ends.rest, None
        if rest is not None:  # to be taken back, or the next file would begin there
            return self._forward(command, Command(b"REST", b"0"))
        reply = replies.own(425, "Nobody came to the passive port in time, ask for another one.")
        return [NoteNoTransfer(command, reply), TellClient(reply)]

    def _forward(self, command: Command, sent: Command | None = None) -> list[Order]:
        sent = sent if sent is not None else command
        exchange = self._exchange = Exchange(command, sent)
        self._note_size(exchange)
        if command.verb in commands.DATA_VERBS and (late := self._ends.late(command)) is not None:
            exchange.late = late
            return self._go_on(exchange, late, late.start())
        return [self._tell(exchange)]

    def _note_size(self, exchange: Exchange) -> None:
        """How what is downloaded could be proved to be whole."""
        command, rest = exchange.command, self._ends.rest
        offset = (rest.argument or b"").strip() if rest is not None else b"0"
        if command.verb == b"RETR" and command.argument and self._type == b"I" and offset.isdigit():
            exchange.size_of, exchange.offset = Command(b"SIZE", command.argument), int(offset)

    def _tell(self, exchange: Exchange) -> Order:
        transfers = commands.DATA_VERBS.get(exchange.command.verb) if self._ends.ready else None
        return TellServer(exchange.sent.encode(), transfers)

    def _go_on(self, exchange: Exchange, late: Late, orders: list[Order]) -> list[Order]:
        """With what goes before a transfer command whose server end was put off."""
        if late.failed is not None:
            self._exchange = None
            return [*orders, *self._ends.refused(), TellClient(late.failed)]
        if not late.done:
            return orders
        exchange.late = None
        self._ends.late_done()
        return [*orders, self._tell(exchange)]

    def _data_end(self, event: ServerDataReady | ServerListening | ClientListening | DataFailed) -> list[Order]:
        exchange = self._exchange
        if exchange is not None and (late := exchange.late) is not None and not isinstance(event, ClientListening):
            return self._go_on(exchange, late, late.on(event))
        return self._ends.on(event)

    # --- the server -----------------------------------------------------------------------------------------------

    def _server_said(self, event: ServerSaid) -> list[Order]:
        reply = event.reply
        if event.read is not None:
            self._read = event.read
            asking = self._exchange is not None and self._exchange.abort is not None
            if event.read == self._asked_at and not asking:
                return self._stray(reply, "it was there before anybody had asked")
        if self._opening is not None:
            return self._open(self._opening, reply)
        orders = self._hear(reply)
        self._farewell = reply if reply.code == 421 else None
        self._farewell_told = any(isinstance(order, TellClient) and order.reply is reply for order in orders)
        return orders

    def _hear(self, reply: Reply) -> list[Order]:
        if self._login.busy:
            return self._login_step(self._login.heard(reply))
        if self._ends.waits_for_server:
            return self._ends.heard(reply)
        exchange = self._exchange
        if exchange is None or (exchange.settled and reply.code == 421):
            # Nobody asked. Passed on, it would be taken for the answer to the client's next command; a farewell is said
            # when the server has gone, if it does go.
            return self._stray(reply, "nobody asked for it")
        if reply.code in _ADDRESSES and exchange.abort is None and exchange.late is None:
            return [NoteReply(_shown(reply), "it holds an address"), *self._replied(exchange, _withheld(reply))]
        return self._replied(exchange, reply)

    def _stray(self, reply: Reply, why: str) -> list[Order]:
        """A reply of no use; a server that goes on so is of none, too."""
        self._strays += 1
        if self._strays > _MOST_STRAYS:
            return self._server_refused(
                ServerRefused("protocol_error", "the server says again and again what nobody asks")
            )
        return [NoteReply(_shown(reply), why)]

    def _replied(self, exchange: Exchange, reply: Reply) -> list[Order]:
        """The server's reply to the command under way."""
        if (abort := exchange.abort) is not None:
            if exchange.transfer is None and not abort.asked and self._ends.ready:
                if reply.preliminary:
                    begun = self._begin(exchange)
                    assert exchange.transfer is not None  # noqa: S101 - it has just begun
                    return [*begun, *exchange.abort_begun(exchange.transfer)]
                self._ends.ready = False
                return [DropData(), *self._after(exchange, exchange.abort_heard(abort, reply))]
            return self._after(exchange, exchange.abort_heard(abort, reply))
        if (late := exchange.late) is not None:
            return self._go_on(exchange, late, late.heard(reply)) if late.waits_for_server else []
        if exchange.proving:
            return self._after(exchange, exchange.size_heard(reply)) if not reply.preliminary else []
        if reply.preliminary:
            return self._preliminary(exchange, reply)
        if exchange.transfer is not None:
            return self._after(exchange, exchange.verdict(exchange.transfer, reply))
        if reply.good and self._ends.ready and exchange.command.verb in commands.DATA_VERBS:
            # A final reply without 150: the data connection still has to show what it carries.
            exchange.reply = reply
            orders = self._begin(exchange)
            return orders + in_band(exchange.transfer) if exchange.transfer is not None else orders
        return self._answered(exchange, reply)

    def _preliminary(self, exchange: Exchange, reply: Reply) -> list[Order]:
        exchange.preliminaries += 1
        if exchange.preliminaries > _MOST_PRELIMINARIES:
            return self._server_refused(ServerRefused("protocol_error", "the server is about to begin again and again"))
        told = [TellClient(self._untold(exchange, reply))]
        verb = exchange.command.verb
        if exchange.transfer is not None or not self._ends.ready or verb in commands.NO_DATA_VERBS:
            return [*told]
        if verb in commands.DATA_VERBS:
            return [*self._begin(exchange), *told]
        if exchange.listens:
            return [*told]
        exchange.listens = True
        return [ListenToData(), *told]

    def _data_spoke(self, event: DataSpoke) -> list[Order]:
        exchange = self._exchange
        if exchange is None or not exchange.listens or exchange.transfer is not None or exchange.abort is not None:
            return []
        return self._begin(exchange)

    def _data_unused(self, event: DataUnused) -> list[Order]:
        exchange = self._exchange
        if exchange is not None and (
            exchange.command.verb in commands.DATA_VERBS or exchange.listens or exchange.abort is not None
        ):
            return []  # it waits for its transfer, and that is asked for
        return self._ends.unused(absent=event.absent)

    def _server_said_lines(self, event: ServerSaidLines) -> list[Order]:
        """Some commands take long and tell how far they are; what the client is to hear as it is, it hears at once."""
        exchange = self._exchange
        if (
            exchange is None
            or exchange.transfer is not None
            or exchange.abort is not None
            or exchange.late is not None
            or exchange.command.verb in _WHOLE
            or event.code >= 400
            or event.code in _ADDRESSES
            or self._ends.waits_for_server
            or self._login.busy
        ):
            return []
        exchange.told += len(event.lines)
        return [TellLines(event.lines)]

    def _untold(self, exchange: Exchange, reply: Reply) -> Reply:
        """What the client has not heard of a reply."""
        told, exchange.told = exchange.told, 0
        return Reply(reply.code, reply.lines[min(told, len(reply.lines) - 1) :]) if told else reply

    def _begin(self, exchange: Exchange) -> list[Order]:
        self._ends.ready = False
        self._login.done = True  # whatever the server said to the login
        self._number += 1
        verb = exchange.command.verb
        exchange.transfer = Transfer(
            self._number,
            verb,
            exchange.command.text,
            commands.DATA_VERBS.get(verb, Direction.UNKNOWN),
            self._mode,
        )
        return [BeginData(exchange.transfer)]

    def _answered(self, exchange: Exchange, reply: Reply) -> list[Order]:
        """The final reply to a command without a transfer."""
        self._exchange = None
        command = exchange.command
        reply = self._untold(exchange, reply)
        match command.verb:
            case b"USER" | b"PASS" | b"ACCT":
                return self._login_step(self._login.answered(command, reply))
            case b"FEAT" if reply.good:
                return [TellClient(Reply(reply.code, commands.visible_features(reply.lines)))]
            case b"QUIT":
                self._closed = True
                return [TellClient(reply), HangUp("quit")]
            case b"MODE" if reply.good:
                self._mode = (command.argument or b"S").strip()[:1].upper()
            case b"TYPE" if reply.good:
                self._type = (command.argument or b"").strip()[:1].upper()
            case b"REST" if not reply.refused:
                self._ends.rest = command
            case b"OPTS" if reply.refused and self._login.keeps(command):
                return [TellClient(replies.own(200, "UTF8 noted."))]
        modern = commands.MODERN.get(command.verb)
        if modern is not None and exchange.sent is command and reply.refused and reply.code != 421:
            return self._forward(command, Command(modern, command.argument))
        if command.verb in commands.DATA_VERBS:
            if not reply.refused:
                # There was no data connection here, so nothing has passed, whatever it says.
                why = f"No data connection was prepared (PASV or PORT); the server said {reply.code}"
                reply = replies.own(425, why)
            return [NoteNoTransfer(command, reply), *reuse_note(reply), *self._ends.refused(), TellClient(reply)]
        if reply.code in (230, 232):
            return self._login_step(self._login.answered(command, reply))  # SITE AUTH of Tumbleweed
        return [LeaveData(), TellClient(reply)] if exchange.listens else [TellClient(reply)]

    def _login_step(self, orders: list[Order]) -> list[Order]:
        """After what the login wants done, what follows from its failure."""
        login = self._login
        if login.refusal is not None:
            return [*orders, TellServer(_QUIT), *self._refuse(login.refusal.reason, login.refusal.detail)]
        if login.exhausted:
            note = NoteLimit("login_attempts", f"{self._policy.login_attempts} logins refused")
            goodbye = self._goodbye("Too many refused logins, closing.", "login attempts")
            return [*orders, note, TellServer(_QUIT), *goodbye]
        return orders

    # --- a transfer -----------------------------------------------------------------------------------------------

    def _data_ended(self, event: DataEnded) -> list[Order]:
        exchange = self._exchange
        if exchange is None:
            return []
        orders = exchange.data_ended(event)
        if exchange.proving and self._deferred:
            orders = exchange.size_heard(None)  # the server has gone meanwhile
        return self._after(exchange, orders)

    def _data_closed(self, event: DataClosed) -> list[Order]:
        exchange = self._exchange
        return self._after(exchange, exchange.data_closed(event)) if exchange is not None else []

    def _after(self, exchange: Exchange, orders: list[Order]) -> list[Order]:
        if exchange.over:
            self._exchange = None
        return orders

    def _abandon(self, code: int, why: str) -> list[Order]:
        """End the transfer under way, if there is one, as torn."""
        return self._exchange.abandon(code, "torn", why) if self._exchange is not None else []

    # --- ends -----------------------------------------------------------------------------------------------------

    def _server_refused(self, event: ServerRefused) -> list[Order]:
        return [*self._abandon(426, event.detail), *self._refuse(event.reason, event.detail)]

    def _server_lost(self, event: ServerLost) -> list[Order]:
        if self._opening is not None:
            step, said = self._opening.step, self._farewell
            why = event.why if said is None else f"{event.why}; it had said {said.code} {said.text}"
            return self._refuse("closed", f"the server closed the connection while {step} was awaited: {why}")
        exchange = self._exchange
        if (said := self._farewell) is not None:
            orders = self._abandon(421, f"the server said 421 {said.text}")
            self._closed = True
            if not self._farewell_told or not self.idle:
                orders.append(TellClient(said))
            return [*orders, HangUp(f"server: 421 {said.text}")]
        if exchange is not None and exchange.command.verb == b"QUIT" and exchange.transfer is None:
            return self._goodbye("Goodbye.", "quit", 221)
        orders = self._abandon(426, f"control connection to the server lost: {event.why}")
        if orders:
            orders.append(TellClient(replies.own(426, "Transfer failed: control connection to the server lost.")))
        return orders + self._goodbye(f"Connection to the server lost: {event.why}", f"server lost: {event.why}")

    def _client_lost(self, event: ClientLost) -> list[Order]:
        exchange = self._exchange
        if event.data_left and exchange is not None and self.upload_under_way:
            exchange.client_gone = self._client_gone = True  # cameras and meters leave once their data is sent
            self._held = None
            return []
        why = event.why or "it closed it"
        orders = self._abandon(0, f"the client's control connection was lost: {why}")
        self._closed = True
        if self.idle:
            orders.append(TellServer(_QUIT))
        return [*orders, HangUp(f"client gone: {event.why}" if event.why else "client gone")]

    def _stopped(self, event: Stopped) -> list[Order]:
        orders = self._abandon(421, event.why)
        if self.idle:
            orders.append(TellServer(_QUIT))
        return orders + self._goodbye(event.why, event.why)

    def _timed_out(self, event: TimedOut) -> list[Order]:
        match self.waiting:
            case Waiting.OPENING:
                step = self._opening.step if self._opening is not None else ""
                return self._refuse("timeout", f"the server did not answer in time while {step} was awaited")
            case Waiting.LOGIN:
                return [
                    NoteLimit("login_timeout", ""),
                    TellServer(_QUIT),
                    *self._goodbye("Login timed out.", "login timeout"),
                ]
            case Waiting.CLIENT:
                return [TellServer(_QUIT), *self._goodbye("Idle for too long, closing.", "idle timeout")]
            case Waiting.TORN if (exchange := self._exchange) and exchange.ended:
                return exchange.rouse(exchange.ended.why)
            case Waiting.VERDICT:
                why = "no final reply from the server in time"
                orders = [NoteLimit("final_reply_timeout", why), *self._abandon(426, why)]
                told = TellClient(replies.own(426, f"Transfer failed: {why}."))
                return [*orders, told, *self._goodbye("The server does not answer.", "reply timeout")]
            case Waiting.DATA | Waiting.CONNECTION:
                return []
            case Waiting.ABORT if (exchange := self._exchange) and exchange.abort and not exchange.abort.asked:
                self._ends.ready = False
                return exchange.ask_to_abort(exchange.abort)
            case Waiting.ABORT if (exchange := self._exchange) and exchange.abort and exchange.abort.first:
                return self._after(exchange, exchange.abort_over(exchange.abort))
            case Waiting.REPLY if (exchange := self._exchange) and exchange.proving:
                why = "the server did not say the SIZE in time"
                told = TellClient(replies.own(426, f"Transfer failed: {why}."))
                torn = [NoteLimit("reply_timeout", why), *self._abandon(426, why), told]
                return [*torn, *self._goodbye("The server does not answer.", "reply timeout")]
            case _:
                asked = self._exchange.sent.verb.decode() if self._exchange is not None else "what the gateway asked"
                note = NoteLimit("reply_timeout", f"the server did not answer {asked}")
                return [note, *self._goodbye("The server does not answer.", "reply timeout")]


def _shown(reply: Reply) -> str:
    return f"{reply.code} {reply.text}"


def _withheld(reply: Reply) -> Reply:
    """What the client hears in place of an address that nobody here asked for."""
    return replies.own(502, f"Refused here: the server answers {reply.code}, an address. Use PASV or EPSV.")


_HANDLERS: dict[type[Event], Callable[[Protocol, Any], list[Order]]] = {
    ClientSaid: Protocol._client_said,
    ServerSaid: Protocol._server_said,
    ServerSaidLines: Protocol._server_said_lines,
    DataSpoke: Protocol._data_spoke,
    DataUnused: Protocol._data_unused,
    DataEnded: Protocol._data_ended,
    DataClosed: Protocol._data_closed,
    ServerDataReady: Protocol._data_end,
    ServerListening: Protocol._data_end,
    ClientListening: Protocol._data_end,
    DataFailed: Protocol._data_end,
    Connected: Protocol._connected,
    Secured: Protocol._secured,
    ClientErred: Protocol._client_erred,
    TimedOut: Protocol._timed_out,
    ClientLost: Protocol._client_lost,
    ServerRefused: Protocol._server_refused,
    ServerLost: Protocol._server_lost,
    Stopped: Protocol._stopped,
}
