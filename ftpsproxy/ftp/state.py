"""What a session knows between two events, and what that says: what is waited for, who is heard. No decision."""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from ftpsproxy.ftp import commands, replies
from ftpsproxy.ftp.changes import Changes
from ftpsproxy.ftp.charsets import AS_THEY_ARE, Charsets
from ftpsproxy.ftp.commands import Command, Direction
from ftpsproxy.ftp.directory import Directory
from ftpsproxy.ftp.endpoints import Endpoints
from ftpsproxy.ftp.events import ClientErred, ClientLost, ServerLost, ServerRefused, Stopped
from ftpsproxy.ftp.exchange import ABORTABLE, ASKED, Exchange, Phase
from ftpsproxy.ftp.login import Login
from ftpsproxy.ftp.opening import Opening, Refusal
from ftpsproxy.ftp.orders import Dial, Ending, HangUp, LeaveServer, NoteUpstreamFailed, Order, TellClient, TellServer
from ftpsproxy.ftp.questions import Questions
from ftpsproxy.ftp.repeated import Repeated
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.restart import Restart
from ftpsproxy.ftp.rights import EVERYTHING, Judge, Rights
from ftpsproxy.ftp.server_endpoint import DeferredEndpoint, ServerEndpoint, UpstreamQuirks
from ftpsproxy.ftp.waiting import Waiting

_MOST_HELD = 8
_UNAVAILABLE = "Service not available: "


@dataclass(frozen=True, slots=True)
class Policy:
    """What the protocol must know of its listener, upstream and limits. `client` is the client's plain address.

    `passive_elsewhere`: the address for passive data connections, where the client has connected to another one.
    """

    client: str
    implicit: bool = False
    greeting_in_clear: bool = False
    auth: tuple[str, ...] = ("TLS",)
    data_mode: str = "auto"
    own_greeting: bool = True
    greet_first: bool = False  # and reach the server when the client has something to say to it
    login_attempts: int = 6
    bad_lines: int = 10
    passive_v4: bool = True
    ahead: bool = True  # what was said already is not asked again
    rights: Rights = EVERYTHING
    charsets: Charsets = AS_THEY_ARE
    passive_elsewhere: str = ""


