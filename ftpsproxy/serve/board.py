"""Where the processes of a gateway show each other what they are doing, while somebody looks; and what was counted in
each minute of the last hours. In memory they share; made before they are forked.

Each process writes a row of its own: a JSON text, and when. Who reads takes it only whole. Nobody writes where nobody
has asked within the last seconds, and memory that nobody has written takes none.
"""

import json
import mmap
import struct
import time
from collections.abc import Sequence
from typing import Any

MINUTES = 360
COUNTED = 4
"""How many numbers are kept of each minute, beside which it is."""

_ROW_BYTES = 256 * 1024
_HEAD = struct.Struct("=QQd")  # how often it was begun or finished, the length of the text, when it was written
_MINUTE = struct.Struct(f"={1 + COUNTED}d")
_ASKED = struct.Struct("=d")
_WATCHED_SECONDS = 10.0
_READS = 3


class Board:
    """A row for each worker, and, where there are several, one for their parent behind them. Times are
    CLOCK_MONOTONIC's, one for all of them."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        rows = workers + 1 if workers > 1 else 1
        self._own = 0
        self._memory = memoryview(mmap.mmap(-1, rows * _ROW_BYTES))
        self._minutes = memoryview(mmap.mmap(-1, _ASKED.size + MINUTES * _MINUTE.size))

    def serve(self, row: int) -> None:
        """This process writes that row from now on."""
        self._own = row

    def ask(self) -> None:
        """Somebody looks."""
        _ASKED.pack_into(self._minutes, 0, time.monotonic())

    @property
    def watched(self) -> bool:
        """Whether somebody has looked lately."""
        (asked,) = _ASKED.unpack_from(self._minutes, 0)
        return bool(asked) and time.monotonic() - asked < _WATCHED_SECONDS

    def show(self, what: dict[str, Any]) -> bool:
        """Write it in the row of this process → whether it fits."""
        text = json.dumps(what, separators=(",", ":")).encode()
        if len(text) > _ROW_BYTES - _HEAD.size:
            return False
        row = self._memory[self._own * _ROW_BYTES : (self._own + 1) * _ROW_BYTES]
        turn = _HEAD.unpack_from(row)[0] | 1
        _HEAD.pack_into(row, 0, turn, 0, 0.0)  # odd: it is being written
        row[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(row, 0, turn + 1, len(text), time.monotonic())
        return True

    def age(self, row: int) -> float:
        """How many seconds ago this row was written."""
        written: float = _HEAD.unpack_from(self._memory, row * _ROW_BYTES)[2]
        return time.monotonic() - written

    def read(self, row: int) -> dict[str, Any] | None:
        """What stands in a row; None for nothing, or nothing whole."""
        memory = self._memory[row * _ROW_BYTES : (row + 1) * _ROW_BYTES]
        for _ in range(_READS):
            head = turn, length, written = _HEAD.unpack_from(memory)
            text = bytes(memory[_HEAD.size : _HEAD.size + min(length, _ROW_BYTES)])
            if written and turn % 2 == 0 and _HEAD.unpack_from(memory) == head:
                found: dict[str, Any] = json.loads(text)
                return found
        return None

    def note_minute(self, minute: int, counted: Sequence[float]) -> None:
        """What was counted in all until this minute (since 1970). All processes say the same."""
        place = _ASKED.size + minute % MINUTES * _MINUTE.size
        _MINUTE.pack_into(self._minutes, place, minute, *counted)

    def minutes(self) -> list[tuple[float, ...]]:
        """Those of the last hours, the oldest first: the minute, and what had been counted until then."""
        found = [_MINUTE.unpack_from(self._minutes, _ASKED.size + at * _MINUTE.size) for at in range(MINUTES)]
        oldest = time.time() // 60 - MINUTES
        return sorted(one for one in found if one[0] > oldest)
