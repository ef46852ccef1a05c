"""The server's endpoint of a data connection: EPSV, PASV, EPRT or PORT as `data_mode` says, and what is learned by it.

It comes before the client's, so that what can fail fails at PASV or PORT. Two cases defer it until the transfer command
is there (`DeferredEndpoint`): a server that wants to know the command first (PRET, DrFTPD), and a client that uses its
endpoint once more after a refusal (Netscape 4).
"""

import enum
import re
from dataclasses import dataclass, field

from ftpsproxy.ftp import addresses, replies
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.data_failure import Cause, DataFailure
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.events import EndpointFailed, ServerDataReady, ServerListening
from ftpsproxy.ftp.orders import (
    ConnectToServer,
    DropEndpoints,
    DropServerEndpoint,
    ListenForServer,
    NoteAddressIgnored,
    NoteDataFailed,
    Order,
    TellServer,
)
from ftpsproxy.ftp.replies import Reply

LOWEST_PORT = 1024  # RFC 2577: below are services that a bounced connection could talk to
_PRET = re.compile(rb"\bPRET\b", re.IGNORECASE)
ServerEvent = ServerDataReady | ServerListening | EndpointFailed


@dataclass(slots=True)
class UpstreamQuirks:
    """What sessions of one upstream have found out about it; shared by them."""

    no_epsv: bool = False
    needs_pret: bool = False
    says_utf8: bool = False  # in FEAT
    reuse_refused: int = 0  # data connections in a row for want of a resumed TLS session
    close_notify_behind: set[bytes] = field(default_factory=set)  # the commands whose data it has ended so


class _Step(enum.Enum):
    REPLY = 1
    CONNECTION = 2
    OVER = 3


@dataclass(slots=True)
class ServerEndpoint:
    """One preparation of it. Ends with `stands`, `failed` set, or `wants_pret`: not without the transfer command."""

    data_mode: str
    peer: str
    quirks: UpstreamQuirks
    deferred: bool = False
    stands: bool = False
    wants_pret: bool = False
    failed: Reply | None = None
    _mode: str = ""
    _no_epsv: bool = False
    _step: _Step = field(default=_Step.OVER)

    @property
    def pret_applies(self) -> bool:
        """Whether this server is known to want PRET for what is about to be asked."""
        return self.quirks.needs_pret and self.data_mode in ("auto", "epsv", "pasv")

    @property
    def waits_for_server(self) -> bool:
        """Whether the next news is a reply of the server's."""
        return self._step is _Step.REPLY

    @property
    def asked(self) -> str:
        """What the server has been asked, and not answered yet; "" for nothing."""
        return self._mode.upper() if self.waits_for_server else ""

    def unanswered(self) -> None:
        """Some servers, or firewalls before them, never answer EPSV: the next session asks for PASV."""
        if self.waits_for_server and self._may_fall_back():
            self.quirks.no_epsv = True

    def start(self) -> list[Order]:
        """The first orders."""
        if self.data_mode != "auto":
            return self._ask(self.data_mode)
        return self._ask("pasv" if self.quirks.no_epsv and ":" not in self.peer else "epsv")

    def _ask(self, mode: str) -> list[Order]:
        self._mode = mode
        self._step = _Step.REPLY
        match mode:
            case "epsv":
                return [TellServer(b"EPSV\r\n")]
            case "pasv":
                return [TellServer(b"PASV\r\n")]
            case _:
                self._step = _Step.CONNECTION
                return [ListenForServer(mode)]

    def heard(self, reply: Reply) -> list[Order]:
        """The server's reply to EPSV, PASV, EPRT or PORT."""
        if reply.preliminary:
            return []
        if not reply.good:
            if self._mode in ("epsv", "pasv") and _PRET.search(reply.words):
                self.quirks.needs_pret = self.wants_pret = True
                return self._over(reply)
            if self._may_fall_back():
                said = f"EPSV: {reply.code} {reply.text}"
                return self._fall_back(Cause.NOT_OFFERED, said, remember=reply.code >= 500)
            asked = self._mode.upper()
            self.quirks.no_epsv = False  # of no use then
            failed = reply if reply.refused else replies.own(425, f"The server answers {asked} by {reply.code}.")
            return [self._note(Cause.NOT_OFFERED, f"{asked}: {reply.code} {reply.text}"), *self._over(failed)]
        if self._mode in ("eprt", "port"):
            return self._over()
        try:
            return self._connect(reply)
        except ProtocolError as error:
            if self._may_fall_back():
                return self._fall_back(Cause.NOT_OFFERED, str(error))
            return self._fail(Cause.NOT_OFFERED, f"the server's passive reply is of no use: {error}")

    def _connect(self, reply: Reply) -> list[Order]:
        orders: list[Order] = []
        # Behind 464XLAT a 229 answers PASV, and some servers answer EPSV with 227: the code decides, not the question.
        if reply.code == 229 or not addresses.has_passive(reply.words):
            port = addresses.parse_extended_passive(reply.words)
        else:
            endpoint = addresses.parse_passive(reply.words)
            port = endpoint.port
            # The connection goes to the control connection's peer whatever stands here (CVE-2020-8284).
            if endpoint.host not in (self.peer, "0.0.0.0"):  # noqa: S104 - AWS Transfer means "the same host" by it
                orders.append(NoteAddressIgnored(endpoint.host))
        if port < LOWEST_PORT:
            why = f"the server offers port {port} for data; below {LOWEST_PORT} is refused"
            return self._fail(Cause.NOT_OFFERED, why, port)
        self._step = _Step.CONNECTION
        return [*orders, ConnectToServer(port, self._mode, hasty=self._may_fall_back())]

    def _may_fall_back(self) -> bool:
        return self.data_mode == "auto" and self._mode == "epsv" and ":" not in self.peer

    def _note(self, cause: Cause, why: str, port: int | None = None) -> Order:
        return NoteDataFailed(DataFailure("server", cause, why, self._mode, self.peer, port))

    def _fall_back(self, cause: Cause, why: str, port: int | None = None, *, remember: bool = True) -> list[Order]:
        self._no_epsv = remember  # if PASV does better
        return [
            self._note(cause, f"{why}; PASV is tried", port),
            DropServerEndpoint() if self.deferred else DropEndpoints(),
            *self._ask("pasv"),
        ]

    def on(self, event: ServerEvent) -> list[Order]:
        """News of the connection."""
        if self._step is not _Step.CONNECTION:
            return []
        match event:
            case ServerDataReady():
                return self._over()
            case ServerListening(endpoint):
                self._step = _Step.REPLY
                if self._mode == "port":
                    return [TellServer(b"PORT %s\r\n" % addresses.render_port(endpoint))]
                return [TellServer(b"EPRT %s\r\n" % addresses.render_eprt(endpoint))]
            case EndpointFailed(why, cause, port):
                if self._may_fall_back():
                    return self._fall_back(cause, why, port)
                return self._fail(cause, f"no data connection to the server: {why}", port)

    def _fail(self, cause: Cause, why: str, port: int | None = None) -> list[Order]:
        said = why[:1].upper() + why[1:]
        return [self._note(cause, why, port), *self._over(replies.own(425, f"{said}."))]

    def _over(self, failed: Reply | None = None) -> list[Order]:
        self._step = _Step.OVER
        self.failed = failed
        if failed is not None and addresses.holds_any(failed.words):
            # A device that looks at no code would connect to it, past the gateway.
            self.failed = replies.own(failed.code, "The server refuses, in words that hold an address.")
        self.stands = failed is None
        if self.stands and self._no_epsv:
            self.quirks.no_epsv = True
        return []


