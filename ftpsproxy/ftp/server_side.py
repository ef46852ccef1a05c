"""What the server says, and what its data connections do: whose answer it is, and what the client hears of it."""

from typing import assert_never

from ftpsproxy.ftp import asking, changes, charsets, client_side, commands, directory, endings, replies, restart
from ftpsproxy.ftp.commands import Command, Direction
from ftpsproxy.ftp.events import (
    Accepted,
    Connected,
    DataSpoke,
    EndpointsUnused,
    RelayFinished,
    Secured,
    ServerRefused,
    ServerSaid,
    ServerSaidLines,
    TransferClosed,
)
from ftpsproxy.ftp.exchange import Exchange, Phase, in_band, reuse_note
from ftpsproxy.ftp.opening import Opening
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    Dial,
    DropEndpoints,
    Ending,
    HangUp,
    Ignored,
    NoteFileChanged,
    NoteLimit,
    NoteLogin,
    NoteReplyIgnored,
    Order,
    ProbeData,
    StopProbing,
    TellClient,
    TellLines,
    TellServer,
    Transfer,
)
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.state import State

_GREETING = replies.own(220, "FTP service ready.")
_QUIT = b"QUIT\r\n"
# Passive replies: to anything but our own PASV and EPSV they would send the client past the gateway.
_ADDRESSES = frozenset({227, 228, 229})
# In a session, and for a command; a sane server comes nowhere near.
_MOST_STRAYS = 100
_MOST_PRELIMINARIES = 1000
# What ends a transfer that has not been said to begin (RFC 959 section 5.4).
_ENDS = frozenset({226, 250})
# Verbs whose replies are looked at as a whole, and may be changed.
_WHOLE = frozenset({b"FEAT", b"OPTS", b"QUIT", *commands.LOGIN_VERBS, *commands.DATA_VERBS, *commands.MODERN})


def accepted(state: State, event: Accepted) -> list[Order]:
    """A client has come."""
    return [TellClient(_GREETING)] if state.greets_first else [Dial()]


def connected(state: State, event: Connected) -> list[Order]:
    """Its control connection is up."""
    state.endpoints.peer = event.peer
    return []


def secured(state: State, event: Secured) -> list[Order]:
    """So is TLS on it."""
    return state.opening.secured() if state.opening is not None else []


def _open(state: State, opening: Opening, reply: Reply) -> list[Order]:
    orders = opening.heard(reply)
    state.farewell = reply if reply.refused else None
    if opening.refusal is not None:
        return state.refuse(opening.refusal.reason, opening.refusal.detail)
    if opening.done:
        state.opening = state.farewell = None
        state.login.protect = opening.protect_later
        if state.greets_first:
            return orders
        greeting = _GREETING if state.policy.own_greeting or opening.greeting is None else opening.greeting
        return [*orders, TellClient(greeting)]
    return orders


def said(state: State, event: ServerSaid) -> list[Order]:
    """A whole reply."""
    reply = event.reply
    if event.read is not None:
        state.read = event.read
        asking = state.exchange is not None and state.exchange.phase is Phase.ABORTING
        if event.read == state.asked_at and not asking:
            return _stray(state, reply, Ignored.EARLY)
    if state.opening is not None:
        return _open(state, state.opening, reply)
    orders = _hear(state, reply)
    state.farewell = None
    if reply.code == 421:
        state.farewell = reply
        state.farewell_told = any(isinstance(order, TellClient) and order.reply is reply for order in orders)
    return orders


def _hear(state: State, reply: Reply) -> list[Order]:
    if state.login.busy:
        return _login_step(state, state.login.heard(reply))
    if state.questions.busy:
        return asking.answered(state, reply)
    if state.endpoints.waits_for_server:
        return state.endpoints.heard(reply)
    exchange = state.exchange
    if exchange is None or (exchange.settled and reply.code == 421):
        # Nobody asked. Passed on, it would be taken for the answer to the client's next command; a farewell is said
        # when the server has gone, if it does go.
        return _stray(state, reply, Ignored.UNASKED)
    if reply.code in _ADDRESSES and exchange.phase not in (Phase.ABORTING, Phase.PREPARING):
        return [NoteReplyIgnored(_shown(reply), Ignored.ADDRESS), *_replied(state, exchange, _withheld(reply))]
    return _replied(state, exchange, reply)


