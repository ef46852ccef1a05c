"""The language the devices are written in: one frozen value a device, a list of steps, no code.

Words in what is said: ``{user}`` ``{password}``; ``{name}``, a name no other test uses; ``{address}``, where the device
listens, as PORT has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reading(Enum):
    """How a device reads one reply."""

    BY_CODE = "by code"  # RFC 959: to the line that begins with the first line's code and no hyphen
    ANY_CODE = "any code"  # to the first line that begins with a digit and has no hyphen in column 4
    LINE = "line"  # to the first line with a digit in column 1 and a blank in column 4, whatever came before
    ONE_RECEIVE = "one receive"  # what one recv() brings is the reply, more lines or half a line or not


class Finds(Enum):
    """How a device finds the port in the reply to PASV or EPSV."""

    SCANF = "sscanf behind the first ("
    SCANF_CLOSED = "as SCANF, and ) must follow the sixth number"
    STRTOK = 'strtok with "(,", the first token thrown away'
    FIRST_DIGIT = "from the first digit behind column 4 to ) or CR"
    SIX_NUMBERS = "a regular expression for six numbers with commas"
    LAST_TWO = "split at blank ( , ): the last two numbers, each below 256"
    BRACKETS = "what stands between ( and ), split at commas"
    FROM_BEHIND = "from the end: the last | or the last two commas"


class Known(Enum):
    """Where a device's behaviour is known from."""

    SOURCE = "source"  # its source text is public and was read
    LOG = "log"  # a server's log, or a report of what was seen of it
    DOCUMENTATION = "documentation"  # what the vendor says; what it does not say has the plainest form


@dataclass(frozen=True, slots=True)
class Say:
    """Bytes on the control connection; each part is a segment of its own."""

    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Expect:
    """Read one reply; it must begin with one of these, compared as the device does: ``b"2"``, ``b"226"``, ``b"226 "``.

    No prefix at all: whatever comes is fine.
    """

    prefixes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Unless:
    """These steps, unless the last reply began so."""

    prefix: bytes
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the data connection to the port of the last reply."""

    finds: Finds
    host_of_reply: bool = False  # also the host the reply names; otherwise the control connection's


@dataclass(frozen=True, slots=True)
class Listen:
    """Take a port for the data connection; ``later`` only reserves it, and `Open` listens."""

    later: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Listen at the port reserved."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Wait for the data connection."""


@dataclass(frozen=True, slots=True)
class AcceptFirst:
    """Wait for data and control connection at once; a word on control alone is the transfer's end to this device."""


@dataclass(frozen=True, slots=True)
class AcceptAndExpect:
    """Wait for the data connection and the reply, in the order in which they come."""

    prefixes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes ``first`` to ``last`` of the device's file, so many in each write, a pause (shortened) between two."""

    first: int = 0
    last: int | None = None
    chunk: int = 1 << 20
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Receive:
    """Read the data connection to its end: the device's file, or a listing that holds ``{name}``."""

    listing: bool = False


@dataclass(frozen=True, slots=True)
class ReceiveSome:
    """So many bytes of a download that is about to be aborted."""

    size: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Read and forget what the data connection still brings, however it ends."""


@dataclass(frozen=True, slots=True)
class CloseData:
    """Close the data connection, as close(2) does."""


@dataclass(frozen=True, slots=True)
class Synch:
    """Telnet IP, IAC as urgent byte, then DM and this line in one segment: how BSD's ftp aborts."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds of silence, shortened."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the control connection without another word, read or not."""


@dataclass(frozen=True, slots=True)
class Redial:
    """A new session; the old one is closed first if it still stands."""


@dataclass(frozen=True, slots=True)
class ReadToEnd:
    """Read all the gateway says until it closes; it must hold these words, in this order."""

    words: tuple[bytes, ...]


Step = (
    Say
    | Expect
    | Unless
    | Connect
    | Listen
    | Open
    | Accept
    | AcceptFirst
    | AcceptAndExpect
    | Send
    | Receive
    | ReceiveSome
    | Drain
    | CloseData
    | Synch
    | Pause
    | HangUp
    | Redial
    | ReadToEnd
)


@dataclass(frozen=True, slots=True)
class Device:
    """What a device does from its first byte to its last."""

    name: str
    does: str
    known: Known
    source: str
    steps: tuple[Step, ...]
    reading: Reading = Reading.BY_CODE
    keeps: int = 65536  # bytes of a reply the device has room for
    size: int = 20_011  # bytes of its file
    window: int | None = None  # bytes of a data connection that the device's TCP takes before its program reads
    lands: tuple[bytes, ...] = (b"{name}",)  # where its uploads are at the end, below the server's root
    fetches: bytes = b""  # the file it downloads
    cannot: frozenset[str] = frozenset()  # servers that it can't deal with: of `awkward`; pyftpdlib, without a gateway
    folders: tuple[bytes, ...] = ()  # what somebody has made for it at the server
    aborts: int = 0  # transfers it breaks off with ABOR
    quits: bool = True  # says QUIT; otherwise it is just gone


def say(*parts: bytes) -> Say:
    """A command in one segment, or in as many as there are parts."""
    return Say(parts)


def expect(*prefixes: bytes) -> Expect:
    """One of these at the reply's beginning; none: whatever it says."""
    return Expect(prefixes)


def ask(line: bytes, *prefixes: bytes, end: bytes = b"\r\n") -> tuple[Step, ...]:
    """A command in one segment and its reply."""
    return (Say((line + end,)), Expect(prefixes))