class DeferredEndpoint:
    """All that goes before a transfer command whose server end was put off: PRET, the end itself, REST once more.

    RFC 959 has REST right before its transfer, and here other commands have come between. Ends with `done`, or with
    `failed` set: PRET refused is an answer to the command itself, everything else a 425.
    """

    __slots__ = ("_command", "_end", "_said", "done", "failed", "rest")

    def __init__(self, end: ServerEndpoint, command: Command, rest: Command | None) -> None:
        self._end = end
        self._command = command
        self.rest = rest
        self._said = ""
        self.done = False
        self.failed: Reply | None = None

    @property
    def waits_for_server(self) -> bool:
        """Whether the next news is a reply of the server's."""
        return bool(self._said) or self._end.waits_for_server

    @property
    def asked(self) -> str:
        """What that is; "" for nothing."""
        return self._said or self._end.asked

    def unanswered(self) -> None:
        """It will not come."""
        self._end.unanswered()

    def start(self) -> list[Order]:
        """The first orders."""
        if self._end.pret_applies:
            self._said = "PRET"
            return [TellServer(b"PRET " + self._command.encode())]
        return self._end.start()

    def heard(self, reply: Reply) -> list[Order]:
        """A reply of the server's."""
        if not self._said:
            return self._next(self._end.heard(reply))
        if reply.preliminary:
            return []
        said, self._said = self._said, ""
        if said == "REST":
            return self._finish(None if not reply.refused else _no_connection(f"REST again: {reply.code} {reply.text}"))
        if reply.code // 10 == 50:
            self._end.quirks.needs_pret = False  # not known there, or not any more
        elif not reply.good:
            return self._finish(reply)
        return self._next(self._end.start())

    def on(self, event: ServerEvent) -> list[Order]:
        """News of the server's end."""
        return self._next(self._end.on(event))

    def _next(self, orders: list[Order]) -> list[Order]:
        end = self._end
        if end.failed is not None:
            text = f"{end.failed.code} {end.failed.text}"
            return [*orders, *self._finish(end.failed if end.failed.code == 425 else _no_connection(text))]
        if not end.stands:
            return orders
        if self.rest is not None:
            self._said = "REST"
            return [*orders, TellServer(self.rest.encode())]
        return [*orders, *self._finish(None)]

    def _finish(self, failed: Reply | None) -> list[Order]:
        self.failed = failed
        self.done = failed is None
        return []


def _no_connection(why: str) -> Reply:
    return replies.own(425, f"No data connection to the server: {why}")