def _stray(state: State, reply: Reply, why: Ignored) -> list[Order]:
    """A reply of no use; a server that goes on so is of none, too."""
    state.strays += 1
    if state.strays > _MOST_STRAYS:
        return endings.server_refused(
            state, ServerRefused("protocol_error", "the server says again and again what nobody asks")
        )
    return [NoteReplyIgnored(_shown(reply), why)]


def _replied(state: State, exchange: Exchange, reply: Reply) -> list[Order]:
    """The server's reply to the command under way."""
    match exchange.phase:  # what is common first
        case Phase.SENT | Phase.PROBING:
            return _preliminary(state, exchange, reply) if reply.preliminary else _final(state, exchange, reply)
        case Phase.TRANSFERRING | Phase.AWAITING_BYTES | Phase.AWAITING_VERDICT | Phase.CLOSING:
            if reply.preliminary:
                return _preliminary(state, exchange, reply)
            assert exchange.transfer is not None  # noqa: S101 - it has one in these phases
            return state.after(exchange, exchange.verdict(exchange.transfer, reply))
        case Phase.ABORTING:
            return _aborting(state, exchange, reply)
        case Phase.PREPARING:
            deferred = exchange.deferred
            if deferred is None or not deferred.waits_for_server:
                return []
            return client_side.go_on(state, exchange, deferred, deferred.heard(reply))
        case Phase.TAKING_BACK:
            if exchange.refusal is None or reply.preliminary:
                return []
            return client_side.refused(state, exchange.command, exchange.refusal)
        case Phase.PROVING:
            return state.after(exchange, exchange.size_heard(reply)) if not reply.preliminary else []
        case Phase.OVER:
            return []
        case _:
            assert_never(exchange.phase)


def _aborting(state: State, exchange: Exchange, reply: Reply) -> list[Order]:
    """A reply behind ABOR, which may have come before the transfer began."""
    abort = exchange.abort
    assert abort is not None  # noqa: S101 - it has one in this phase
    if exchange.transfer is None and not abort.asked and state.endpoints.ready:
        if reply.preliminary:
            begun = _begin(state, exchange, reply)
            assert exchange.transfer is not None  # noqa: S101 - it has just begun
            return [*begun, *exchange.abort_begun(exchange.transfer)]
        state.endpoints.ready = False
        return [DropEndpoints(), *state.after(exchange, exchange.abort_heard(abort, reply))]
    return state.after(exchange, exchange.abort_heard(abort, reply))


def _final(state: State, exchange: Exchange, reply: Reply) -> list[Order]:
    """The final reply to a command whose transfer has not begun."""
    if reply.good and state.endpoints.ready and exchange.command.verb in commands.DATA_VERBS:
        if reply.code not in _ENDS:
            # Some servers say 200 to a command long answered, and only then 150: ftplib passes over it, too.
            return _stray(state, reply, Ignored.NO_END)
        # A final reply without 150: the data connection still has to show what it carries.
        exchange.reply = reply
        orders = _begin(state, exchange, reply)
        return orders + in_band(exchange.transfer) if exchange.transfer is not None else orders
    return _answered(state, exchange, reply)


