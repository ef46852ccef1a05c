"""What the protocol machine wants done."""

import enum
from dataclasses import dataclass
from typing import Literal

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.changes import Change
from ftpsproxy.ftp.commands import Command, Direction
from ftpsproxy.ftp.data_failure import DataFailure
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.replies import Reply

Outcome = Literal["complete", "torn", "aborted"]


@dataclass(frozen=True, slots=True)
class TellClient:
    """Send this reply to the client."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class TellLines:
    """Send these lines of a reply to the client; the rest of it follows."""

    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TellStatus:
    """Tell the client how far transfer `number` is (STAT in its middle)."""

    number: int


@dataclass(frozen=True, slots=True)
class TellServer:
    """Send these bytes, one whole command, to the server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartDataTls:
    """The server was asked for a transfer over the prepared endpoints: begin TLS on its data connection now."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class Dial:
    """Reach the server; answered by Connected, TurnedAway or ServerRefused."""


@dataclass(frozen=True, slots=True)
class LeaveServer:
    """The server is of no use: drop it, and give back the place there. The client has yet to hear of it."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Start TLS with the server now; nothing it said before may be left over."""


@dataclass(frozen=True, slots=True)
class ListenForClient:
    """Listen for the client's data connection; answered by ClientListening or EndpointFailed."""


@dataclass(frozen=True, slots=True)
class ConnectToClient:
    """Remember where the client listens; connect once a transfer begins."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ConnectToServer:
    """Connect to this port of the control connection's peer; answered by ServerDataReady or EndpointFailed. `hasty`: if
    it takes long, there is another way to be tried."""

    port: int
    mode: str
    hasty: bool = False


@dataclass(frozen=True, slots=True)
class ListenForServer:
    """Listen for the server's data connection; answered by ServerListening or EndpointFailed."""

    mode: str


@dataclass(frozen=True, slots=True)
class ProbeData:
    """Find out whether the server speaks on the prepared data connection; answered by DataSpoke, if ever."""


@dataclass(frozen=True, slots=True)
class StopProbing:
    """Listen no more; what was prepared stays as it is."""


@dataclass(frozen=True, slots=True)
class DropEndpoints:
    """Forget the data connections prepared so far."""


@dataclass(frozen=True, slots=True)
class DropServerEndpoint:
    """Forget the server's end only. `refused`: so was what the client's was for; it may use that once more for the next
    transfer, by the same connection or a new one."""

    refused: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer: its number in the session, from 1, the command that asked for it, as it may be shown, the MODE and
    TYPE it is in, the byte of the file it begins with and the directory it was asked for in, None where not known."""

    number: int
    verb: bytes
    path: str
    direction: Direction
    mode: bytes = b"S"
    type: bytes = b"A"
    offset: int | None = 0
    place: Place | None = None

    @property
    def ends_in_band(self) -> bool:
        """Whether the end of the file stands in its data (RFC 959: MODE B, C): the connection may outlive it."""
        return self.mode in (b"B", b"C")


@dataclass(frozen=True, slots=True)
class BeginTransfer:
    """Move the bytes of this transfer over the prepared connections; answered by RelayFinished."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class FinishTransfer:
    """Close transfer `number`: so that the client sees a whole file, or so that both sides see a torn one.

    A `whole` one is answered by TransferClosed: only at its close is it known whether the client has not broken it.
    `code` is the reply the client hears, 0 when there is no one to hear it.
    """

    number: int
    whole: bool
    code: int
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class FinishInBand:
    """The server has said 2xx to transfer `number`, whose end stands in its data: its connection need not close."""

    number: int


