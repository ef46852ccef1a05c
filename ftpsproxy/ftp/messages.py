"""What the protocol machine is told (events), what it wants done (orders), and what it waits for."""

import enum
from dataclasses import dataclass
from typing import Literal

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Command, Direction
from ftpsproxy.ftp.replies import Reply

Outcome = Literal["complete", "torn", "aborted"]


class Waiting(enum.Enum):
    """What kind of waiting this is; the session has a deadline for each."""

    OPENING = "opening"  # for the server, before its TLS and PROT P stand
    LOGIN = "login"  # for a client that has not logged in
    CLIENT = "client"  # for the next command
    REPLY = "reply"  # for the server's reply to a command
    START = "start"  # the same, where it may have to fetch a tape, or to read a whole file
    CONNECTION = "connection"  # for a data connection to stand; whoever connects keeps the time
    DATA = "data"  # for the bytes of a transfer; the transfer keeps its own time
    VERDICT = "verdict"  # for the final reply, behind the data
    TORN = "torn"  # for the final reply to a transfer that is known to have failed
    ABORT = "abort"  # for the replies to ABOR
    NOTHING = "nothing"  # the session is over


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The server's control connection is up, and its TLS where that comes first. `peer` is the server's address."""

    peer: str


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS is up on the server's control connection, its certificate verified."""


@dataclass(frozen=True, slots=True)
class ClientSaid:
    """A line of the client's, without its ending."""

    line: bytes


@dataclass(frozen=True, slots=True)
class ClientErred:
    """The client sent a line that can't be read; `why` is fit for a reply."""

    why: str


@dataclass(frozen=True, slots=True)
class ServerSaid:
    """A reply of the server's. `read` counts the reads of its connection: what was there before a command had gone out
    is no answer to it."""

    reply: Reply
    read: int | None = None


@dataclass(frozen=True, slots=True)
class ServerSaidLines:
    """Lines of a reply of the server's that has several, and is not over; ServerSaid will have them all."""

    code: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DataUnused:
    """What was prepared waits too long for its transfer. `absent`: the client has not come to its passive port."""

    absent: bool


@dataclass(frozen=True, slots=True)
class DataSpoke:
    """The server has spoken on the prepared data connection: it answers TLS there, so the command is a transfer."""


@dataclass(frozen=True, slots=True)
class ClientListening:
    """The gateway listens at `endpoint` for the client's data connection."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ServerListening:
    """The gateway listens at `endpoint` for the server's data connection."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ServerDataReady:
    """The data connection to the server's passive port is up (TCP only)."""


@dataclass(frozen=True, slots=True)
class DataFailed:
    """A data connection could not be prepared."""

    why: str


@dataclass(frozen=True, slots=True)
class DataEnded:
    """The bytes of transfer `number` have ended: well (`ok`), or torn, with the reply code that fits and the reason.

    `unproved`: so many bytes have come, and no close_notify behind them; whether that is all of it is yet to be proved,
    once the server says that it went well. Where there was no TLS at all it is torn until then.
    """

    number: int
    ok: bool
    code: int = 226
    why: str = ""
    unproved: int | None = None


@dataclass(frozen=True, slots=True)
class DataClosed:
    """Transfer `number`, ordered to end whole, is closed; `why`, if its client had broken its connection before."""

    number: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """What `Protocol.waiting` says has lasted too long."""


@dataclass(frozen=True, slots=True)
class ClientLost:
    """The client's control connection is gone. `data_left`: it had opened an upload's data connection, whose end tells
    whether the client was done; DataEnded will say so."""

    why: str
    data_left: bool = False


@dataclass(frozen=True, slots=True)
class ServerRefused:
    """There will be no session with this server: a machine word for the log, plain words for the client."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ServerLost:
    """The server's control connection is gone, or of no use any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The gateway ends this session; the client hears `why` (one line). `now`: whatever is still being said."""

    why: str
    now: bool = False


Event = (
    Connected
    | Secured
    | ClientSaid
    | ClientErred
    | ServerSaid
    | ServerSaidLines
    | DataSpoke
    | DataUnused
    | ClientListening
    | ServerListening
    | ServerDataReady
    | DataFailed
    | DataEnded
    | DataClosed
    | TimedOut
    | ClientLost
    | ServerRefused
    | ServerLost
    | Stopped
)

