"""What a relay is given, counts and raises.

The contract: bytes identical; others get their turn at least every MiB; bytes are counted as they go; a download that
ends without close_notify is reported, one cut inside a record fails; an upload ends with close_notify, then FIN, and
goes on reading; a reset on either side is an error, and an end only where the policy, or the data itself, says so;
cancelling stops at once.
"""

import hashlib
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from ftpsproxy.ftp.blocks import Blocks
from ftpsproxy.ftp.charsets import AS_THEY_ARE, Charsets
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.observe.metrics import Meter


class RelayError(Exception):
    """The bytes stopped, or never began: the reply code that fits, one line of reason, whose connection it was, the
    cause; and who came instead of those who were expected."""

    def __init__(self, code: int, why: str, side: Side, cause: Cause, came_from: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.side = side
        self.cause = cause
        self.came_from = came_from


# Tickets, new keys: a few bytes. More than this at a stretch in a download, or in all of an upload, is an attack.
_MOST_ASIDES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TransferPolicy:
    """How long each side may let the other wait, in seconds; what to make of a missing close_notify; whether to keep a
    SHA-256 of each file; how many bytes a file may have, 0 for any number; by which charsets
    listings are translated."""

    client_stall: float
    server_stall: float
    handshake: float
    data_connect: float
    linger: float
    close_notify: str = "prove"
    digest: bool = False
    max_file_bytes: int = 0
    charsets: Charsets = AS_THEY_ARE


@dataclass(slots=True)
class Flow:
    """What has passed so far; `asides` are bytes of TLS beside the data. `close_notify` is None until the server's side
    has ended; `blocks` are for MODE B; `ended_in_band` once the server has said 2xx to a file whose connection stays
    open. `first_at` is when the first byte passed, by the monotonic clock; no more than `most` may.
    `left_out` counts lines of a listing that the client did not get.
    """

    bytes: int = 0
    close_notify: bool | None = None
    digest: Any = field(default=None)
    blocks: Blocks | None = None
    meter: Meter | None = None
    ended_in_band: bool = False
    asides: int = 0
    first_at: float | None = None
    left_out: int = 0
    most: int = sys.maxsize
    _too_large: RelayError | None = None

    def note_aside(self, size: int) -> None:
        """So much has come of TLS that was no data. Raises RelayError when there is no end to it."""
        self.asides += size
        if self.asides > _MOST_ASIDES:
            raise RelayError(426, f"the server sent {self.asides} bytes of TLS that were no data", "server", Cause.TLS)

    def count(self, data: memoryview) -> None:
        """These bytes have come, and are to pass. Raises RelayError where they make the file too large."""
        if self.first_at is None:
            self.first_at = time.monotonic()
        self.bytes += len(data)
        if self.bytes > self.most and self._too_large is not None:
            raise self._too_large
        if self.meter is not None:
            self.meter.add(len(data))
        if self.digest is not None:
            self.digest.update(data)
        if self.blocks is not None:
            self.blocks.feed(data)

    @property
    def at_end(self) -> bool:
        """Whether the data itself has said that it is whole: MODE B ends a file by a block, MODE C in its way."""
        return self.ended_in_band or (self.blocks is not None and self.blocks.ended)

    def bound(self, most: int, offset: int, by: Side) -> None:
        """The file may have so many bytes, of which so many are there already; this side sends it."""
        self.most = max(0, most - offset)
        why = f"the file has more than {most} bytes, which is not allowed here (max_file_bytes)"
        self._too_large = RelayError(552, why, by, Cause.TOO_LARGE)

    def start_digest(self) -> None:
        """Keep a SHA-256 of what passes."""
        self.digest = hashlib.sha256()