class State:
    """One session's. `exchange` is the command under way at the server, `held` the client's next ones, `questions` what
    it is asked on our own behalf; `judge` says what the client may do.

    `dialled`: whether the server is reached, or is to be; `opening` then leads to a protected session, or to
    `no_server`.
    `postponed` is what has to wait for a transfer that has its verdict; `farewell` the last 421, whether it has been
    told to the client. `read` counts the reads of the server's connection, `asked_at` is the one behind which it was
    last told something.
    """

    def __init__(self, policy: Policy, quirks: UpstreamQuirks | None = None) -> None:
        self.greets_first = policy.greet_first  # it stays so, though settings may change before the server is reached
        self.dialled = not self.greets_first
        self.no_server: Refusal | None = None
        self.serve_by(policy, quirks)
        self.exchange: Exchange | None = None
        self.held: deque[Command | ClientErred] = deque()
        self.mode = b"S"
        self.type = b"A"  # RFC 959 section 3.1.1.1: the default
        self.directory = Directory()
        self.restart = Restart()
        self.changes = Changes()
        self.repeated = Repeated()
        self.questions = Questions()
        self.closed = False
        self.client_gone = False
        self.postponed: list[ServerLost | ServerRefused | ClientLost | Stopped] = []
        self.farewell: Reply | None = None
        self.farewell_told = False
        self.strays = 0
        self.read = 0
        self.asked_at = -1
        self.bad_lines = 0
        self.hinted = False
        self.number = 0

    def serve_by(self, policy: Policy, quirks: UpstreamQuirks | None = None) -> None:
        """These are the rules, before anything was said to the server."""
        self.policy = policy
        self.charsets = policy.charsets
        self.judge = Judge(policy.rights, policy.charsets.server_charset)
        self.opening: Opening | None = self._way_to_protection() if self.dialled else None
        self.login = Login(implicit=policy.implicit, attempts=policy.login_attempts)
        self.quirks = quirks = quirks if quirks is not None else UpstreamQuirks()
        self.endpoints = Endpoints(
            policy.client, policy.data_mode, quirks, v4=policy.passive_v4, elsewhere=policy.passive_elsewhere
        )

    def dial(self, command: Command) -> list[Order]:
        """This command needs the server, which has not been reached yet."""
        self.held.appendleft(command)
        self.dialled = True
        self.opening = self._way_to_protection()
        return [Dial()]

    def _way_to_protection(self) -> Opening:
        policy = self.policy
        return Opening(implicit=policy.implicit, auth=policy.auth, greeting_in_clear=policy.greeting_in_clear)

    @property
    def idle(self) -> bool:
        """Whether the client's next command can be taken up at once."""
        busy = self.endpoints.busy or self.login.busy or self.questions.busy
        return self.exchange is None and not busy and self.opening is None

    @property
    def hears_client(self) -> bool:
        """Whether the client's lines are wanted now: in a transfer a few more, as ABOR may be among them."""
        if self.closed or self.opening is not None:
            return False
        return not self.held or (self.transferring and len(self.held) < _MOST_HELD)

    @property
    def transferring(self) -> bool:
        """Whether a transfer is asked for or under way that ABOR could break off."""
        exchange = self.exchange
        if exchange is None or exchange.phase not in ABORTABLE:
            return False
        if exchange.phase not in ASKED or exchange.phase is Phase.PROBING:
            return True
        return exchange.command.verb in commands.DATA_VERBS

    @property
    def owes_replies(self) -> bool:
        """Whether a client that says no more may still be waiting for replies.

        Not round a transfer, which ends with its control connection (RFC 959 section 4.1.1, QUIT).
        """
        exchange = self.exchange
        if self.closed or self.idle or (exchange is not None and exchange.transfer):
            return False
        if self.opening is not None:
            return bool(self.held)
        said = (exchange.command if exchange is not None else None, *self.held)
        return not any(isinstance(one, Command) and one.verb in commands.DATA_VERBS for one in said)

    @property
    def waiting(self) -> Waiting:
        """What kind of waiting this is."""
        if self.closed:
            return Waiting.NOTHING
        if self.opening is not None:
            return Waiting.OPENING
        exchange = self.exchange
        if exchange is not None:
            return self._waiting_for(exchange)
        if self.endpoints.busy:
            return Waiting.REPLY if self.endpoints.waits_for_server else Waiting.CONNECTION
        if self.login.busy or self.questions.busy:
            return Waiting.REPLY
        return Waiting.CLIENT if self.login.done else Waiting.LOGIN

    @staticmethod
    def _waiting_for(exchange: Exchange) -> Waiting:
        match exchange.phase:
            case Phase.SENT | Phase.PROBING | Phase.TAKING_BACK:
                return Waiting.START if exchange.command.verb in commands.LONG_VERBS else Waiting.REPLY
            case Phase.TRANSFERRING | Phase.AWAITING_BYTES | Phase.CLOSING:
                return Waiting.DATA
            case Phase.AWAITING_VERDICT:
                return Waiting.VERDICT if exchange.ended is not None and exchange.ended.ok else Waiting.TORN
            case Phase.PREPARING:
                waits_for_server = exchange.deferred is not None and exchange.deferred.waits_for_server
                return Waiting.REPLY if waits_for_server else Waiting.CONNECTION
            case Phase.PROVING:
                return Waiting.REPLY
            case Phase.ABORTING:
                return Waiting.ABORT
            case Phase.OVER:
                return Waiting.NOTHING
            case _:
                assert_never(exchange.phase)

    @property
    def asking(self) -> ServerEndpoint | DeferredEndpoint | None:
        """Who asks the server for a data connection."""
        deferred = self.exchange.deferred if self.exchange is not None else None
        return deferred if deferred is not None else self.endpoints.asking

    @property
    def upload_under_way(self) -> bool:
        """Whether an upload is under way, so that the end of its data counts when the client is lost."""
        exchange = self.exchange
        if exchange is None or exchange.phase is Phase.ABORTING:
            return False
        if exchange.transfer is not None:
            return exchange.transfer.direction is not Direction.DOWNLOAD
        return self.endpoints.ready and commands.DATA_VERBS.get(exchange.command.verb) is Direction.UPLOAD

    def after(self, exchange: Exchange, orders: list[Order]) -> list[Order]:
        """What is ordered behind the last news of an exchange, which may be over."""
        if exchange.phase is Phase.OVER:
            self.exchange = None
        return orders

    def abandon(self, code: int, why: str) -> list[Order]:
        """End the transfer under way, if there is one, as torn."""
        return self.exchange.abandon(code, "torn", why) if self.exchange is not None else []

    def refuse(self, reason: str, detail: str, shown: tuple[tuple[str, object], ...] = ()) -> list[Order]:
        """There is no session to be had: say so to the log and the client, and end.

        To a client that was greeted the reason is the answer to its login: lftp and curl show nothing of a 421, and
        lftp goes on behind a refused FEAT. Only a server that refuses for the time being is said by 421.
        """
        note = NoteUpstreamFailed(reason, detail, shown)
        for_now = self.farewell is not None and self.farewell.code < 500
        if self.opening is None or not self.greets_first or for_now:
            return [note, *self.goodbye(_UNAVAILABLE + detail, Ending.UPSTREAM_FAILED, reason)]
        self.dialled, self.opening, self.no_server = False, None, Refusal(reason, detail)
        return [note, LeaveServer(), *self.answer_without_server(self.held.popleft(), self.no_server)]

    def answer_without_server(self, command: Command | ClientErred, why: Refusal) -> list[Order]:
        """A client that is still there when no server could be had says this."""
        text = _sentence(_UNAVAILABLE + why.detail)
        if isinstance(command, Command) and command.verb not in commands.LOGIN_VERBS:
            return [TellClient(replies.own(530, text))]
        return self.goodbye(text, Ending.UPSTREAM_FAILED, why.reason, 530)

    def take_leave(self) -> list[Order]:
        """Say QUIT to a server that waits for the next command."""
        return [TellServer(b"QUIT\r\n")] if self.dialled and self.idle else []

    def goodbye(self, text: str, ending: Ending, detail: str = "", code: int = 421) -> list[Order]:
        """A last reply, and the end."""
        self.closed = True
        return [TellClient(replies.own(code, _sentence(text))), HangUp(ending, detail)]


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
