"""How a session ends: somebody leaves, is of no use any more, or time is up."""

from ftpsproxy.ftp import replies
from ftpsproxy.ftp.events import ClientLost, ServerLost, ServerRefused, Stopped, TimedOut, TurnedAway
from ftpsproxy.ftp.exchange import Phase
from ftpsproxy.ftp.orders import Ending, HangUp, NoteLimit, NoteTurnedAway, Order, TellClient
from ftpsproxy.ftp.state import State
from ftpsproxy.ftp.waiting import Waiting


def server_refused(state: State, event: ServerRefused) -> list[Order]:
    """There is nothing to be had of this server."""
    return [*state.abandon(426, event.detail), *state.refuse(event.reason, event.detail, event.shown)]


def turned_away(state: State, event: TurnedAway) -> list[Order]:
    """There is no place at the server."""
    farewell = state.goodbye(f"Service not available: {event.text}", Ending.TURNED_AWAY, event.limit)
    return [NoteTurnedAway(event.limit, event.text), *farewell]


def server_lost(state: State, event: ServerLost) -> list[Order]:
    """Its control connection is gone."""
    if state.opening is not None:
        step, said = state.opening.step, state.farewell
        why = event.why if said is None else f"{event.why}; it had said {said.code} {said.text}"
        return state.refuse("closed", f"the server closed the connection while {step} was awaited: {why}")
    exchange = state.exchange
    if (said := state.farewell) is not None:
        orders = state.abandon(421, f"the server said 421 {said.text}")
        state.closed = True
        if not state.farewell_told or not state.idle:
            orders.append(TellClient(said))
        return [*orders, HangUp(Ending.SERVER_FAREWELL, f"421 {said.text}")]
    if exchange is not None and exchange.command.verb == b"QUIT" and exchange.transfer is None:
        return state.goodbye("Goodbye.", Ending.QUIT, code=221)
    orders = state.abandon(426, f"control connection to the server lost: {event.why}")
    if (asking := state.asking) is not None and asking.asked:
        return state.goodbye(
            f"Connection to the server lost over {_unanswered(state)}: {event.why}", Ending.SERVER_LOST, event.why
        )
    if orders:
        orders.append(TellClient(replies.own(426, "Transfer failed: control connection to the server lost.")))
    return orders + state.goodbye(f"Connection to the server lost: {event.why}", Ending.SERVER_LOST, event.why)


def _unanswered(state: State) -> str:
    """What the server has left without an answer; how the next session asks it for data."""
    if (asking := state.asking) is not None and (asked := asking.asked):
        asking.unanswered()
        return asked
    return state.exchange.sent.verb.decode() if state.exchange is not None else "what follows a login"


def client_lost(state: State, event: ClientLost) -> list[Order]:
    """The client's is gone."""
    exchange = state.exchange
    if event.data_left and exchange is not None and state.upload_under_way:
        exchange.client_gone = state.client_gone = True  # cameras and meters leave once their data is sent
        state.held.clear()
        return []
    why = event.why or "it closed it"
    orders = state.abandon(0, f"the client's control connection was lost: {why}")
    orders += state.take_leave()
    state.closed = True
    return [*orders, HangUp(Ending.CLIENT_GONE, event.why)]


def stopped(state: State, event: Stopped) -> list[Order]:
    """The gateway ends the session."""
    orders = state.abandon(421, event.why)
    return orders + state.take_leave() + state.goodbye(event.why, Ending.STOPPED, event.why)


def timed_out(state: State, event: TimedOut) -> list[Order]:
    """What is waited for has lasted too long."""
    if event.login and state.opening is None:
        return _login_timed_out(state)
    match state.waiting:
        case Waiting.OPENING:
            step = state.opening.step if state.opening is not None else ""
            return state.refuse("timeout", f"the server did not answer in time; {step} was awaited")
        case Waiting.LOGIN:
            return _login_timed_out(state)
        case Waiting.CLIENT:
            return [*state.take_leave(), *state.goodbye("Idle for too long, closing.", Ending.IDLE_TIMEOUT)]
        case Waiting.TORN if (exchange := state.exchange) and exchange.ended:
            return exchange.rouse(exchange.ended.why)
        case Waiting.VERDICT:
            why = "no final reply from the server in time"
            orders = [NoteLimit("final_reply_timeout", why), *state.abandon(426, why)]
            told = TellClient(replies.own(426, f"Transfer failed: {why}."))
            return [*orders, told, *state.goodbye("The server does not answer.", Ending.REPLY_TIMEOUT)]
        case Waiting.DATA | Waiting.CONNECTION:
            return []
        case Waiting.ABORT if (exchange := state.exchange) and exchange.abort and not exchange.abort.asked:
            state.endpoints.ready = False
            return exchange.ask_to_abort(exchange.abort)
        case Waiting.ABORT if (exchange := state.exchange) and exchange.abort and exchange.abort.first:
            return state.after(exchange, exchange.abort_over(exchange.abort))
        case Waiting.REPLY if (exchange := state.exchange) and exchange.phase is Phase.PROVING:
            why = "the server did not say the SIZE in time"
            told = TellClient(replies.own(426, f"Transfer failed: {why}."))
            torn = [NoteLimit("reply_timeout", why), *state.abandon(426, why), told]
            return [*torn, *state.goodbye("The server does not answer.", Ending.REPLY_TIMEOUT)]
        case _:
            asked = _unanswered(state)
            note = NoteLimit("reply_timeout", f"the server did not answer {asked}")
            return [note, *state.goodbye(f"The server does not answer {asked}.", Ending.REPLY_TIMEOUT)]


def _login_timed_out(state: State) -> list[Order]:
    why = "the client has not logged in in time"
    orders = [NoteLimit("login_timeout", ""), *state.abandon(421, why), *state.take_leave()]
    return [*orders, *state.goodbye("Login timed out.", Ending.LOGIN_TIMEOUT)]
