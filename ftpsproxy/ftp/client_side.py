"""What the client says: refused here, answered here, held, or given to the server."""

from ftpsproxy.ftp import commands, replies
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.endpoints import ENDPOINT_VERBS, IllegalAddress
from ftpsproxy.ftp.events import (
    ClientErred,
    ClientListening,
    ClientSaid,
    EndpointFailed,
    ServerDataReady,
    ServerListening,
)
from ftpsproxy.ftp.exchange import Exchange, Phase
from ftpsproxy.ftp.orders import (
    Ending,
    HangUp,
    NoteCommandRefused,
    NoteForeign,
    NoteLimit,
    NoteNotUtf8,
    NoteTransferRefused,
    Order,
    StartDataTls,
    TellClient,
    TellServer,
    TellStatus,
)
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import DeferredEndpoint
from ftpsproxy.ftp.state import State


def said(state: State, event: ClientSaid) -> list[Order]:
    """A command of the client's."""
    command = event.command
    if state.idle:
        return execute(state, command)
    exchange = state.exchange
    if exchange is not None and command.verb == b"ABOR" and state.transferring:
        orders = exchange.start_abort()
        if exchange.transfer is None and exchange.abort is not None and exchange.abort.asked:
            state.endpoints.ready = False  # what was prepared is dropped
        return state.after(exchange, orders)
    state.held.append(command)
    return []


def answer_held(state: State) -> list[Order]:
    """NOOP and STAT of the client's in a transfer; not before its 150, for whose answer theirs would be taken."""
    orders: list[Order] = []
    while state.held and state.transferring and state.exchange is not None and state.exchange.preliminaries:
        match state.held[0]:
            case Command(b"NOOP"):
                orders.append(TellClient(replies.own(200, "NOOP ok.")))
            case Command(b"STAT", None | b""):
                transfer = state.exchange.transfer
                orders.append(TellStatus(transfer.number if transfer is not None else state.number + 1))
            case _:
                break
        state.held.popleft()
    return orders


def erred(state: State, event: ClientErred) -> list[Order]:
    """A line that can't be read."""
    if not state.idle:
        state.held.append(event)
        return []
    refusal = TellClient(replies.own(500, f"Not understood: {event.why}."))
    return _bad_line(state, event.why, [NoteCommandRefused("", event.why), refusal])


def _bad_line(state: State, why: str, orders: list[Order]) -> list[Order]:
    """These orders refuse a line that no honest client says; after some of them, the good-bye."""
    state.bad_lines += 1
    if state.bad_lines < state.policy.bad_lines:
        return orders
    return [NoteLimit("bad_lines", why), *state.goodbye("Too many bad lines, closing.", Ending.BAD_LINES)]


def execute(state: State, command: Command) -> list[Order]:
    """Take up a command; nothing is under way."""
    verb = command.verb
    if orders := _another_protocol(state, command):
        return orders
    if orders := _not_sayable(state, command):
        return orders
    if state.judge.judges and (orders := _not_allowed(state, command)):
        return orders
    if not state.dialled and (orders := _before_the_server(state, command)):
        return orders
    if verb in ENDPOINT_VERBS:
        try:
            return state.endpoints.prepare(command)
        except IllegalAddress as error:
            return _bad_line(state, str(error), error.orders)
    if verb in commands.DATA_VERBS and state.endpoints.given_up:
        return _too_late(state, command)
    if (reason := commands.REFUSED.get(verb)) is not None:
        return [NoteCommandRefused(verb.decode(), reason), TellClient(replies.own(502, reason))]
    if state.policy.ahead and (known := state.repeated.answer(command)) is not None:
        return [TellClient(known)]
    if verb == b"APPE" and state.judge.max_file_bytes and command.argument:
        # What is there already counts.
        return state.questions.ask((Command(b"SIZE", command.argument),), command=command)
    return forward(state, command)


def _not_sayable(state: State, command: Command) -> list[Order]:
    """Names in two charsets: what can't be translated, and who says that names are UTF-8 where they are not."""
    charsets, verb = state.charsets, command.verb
    if charsets.client_charset is None:
        return []
    refusal = None
    if command.unsayable:
        refusal = replies.own(553, f"Not possible: {command.unsayable}.")
    elif verb == b"OPTS" and (command.argument or b"").upper().startswith((b"UTF8", b"UTF-8")):
        if charsets.utf8_client:
            return [TellClient(replies.own(200, "UTF8 is on."))]
        refusal = replies.own(504, f"Names are in {charsets.client_charset} here.")
    elif verb in commands.LISTINGS and (state.mode != b"S" or state.type == b"E"):
        refusal = replies.own(504, "Listings are translated here: MODE S, and not TYPE E.")
    if refusal is None:
        return []
    note = NoteCommandRefused(command.shown_verb, refusal.text, command.shown)
    if verb in commands.DATA_VERBS:
        return [note, *_never_sent(state, command, refusal)]
    return [note, TellClient(refusal)]


def _hint(state: State, command: Command) -> list[Order]:
    """A name that is not UTF-8 for a server that has said that it takes UTF-8: once a session. It passes as it is."""
    argument = command.argument
    if state.hinted or argument is None or argument.isascii() or not state.quirks.says_utf8:
        return []
    if command.verb in commands.LOGIN_VERBS or state.charsets.client_charset is not None:
        return []
    try:
        argument.decode()
    except UnicodeDecodeError:
        state.hinted = True
        return [NoteNotUtf8(command)]
    return []


