"""What the protocol machine is told."""

from dataclasses import dataclass

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.replies import Reply


@dataclass(frozen=True, slots=True)
class Accepted:
    """A client has come. To be told first of all."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """There is no place at the server for this session: the limit it met, and plain words for the client."""

    limit: str
    text: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The server's control connection is up, and its TLS where that comes first. `peer` is the server's address."""

    peer: str


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS is up on the server's control connection, its certificate verified."""


@dataclass(frozen=True, slots=True)
class ClientSaid:
    """A command of the client's."""

    command: Command


@dataclass(frozen=True, slots=True)
class ClientErred:
    """The client sent a line that is no command; `why` is fit for a reply."""

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
class EndpointsUnused:
    """What was prepared waits too long for its transfer. `absent`: the client has not come to its passive port; perhaps
    somebody `came_from` another address."""

    absent: bool
    came_from: str = ""


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
class EndpointFailed:
    """A data connection could not be prepared; `port` is the one it was to go to."""

    why: str
    cause: Cause
    port: int | None = None


@dataclass(frozen=True, slots=True)
class RelayFinished:
    """The bytes of transfer `number` have ended: well (`ok`), or torn, with the reply code that fits and the reason;
    `by_server`: it has broken off what stood.

    `unproved`: so many bytes have come, and no close_notify behind them; whether that is all of it is yet to be proved,
    once the server says that it went well. Where there was no TLS at all it is torn until then.
    `left_out`: so many lines of a listing the client did not get, as its charset has no letters for the names in them.
    """

    number: int
    ok: bool
    code: int = 226
    why: str = ""
    unproved: int | None = None
    by_server: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class TransferClosed:
    """Transfer `number`, ordered to end whole, is closed; `why`, if its client had broken its connection before."""

    number: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """What `Protocol.waiting` says has lasted too long; or, with `login`, the client has not logged in."""

    login: bool = False


@dataclass(frozen=True, slots=True)
class ClientLost:
    """The client's control connection is gone. `data_left`: it had opened an upload's data connection, whose end tells
    whether the client was done; RelayFinished will say so."""

    why: str
    data_left: bool = False


@dataclass(frozen=True, slots=True)
class ServerRefused:
    """There will be no session with this server: a machine word for the log, plain words for the client, and what the
    log is to say of the certificate shown."""

    reason: str
    detail: str
    shown: tuple[tuple[str, object], ...] = ()


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
    Accepted
    | TurnedAway
    | Connected
    | Secured
    | ClientSaid
    | ClientErred
    | ServerSaid
    | ServerSaidLines
    | DataSpoke
    | EndpointsUnused
    | ClientListening
    | ServerListening
    | ServerDataReady
    | EndpointFailed
    | RelayFinished
    | TransferClosed
    | TimedOut
    | ClientLost
    | ServerRefused
    | ServerLost
    | Stopped
)