# --- orders -----------------------------------------------------------------------------------------------------------


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
    """Send these bytes, one whole command, to the server. `transfers`: it asks for a transfer over prepared ends, so
    that the server's may be greeted by TLS at once."""

    data: bytes
    transfers: Direction | None = None


@dataclass(frozen=True, slots=True)
class StartTls:
    """Start TLS with the server now; nothing it said before may be left over."""


@dataclass(frozen=True, slots=True)
class ListenForClient:
    """Listen for the client's data connection; answered by ClientListening or DataFailed."""


@dataclass(frozen=True, slots=True)
class ConnectToClient:
    """Remember where the client listens; connect once a transfer begins."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ConnectToServer:
    """Connect to this port of the control connection's peer; answered by ServerDataReady or DataFailed."""

    port: int
    mode: str


@dataclass(frozen=True, slots=True)
class ListenForServer:
    """Listen for the server's data connection; answered by ServerListening or DataFailed."""

    mode: str


@dataclass(frozen=True, slots=True)
class ListenToData:
    """Find out whether the server speaks on the prepared data connection; answered by DataSpoke, if ever."""


@dataclass(frozen=True, slots=True)
class LeaveData:
    """Listen no more; what was prepared stays as it is."""


@dataclass(frozen=True, slots=True)
class DropData:
    """Forget the data connections prepared so far."""


@dataclass(frozen=True, slots=True)
class DropServerEnd:
    """Forget the server's end only. `refused`: so was what the client's was for; it may use that once more for the next
    transfer, by the same connection or a new one."""

    refused: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer: its number in the session, from 1, the command that asked for it, and the MODE it is in."""

    number: int
    verb: bytes
    path: str
    direction: Direction
    mode: bytes = b"S"

    @property
    def ends_in_band(self) -> bool:
        """Whether the end of the file stands in its data (RFC 959: MODE B, C): the connection may outlive it."""
        return self.mode in (b"B", b"C")


@dataclass(frozen=True, slots=True)
class BeginData:
    """Move the bytes of this transfer over the prepared connections; answered by DataEnded."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class EndData:
    """Close transfer `number`: so that the client sees a whole file, or so that both sides see a torn one.

    A `whole` one is answered by DataClosed: only at its close is it known whether the client has not broken it.
    `code` is the reply the client hears, 0 when there is no one to hear it.
    """

    number: int
    whole: bool
    code: int
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class EndInBand:
    """The server has said 2xx to transfer `number`, whose end stands in its data: its connection need not close."""

    number: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close both control connections, after what was told has been sent."""

    why: str


@dataclass(frozen=True, slots=True)
class NoteLogin:
    """For the log: the server has answered a login."""

    user: str
    ok: bool
    code: int


@dataclass(frozen=True, slots=True)
class NoteRefused:
    """For the log: the upstream can't be used, a machine word and plain words."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class NoteAddress:
    """For the log: a reply named another host than the one the control connection goes to."""

    host: str


@dataclass(frozen=True, slots=True)
class NoteReuse:
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
class NoteCommand:
    """For the log: a command was refused here; `verb` is empty for a line that is no command."""

    verb: str
    why: str


@dataclass(frozen=True, slots=True)
class NoteNoTransfer:
    """For the log: the server has refused a transfer before there was any."""

    command: Command
    reply: Reply


@dataclass(frozen=True, slots=True)
class NoteReply:
    """For the log: a reply of the server's that the client did not hear."""

    reply: str
    why: str


@dataclass(frozen=True, slots=True)
class NoteUnproved:
    """For the log: a listing has ended without close_notify, and is taken for whole."""

    verb: str


@dataclass(frozen=True, slots=True)
class NoteData:
    """For the log: a data connection could not be prepared; `side` is client or server, `mode` the command used."""

    side: str
    mode: str
    why: str


Order = (
    TellClient
    | TellLines
    | TellStatus
    | TellServer
    | StartTls
    | ListenForClient
    | ConnectToClient
    | ConnectToServer
    | ListenForServer
    | ListenToData
    | LeaveData
    | DropData
    | DropServerEnd
    | BeginData
    | EndData
    | EndInBand
    | HangUp
    | NoteLogin
    | NoteRefused
    | NoteAddress
    | NoteReuse
    | NoteLimit
    | NoteForeign
    | NoteCommand
    | NoteNoTransfer
    | NoteReply
    | NoteUnproved
    | NoteData
)