def _not_allowed(state: State, command: Command) -> list[Order]:
    """The refusal of what the client may not do, whoever its server is. What nobody may say here is refused as ever."""
    if command.verb in commands.REFUSED:
        return []
    refusal = state.judge.refusal(command, state.directory.place, state.restart.offset)
    if refusal is None:
        return []
    note = NoteCommandRefused(command.shown_verb, refusal.why, command.shown)
    if command.verb in commands.DATA_VERBS:
        return [note, *_never_sent(state, command, refusal.reply)]
    return [note, TellClient(refusal.reply)]


def append(state: State, command: Command, size: int | None) -> list[Order]:
    """APPE, whose file has so many bytes; None where the server does not say: there is no such file, perhaps."""
    if size is not None and (refusal := state.judge.refusal(command, state.directory.place, size)) is not None:
        note = NoteCommandRefused(command.shown_verb, refusal.why, command.shown)
        return [note, *_never_sent(state, command, refusal.reply)]
    orders = forward(state, command)
    if state.exchange is not None and size is not None:
        state.exchange.offset = size
    return orders


def _another_protocol(state: State, command: Command) -> list[Order]:
    """A line of HTTP, or a load balancer's header: none of the client's rights or of the server's business."""
    if commands.is_http(command):
        if state.login.done and not commands.is_http_request(command):
            reason = "Not an FTP command."
            return [NoteCommandRefused(command.shown_verb, reason), TellClient(replies.own(502, reason))]
        protocol = "http"
    elif commands.is_proxy_header(command):
        protocol = "proxy"
    else:
        return []
    state.closed = True
    return [NoteForeign(protocol), HangUp(Ending.FOREIGN_PROTOCOL)]


def _before_the_server(state: State, command: Command) -> list[Order]:
    """A command before the server is reached: most wait for it; none for what is refused here anyway."""
    match command.verb:
        case b"QUIT":
            return state.goodbye("Goodbye.", Ending.QUIT, code=221)
        case b"NOOP":  # what probes say
            return [TellClient(replies.own(200, "NOOP ok."))]
        case verb if verb in commands.REFUSED:
            return []
    return state.dial(command) if state.no_server is None else state.answer_without_server(command, state.no_server)


def _too_late(state: State, command: Command) -> list[Order]:
    """A transfer whose passive port was given up: the server must not open a file, or even empty it, for that."""
    reply = replies.own(425, "Nobody came to the passive port in time, ask for another one.")
    return _never_sent(state, command, reply)


def _never_sent(state: State, command: Command, refusal: Reply) -> list[Order]:
    """The client hears this of a transfer command that the server never hears of."""
    rest, state.endpoints.rest = state.endpoints.rest, None
    state.restart.take()
    return _unsent(state, command, rest, refusal)


def _unsent(state: State, command: Command, rest: Command | None, refusal: Reply) -> list[Order]:
    """The client hears this of a transfer command that never goes out, once a REST before it is taken back."""
    if rest is None:
        return refused(state, command, refusal)
    exchange = state.exchange = Exchange(command, Command(b"REST", b"0"), Phase.TAKING_BACK, refusal=refusal)
    return [TellServer(exchange.sent.encode())]


def refused(state: State, command: Command, reply: Reply) -> list[Order]:
    """There is no transfer; what the client has prepared for it may serve the next one."""
    state.exchange = None
    return [NoteTransferRefused(command, reply, state.directory.place), *state.endpoints.refused(), TellClient(reply)]


def forward(state: State, command: Command, sent: Command | None = None) -> list[Order]:
    """Give a command to the server, perhaps as `sent` instead of as it is."""
    sent = sent if sent is not None else command
    state.strays = 0  # a bound for each command: sessions of machines last for weeks
    exchange = state.exchange = Exchange(command, sent)
    if command.verb in commands.DATA_VERBS:
        _note_start(state, exchange)
    if command.verb in commands.DATA_VERBS and (deferred := state.endpoints.deferred(command)) is not None:
        exchange.prepare(deferred)
        return [*_hint(state, command), *go_on(state, exchange, deferred, deferred.start())]
    return [*_hint(state, command), *_tell(state, exchange)]


def _note_start(state: State, exchange: Exchange) -> None:
    """Where a transfer begins, and how what is downloaded could be proved to be whole."""
    command, start = exchange.command, state.restart.take()
    exchange.offset = start.offset
    comparable = state.type == b"I" and start.offset is not None and start.to_end
    if command.verb == b"RETR" and command.argument and comparable:
        exchange.size_of = Command(b"SIZE", command.argument)


def _tell(state: State, exchange: Exchange) -> list[Order]:
    told = TellServer(exchange.sent.encode())
    direction = commands.DATA_VERBS.get(exchange.command.verb) if state.endpoints.ready else None
    return [told] if direction is None else [told, StartDataTls(direction)]


def go_on(state: State, exchange: Exchange, deferred: DeferredEndpoint, orders: list[Order]) -> list[Order]:
    """With what goes before a transfer command whose server end was put off."""
    if deferred.failed is not None:
        return [*orders, *_unsent(state, exchange.command, deferred.rest, deferred.failed)]
    if not deferred.done:
        return orders
    exchange.prepared()
    state.endpoints.deferred_done()
    return [*orders, *_tell(state, exchange)]


def prepared(state: State, event: ServerDataReady | ServerListening | ClientListening | EndpointFailed) -> list[Order]:
    """News of an end of a data connection."""
    exchange = state.exchange
    if exchange is not None and (deferred := exchange.deferred) is not None and not isinstance(event, ClientListening):
        return go_on(state, exchange, deferred, deferred.on(event))
    return state.endpoints.on(event)