def _preliminary(state: State, exchange: Exchange, reply: Reply) -> list[Order]:
    exchange.preliminaries += 1
    if exchange.preliminaries > _MOST_PRELIMINARIES:
        return endings.server_refused(
            state, ServerRefused("protocol_error", "the server is about to begin again and again")
        )
    told = [TellClient(_untold(state, exchange, reply))]
    verb = exchange.command.verb
    if exchange.preliminaries == 1:
        exchange.begun_behind_verdict()
    if exchange.transfer is not None or not state.endpoints.ready or verb in commands.NO_DATA_VERBS:
        return [*told]
    if verb in commands.DATA_VERBS:
        return [*_begin(state, exchange, reply), *told]
    if exchange.phase is Phase.PROBING:
        return [*told]
    exchange.phase = Phase.PROBING
    return [ProbeData(), *told]


def data_spoke(state: State, event: DataSpoke) -> list[Order]:
    """A command that nobody knows is a transfer."""
    exchange = state.exchange
    if exchange is None or exchange.phase is not Phase.PROBING:
        return []
    return _begin(state, exchange)


def data_unused(state: State, event: EndpointsUnused) -> list[Order]:
    """No transfer came for what was prepared."""
    exchange = state.exchange
    if exchange is not None and (
        exchange.command.verb in commands.DATA_VERBS or exchange.phase in (Phase.PROBING, Phase.ABORTING)
    ):
        return []  # it waits for its transfer, and that is asked for
    return state.endpoints.unused(event)


def said_lines(state: State, event: ServerSaidLines) -> list[Order]:
    """Some commands take long and tell how far they are; what the client is to hear as it is, it hears at once."""
    exchange = state.exchange
    if (
        exchange is None
        or exchange.phase not in (Phase.SENT, Phase.PROBING, Phase.TAKING_BACK)
        or exchange.command.verb in _WHOLE
        or event.code >= 400
        or event.code in _ADDRESSES
        or state.endpoints.waits_for_server
        or state.login.busy
    ):
        return []
    exchange.told += len(event.lines)
    return [TellLines(event.lines)]


def _untold(state: State, exchange: Exchange, reply: Reply) -> Reply:
    """What the client has not heard of a reply."""
    told, exchange.told = exchange.told, 0
    return Reply(reply.code, reply.lines[min(told, len(reply.lines) - 1) :]) if told else reply


def _begin(state: State, exchange: Exchange, said: Reply | None = None) -> list[Order]:
    state.endpoints.ready = False
    state.login.done = True  # whatever the server said to the login
    state.number += 1
    verb = exchange.command.verb
    path = exchange.command.shown
    if verb == b"STOU" and said is not None and said.text.upper().startswith("FILE:"):
        path = said.text[5:].strip()  # RFC 1123 section 4.1.2.9
    transfer = Transfer(
        state.number,
        exchange.command.shown_verb.encode(),
        path,
        commands.DATA_VERBS.get(verb, Direction.UNKNOWN),
        state.mode,
        state.type,
        exchange.offset,
        state.directory.place,
    )
    exchange.begin(transfer)
    return [BeginTransfer(transfer)]


def _answered(state: State, exchange: Exchange, reply: Reply) -> list[Order]:
    """The final reply to a command without a transfer."""
    state.exchange = None
    command = exchange.command
    if not exchange.told:
        state.repeated.answered(command, reply, utf8=state.charsets.utf8_client)
    reply = _untold(state, exchange, reply)
    match command.verb:
        case verb if verb in commands.LOGIN_VERBS:
            return _login_answered(state, command, reply)
        case b"FEAT" if reply.good:
            state.quirks.says_utf8 = any(line.strip().upper() == b"UTF8" for line in reply.lines[1:-1])
            visible = commands.visible_features(reply.lines, utf8=state.charsets.utf8_client)
            return [TellClient(Reply(reply.code, visible))]
        case b"QUIT":
            state.closed = True
            return [TellClient(reply), HangUp(Ending.QUIT)]
        case b"MODE" if reply.good:
            state.mode = (command.argument or b"S").strip()[:1].upper()
        case b"TYPE" if reply.good:
            state.type = (command.argument or b"").strip()[:1].upper()
        case b"REST" if not reply.refused:
            state.endpoints.rest = command
        case b"OPTS" if reply.refused and state.login.keeps(command):
            return [TellClient(replies.own(200, "UTF8 noted."))]
    modern = commands.MODERN.get(command.verb)
    if modern is not None and exchange.sent is command and reply.refused and reply.code != 421:
        return client_side.forward(state, command, Command(modern, command.argument))
    if command.verb in commands.DATA_VERBS:
        if not reply.refused:
            # There was no data connection here, so nothing has passed, whatever it says.
            why = f"No data connection was prepared (PASV or PORT); the server said {reply.code}"
            reply = replies.own(425, why)
        return [*reuse_note(command, reply), *client_side.refused(state, command, reply)]
    if command.verb == b"SITE" and reply.code in (230, 232):
        return _login_answered(state, command, reply)  # SITE AUTH of Tumbleweed
    told = [*_note(state, command, reply), TellClient(charsets.named(state.charsets, command, reply))]
    if reply.good and command.verb in directory.GOING:
        return asking.ask_behind(state, told)
    return [StopProbing(), *told] if exchange.phase is Phase.PROBING else told


