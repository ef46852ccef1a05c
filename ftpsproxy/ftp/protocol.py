"""The state machine of a session: events in, finished lists of orders out; no I/O, no clock.

Theory. One command at a time is under way at the server (`Exchange`); one more of the client's may be held, a few in a
transfer, and then the client is not heard, so that pipelined lines queue in the kernel. In the middle of a transfer
ABOR passes at once, NOOP and STAT are answered here, because no server says which of its replies answers which, and all
else is held.

The joint rule: the client hears a transfer's final reply only when the server has given it *and* the bytes have ended.
A transfer whose bytes did not end well is never answered 2xx, one that the server refuses never ends well. What has
been decided so is carried through, whoever leaves meanwhile (`postponed`).

A code says what its class says (RFC 959 section 4.2); whether a session is over its connections say, not a 421.
"""

from typing import assert_never

from ftpsproxy.ftp import changes, client_side, commands, endings, server_side
from ftpsproxy.ftp.charsets import AS_THEY_ARE, Charsets, to_server
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.events import (
    Accepted,
    ClientErred,
    ClientListening,
    ClientLost,
    ClientSaid,
    Connected,
    DataSpoke,
    EndpointFailed,
    EndpointsUnused,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerListening,
    ServerLost,
    ServerRefused,
    ServerSaid,
    ServerSaidLines,
    Stopped,
    TimedOut,
    TransferClosed,
    TurnedAway,
)
from ftpsproxy.ftp.exchange import Exchange, Phase
from ftpsproxy.ftp.orders import Ending, HangUp, NoteFileChanged, Order, TellServer
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.ftp.state import Policy, State
from ftpsproxy.ftp.waiting import Waiting

__all__ = ["Policy", "Protocol", "heard"]


def heard(line: bytes, charsets: Charsets = AS_THEY_ARE) -> ClientSaid | ClientErred | None:
    """What a line of the client's, without its ending, is to the machine; None for an empty one."""
    try:
        command = commands.parse(line)
    except ProtocolError as error:
        return ClientErred(str(error))
    return ClientSaid(to_server(charsets, command)) if command is not None else None


class Protocol:
    """One session's rules. Feed it with `handle`; `waiting` and `hears_client` tell the session what to do next."""

    def __init__(self, policy: Policy, quirks: UpstreamQuirks | None = None) -> None:
        self._state = State(policy, quirks)

    def serve_by(self, policy: Policy, quirks: UpstreamQuirks) -> None:
        """These are the rules from now on; to be called before Connected, where they may have changed since the
        client came."""
        self._state.serve_by(policy, quirks)

    @property
    def idle(self) -> bool:
        """Whether the client's next command can be taken up at once."""
        return self._state.idle

    @property
    def logged_in(self) -> bool:
        """Whether the server has taken a login."""
        return self._state.login.done

    @property
    def hears_client(self) -> bool:
        """Whether the client's lines are wanted now."""
        return self._state.hears_client

    @property
    def owes_replies(self) -> bool:
        """Whether a client that says no more may still be waiting for replies."""
        return self._state.owes_replies

    @property
    def waiting(self) -> Waiting:
        """What kind of waiting this is."""
        return self._state.waiting

    @property
    def upload_under_way(self) -> bool:
        """Whether an upload is under way, so that the end of its data counts when the client is lost."""
        return self._state.upload_under_way

    def handle(self, event: Event) -> list[Order]:
        """What to do about `event`. Never raises for anything a peer can cause; after HangUp nothing is ordered."""
        state = self._state
        if state.closed or (state.exchange is not None and _defers(state, state.exchange, event)):
            return []
        if state.no_server is not None and isinstance(event, ServerSaid | ServerSaidLines | ServerLost | ServerRefused):
            return []
        orders = _decide(state, event)
        if state.postponed or state.held or state.client_gone:
            orders += _go_on(state)
        if state.closed and state.exchange is not None:
            orders = [*_unanswered_change(state, state.exchange), *orders]
        for order in orders:
            if type(order) is TellServer:
                state.asked_at = state.read
                break
        return orders


def _unanswered_change(state: State, exchange: Exchange) -> list[Order]:
    """The session ends before the server has said whether it has changed a file: it may have."""
    if exchange.command.verb not in changes.VERBS:
        return []
    state.exchange, place = None, state.directory.place
    change = state.changes.unanswered(exchange.command, place)
    return [NoteFileChanged(change, None, place)] if change is not None else []


def _go_on(state: State) -> list[Order]:
    """What had to wait, if it need not any more."""
    orders: list[Order] = []
    while state.postponed and state.idle and not state.closed:
        orders += _decide(state, state.postponed.pop(0))
    orders += client_side.answer_held(state)
    while state.held and state.idle and not state.closed:
        held = state.held.popleft()
        orders += client_side.erred(state, held) if isinstance(held, ClientErred) else client_side.execute(state, held)
    if state.client_gone and state.idle and not state.closed:
        state.closed = True
        orders += [*state.take_leave(), HangUp(Ending.CLIENT_GONE)]
    return orders


def _defers(state: State, exchange: Exchange, event: Event) -> bool:
    """Whether this, the end of the session, has to wait for a transfer that has its verdict."""
    if exchange.transfer is None or not exchange.settled:
        return False
    match event:
        case ServerLost() | ServerRefused():
            pass
        case ClientLost() | Stopped(now=False) if exchange.phase is Phase.CLOSING:
            pass
        case _:
            return False
    state.postponed.append(event)
    return True


def _decide(state: State, event: Event) -> list[Order]:
    match event:  # the most frequent first
        case ServerSaid():
            return server_side.said(state, event)
        case ClientSaid():
            return client_side.said(state, event)
        case RelayFinished():
            return server_side.data_ended(state, event)
        case TransferClosed():
            return server_side.data_closed(state, event)
        case ServerDataReady() | ServerListening() | ClientListening() | EndpointFailed():
            return client_side.prepared(state, event)
        case ServerSaidLines():
            return server_side.said_lines(state, event)
        case ClientErred():
            return client_side.erred(state, event)
        case DataSpoke():
            return server_side.data_spoke(state, event)
        case EndpointsUnused():
            return server_side.data_unused(state, event)
        case Accepted():
            return server_side.accepted(state, event)
        case TurnedAway():
            return endings.turned_away(state, event)
        case Connected():
            return server_side.connected(state, event)
        case Secured():
            return server_side.secured(state, event)
        case TimedOut():
            return endings.timed_out(state, event)
        case ClientLost():
            return endings.client_lost(state, event)
        case ServerRefused():
            return endings.server_refused(state, event)
        case ServerLost():
            return endings.server_lost(state, event)
        case Stopped():
            return endings.stopped(state, event)
        case _:
            assert_never(event)