class Ending(enum.Enum):
    """Why a session ends; the values are the log's own."""

    QUIT = "quit"
    CLIENT_GONE = "client_gone"
    FOREIGN_PROTOCOL = "foreign_protocol"
    BAD_LINES = "bad_lines"
    LOGIN_ATTEMPTS = "login_attempts"
    LOGIN_TIMEOUT = "login_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TURNED_AWAY = "turned_away"  # there was no place at the server
    UPSTREAM_FAILED = "upstream_failed"  # there was no secure session with it
    SERVER_LOST = "server_lost"
    SERVER_FAREWELL = "server_farewell"  # it had said 421
    REPLY_TIMEOUT = "reply_timeout"
    STOPPED = "stopped"  # by the gateway: it ends, or a limit was met
    STOPPED_AT_ONCE = "stopped_at_once"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close both control connections, after what was told has been sent."""

    ending: Ending
    detail: str = ""

    @property
    def why(self) -> str:
        """The ending in words."""
        if self.ending in (Ending.STOPPED, Ending.UPSTREAM_FAILED) and self.detail:
            return self.detail
        if self.ending is Ending.SERVER_FAREWELL:
            return f"server: {self.detail}"
        words = self.ending.value.replace("_", " ")
        return f"{words}: {self.detail}" if self.detail else words


@dataclass(frozen=True, slots=True)
class NoteLogin:
    """For the log: the server has answered a login."""

    user: str
    ok: bool
    code: int


@dataclass(frozen=True, slots=True)
class NoteUpstreamFailed:
    """For the log: the upstream can't be used, a machine word and plain words; what there is to say of the certificate
    it has shown."""

    reason: str
    detail: str
    shown: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class NoteTurnedAway:
    """For the log: there is no place at the server for this session."""

    limit: str
    text: str


@dataclass(frozen=True, slots=True)
class NoteAddressIgnored:
    """For the log: a reply named another host than the one the control connection goes to."""

    host: str


@dataclass(frozen=True, slots=True)
class NoteReuseRefused:
    """For the log: the server wants its TLS session resumed and did not find it so."""

    reply: str


@dataclass(frozen=True, slots=True)
class NoteLimit:
    """For the log: the client met a limit."""

    limit: str
    detail: str


@dataclass(frozen=True, slots=True)
class NoteForeign:
    """For the log: the client speaks another protocol."""

    protocol: str


@dataclass(frozen=True, slots=True)
class NoteCommandRefused:
    """For the log: a command was refused here; `verb` is empty for a line that is no command, `argument` what of it may
    be shown where that matters."""

    verb: str
    why: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class NoteTransferRefused:
    """For the log: the server has refused a transfer, asked for in this directory, before there was any."""

    command: Command
    reply: Reply
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class NoteFileChanged:
    """For the log: what a command, said in this directory, has changed at the server, or was to change. `code` is that
    of the reply, None when there was none: it may have been done."""

    change: Change
    code: int | None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class NoteNotUtf8:
    """For the log: the name in this command is not UTF-8, and the server has said that it takes UTF-8."""

    command: Command


class Ignored(enum.Enum):
    """Why a client does not hear what the server says; the values are the log's own."""

    EARLY = "early"
    UNASKED = "unasked"
    NO_END = "no_end"
    ADDRESS = "address"
    NO_CODE = "no_code"

    @property
    def words(self) -> str:
        """For people."""
        return _IGNORED[self]


_IGNORED = {
    Ignored.EARLY: "it was there before anybody had asked",
    Ignored.UNASKED: "nobody asked for it",
    Ignored.NO_END: "a transfer ends by 226 or 250",
    Ignored.ADDRESS: "it holds an address",
    Ignored.NO_CODE: "it begins with no code",
}


@dataclass(frozen=True, slots=True)
class NoteReplyIgnored:
    """For the log: a reply of the server's that the client did not hear."""

    reply: str
    why: Ignored


@dataclass(frozen=True, slots=True)
class NoteCloseNotifyMissing:
    """For the log: a listing has ended without close_notify, and is taken for whole."""

    verb: str


@dataclass(frozen=True, slots=True)
class NoteDataFailed:
    """For the log: a data connection could not be prepared."""

    failure: DataFailure


Order = (
    TellClient
    | TellLines
    | TellStatus
    | TellServer
    | StartDataTls
    | Dial
    | LeaveServer
    | StartTls
    | ListenForClient
    | ConnectToClient
    | ConnectToServer
    | ListenForServer
    | ProbeData
    | StopProbing
    | DropEndpoints
    | DropServerEndpoint
    | BeginTransfer
    | FinishTransfer
    | FinishInBand
    | HangUp
    | NoteLogin
    | NoteUpstreamFailed
    | NoteTurnedAway
    | NoteAddressIgnored
    | NoteReuseRefused
    | NoteLimit
    | NoteForeign
    | NoteCommandRefused
    | NoteTransferRefused
    | NoteFileChanged
    | NoteNotUtf8
    | NoteReplyIgnored
    | NoteCloseNotifyMissing
    | NoteDataFailed
)