def _note(state: State, command: Command, reply: Reply) -> list[Order]:
    """What a command has changed at the server: where the session is, where the next transfer begins, files."""
    verb = command.verb
    if verb in directory.VERBS:
        state.directory.answered(command, reply)
    elif verb in restart.VERBS:
        state.restart.answered(command, reply)
    elif verb in changes.VERBS:
        place = state.directory.place
        if verb in (b"RNFR", b"RNTO"):
            state.judge.renamed(command, reply, place)
        if (change := state.changes.answered(command, reply, place)) is not None:
            return [NoteFileChanged(change, reply.code, place)]
    return []


def _login_answered(state: State, command: Command, reply: Reply) -> list[Order]:
    orders = state.login.answered(command, reply)
    if any(isinstance(order, NoteLogin) and order.ok for order in orders):
        state.directory.logged_in()
        state.questions.behind_login = True
    elif command.verb == b"USER" and not reply.refused:
        state.directory.lost()  # another login begins
    return _login_step(state, orders)


def _login_step(state: State, orders: list[Order]) -> list[Order]:
    """After what the login wants done, what follows from its failure."""
    login = state.login
    if login.refusal is not None:
        return [*orders, TellServer(_QUIT), *state.refuse(login.refusal.reason, login.refusal.detail)]
    if login.exhausted:
        note = NoteLimit("login_attempts", f"{state.policy.login_attempts} logins refused")
        goodbye = state.goodbye("Too many refused logins, closing.", Ending.LOGIN_ATTEMPTS)
        return [*orders, note, TellServer(_QUIT), *goodbye]
    if state.questions.behind_login and not login.busy:
        state.questions.behind_login = False
        return asking.ask_behind(state, orders, behind_login=True)
    return orders


def data_ended(state: State, event: RelayFinished) -> list[Order]:
    """The bytes of a transfer have ended."""
    exchange = state.exchange
    if exchange is None:
        return []
    orders = exchange.data_ended(event)
    if exchange.phase is Phase.PROVING and state.postponed:
        orders = exchange.size_heard(None)  # the server has gone meanwhile
    return state.after(exchange, orders)


def data_closed(state: State, event: TransferClosed) -> list[Order]:
    """A transfer that was to end whole is closed."""
    exchange = state.exchange
    if exchange is None:
        return []
    orders = exchange.data_closed(event)
    if exchange.phase is Phase.OVER and not event.why and exchange.transfer is not None:
        state.judge.uploaded(exchange.command, exchange.transfer.place, exchange.offset)
    return state.after(exchange, orders)


def _shown(reply: Reply) -> str:
    return f"{reply.code} {reply.text}"


def _withheld(reply: Reply) -> Reply:
    """What the client hears in place of an address that nobody here asked for."""
    return replies.own(502, f"Refused here: the server answers {reply.code}, an address. Use PASV or EPSV.")
