"""What is counted, and the memory it is counted in, which all workers of a gateway share.

Each process counts in a row of its own and reads all of them, so there is no lock, and any worker can answer for all.
A worker that takes the place of a lost one goes on in its row: what was counted is never forgotten. A row is made of
cells (doubles) and of keys, which say whose each cell is. Labels are names of the configuration and words of closed
lists, never a peer's, so all series that there can be are known: each is there from the start, at 0, since an alert
compares with what was before. Those zeros are in no row, but made up when somebody asks; a row takes memory for what
was counted, and has room for all that the configuration makes possible. How a scraper sees it: admin.py.
"""

import itertools
import mmap
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ftpsproxy.observe.fields import (
    DATA_CAUSES,
    DIRECTIONS,
    LIMITS_OF_CLIENTS,
    LIMITS_OF_SESSIONS,
    OUTCOMES,
    SIDES,
    UPSTREAM_CAUSES,
)
from ftpsproxy.observe.labels import Labels, Names

# A row's room at the least, for some thousand pairs: settings read again may have many more than those of the start.
# What is not used takes no memory.
_CELLS, _KEY_BYTES = 1 << 18, 1 << 23
_KEY = struct.Struct("=II")  # the length of the text behind it, the first cell
# The first cells: how many bytes of keys there are, the next free cell, the process whose row it is.
_KEYS_END, _FREE, _PID, _FIRST = 0, 1, 2, 8
_SPILL = 64  # cells at the end, for what found no room


class TooManySeries(Exception):
    """There is no room to count all that the configuration makes possible; `str()` is one plain line."""


class Kind(Enum):
    """How a family's cells are to be read, and joined over the rows."""

    COUNTER = "counter"  # grows; summed
    GAUGE = "gauge"  # goes up and down with what a process has; summed, and lost with the process
    LATEST = "latest"  # a value and when it was set; the newest counts
    INFO = "info"  # always 1, for its labels; not counted
    HISTOGRAM = "histogram"  # how many in each bucket and beyond the last, then their sum; all summed


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Series of one name, told apart by their labels: first names of the configuration, `listener` and `upstream`, or
    `output`, then words of closed lists."""

    name: str
    kind: Kind
    text: str
    names: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What they are called."""
        return (*self.names, *self.words)

    def possible(self, names: Names) -> Iterator[Labels]:
        """All series that there can be with these names."""
        for named in names.of(self.names):
            for words in itertools.product(*self.words.values()):
                yield named + words

    def room(self, names: Names) -> tuple[int, int]:
        """How many cells those take, and how many bytes their keys."""
        named = names.of(self.names)
        endings = [sum(1 + len(word) for word in words) for words in itertools.product(*self.words.values())]
        beginnings = sum(_KEY.size + len(_key(self, one)) for one in named)
        return len(named) * len(endings) * self.width, beginnings * len(endings) + len(named) * sum(endings)

    @property
    def width(self) -> int:
        """Cells a series takes."""
        return {Kind.LATEST: 2, Kind.HISTOGRAM: len(self.buckets) + 2}.get(self.kind, 1)

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count."""
        row = _row
        row.cells[row.cell(self, labels)] += by

    def set(self, *labels: str, value: float) -> None:
        """Keep this value, of a family of kind LATEST."""
        row = _row
        cell = row.cell(self, labels)
        row.cells[cell], row.cells[cell + 1] = value, time.time()

    def forget(self, *labels: str) -> None:
        """There is no such value any more, of a family of kind LATEST."""
        row = _row
        row.cells[row.cell(self, labels) + 1] = 0.0

    def observe(self, *labels: str, value: float) -> None:
        """Count this value in its bucket."""
        row = _row
        cell = row.cell(self, labels)
        row.cells[cell + bisect_left(self.buckets, value)] += 1.0
        row.cells[cell + len(self.buckets) + 1] += value

    def meter(self, *labels: str) -> "Meter":
        """To count in often."""
        return Meter(_row.cells, _row.cell(self, labels))


class Meter:
    """One series of a counter."""

    __slots__ = ("_cell", "_cells")

    def __init__(self, cells: "memoryview[float]", cell: int) -> None:
        self._cells = cells
        self._cell = cell

    def add(self, number: int) -> None:
        """Count so many."""
        self._cells[self._cell] += number


def _key(family: Family, labels: Labels) -> bytes:
    return "\t".join((family.name, *labels)).encode("utf-8", "backslashreplace")


class Row:
    """The memory of one process: `cells` of them first, keys behind."""

    def __init__(self, memory: memoryview, cells: int) -> None:
        self.cells: memoryview[float] = memory[: cells * 8].cast("d")
        self._keys = memory[cells * 8 :]
        self._known: dict[tuple[Family, Labels], int] = {}
        self._read: list[tuple[Family, Labels, int]] = []
        self._read_to = 0

    def begin(self) -> None:
        """This process counts here from now on."""
        self.cells[_PID] = os.getpid()
        self.cells[_FREE] = self.cells[_FREE] or _FIRST
        self._known = {(family, labels): cell for family, labels, cell in self._series()}

    def end(self) -> None:
        """The process is gone, and what it had with it."""
        self.cells[_PID] = 0
        for family, _, cell in self._series():
            if family.kind is Kind.GAUGE:
                self.cells[cell] = 0.0

    @property
    def pid(self) -> int:
        """Of the process that counts here; 0 when there is none."""
        return int(self.cells[_PID])

    def cell(self, family: Family, labels: Labels) -> int:
        """The first cell of this series."""
        known = self._known.get((family, labels))
        return self._make(family, labels) if known is None else known

    def _make(self, family: Family, labels: Labels) -> int:
        at, cell = int(self.cells[_KEYS_END]), int(self.cells[_FREE])
        text = _key(family, labels)
        end, keys_end = cell + family.width, at + _KEY.size + len(text)
        if end > len(self.cells) - _SPILL or keys_end > len(self._keys):
            return len(self.cells) - _SPILL
        self._keys[at:keys_end] = _KEY.pack(len(text), cell) + text
        self.cells[_FREE] = end
        self.cells[_KEYS_END] = keys_end  # last: who reads meanwhile sees a whole key, or none
        self._known[family, labels] = cell
        return cell

    def _series(self) -> list[tuple[Family, Labels, int]]:
        """All there are; keys stay, so that each is read once."""
        end = int(self.cells[_KEYS_END])
        while self._read_to < end:
            length, cell = _KEY.unpack_from(self._keys, self._read_to)
            at = self._read_to + _KEY.size
            self._read_to = at + length
            name, *labels = bytes(self._keys[at : self._read_to]).decode().split("\t")
            self._read.append((FAMILIES[name], tuple(labels), cell))
        return self._read

    def values(self) -> Iterator[tuple[Family, Labels, list[float]]]:
        """All that was counted here."""
        for family, labels, cell in self._series():
            yield family, labels, list(self.cells[cell : cell + family.width])


class Table:
    """The rows of all processes; made before they are forked, with room for twice the series that these names make
    possible. `names` are those whose series are shown, whatever was counted."""

    def __init__(self, rows: int = 1, names: Names | None = None) -> None:
        self._ever = names or Names()
        cells, key_bytes = _room(self._ever)
        self._cells, self._key_bytes = max(_CELLS, 2 * cells), -(-max(_KEY_BYTES, 2 * key_bytes) // 8) * 8
        size = self._cells * 8 + self._key_bytes
        memory = memoryview(mmap.mmap(-1, rows * size))
        self.rows = [Row(memory[row * size : (row + 1) * size], self._cells) for row in range(rows)]
        self.began = time.time()
        self.names = Names()

    def know(self, names: Names) -> None:
        """There may be sessions of these from now on. Raises TooManySeries, with nothing changed: what was counted of
        others stays, and keeps its room."""
        ever = self._ever | names
        if ever == self._ever:
            return
        cells, key_bytes = _room(ever)
        if cells > self._cells - _FIRST - _SPILL or key_bytes > self._key_bytes:
            raise TooManySeries(
                f"no room to count for {len(ever.pairs)} pairs of listener and upstream since the start; "
                "start the gateway anew"
            )
        self._ever = ever

    def shown(self) -> Iterator[tuple[Family, Iterator[tuple[Labels, Sequence[float]]]]]:
        """What was counted, and 0 for what may be; for a reader that takes its time."""
        counted = self.collect()
        for family in FAMILIES.values():
            yield family, self._shown(family, counted.get(family, {}))

    def _shown(self, family: Family, counted: dict[Labels, list[float]]) -> Iterator[tuple[Labels, Sequence[float]]]:
        if family.kind is not Kind.LATEST:  # a value that was never set is none
            zeros = (0.0,) * family.width
            for labels in family.possible(self.names):
                yield labels, counted.pop(labels, zeros)
        yield from counted.items()

    def sum(self, wanted: Family) -> int:
        """Of all series of this family, a gauge or a counter, in all processes."""
        values = (values[0] for row in self.rows for family, _, values in row.values() if family is wanted)
        return int(sum(values))

    def collect(self) -> dict[Family, dict[Labels, list[float]]]:
        """What was counted by all processes together."""
        found: dict[Family, dict[Labels, list[float]]] = {}
        for row in self.rows:
            for family, labels, values in row.values():
                series = found.setdefault(family, {})
                before = series.get(labels)
                if before is None:
                    series[labels] = values
                elif family.kind is not Kind.LATEST:
                    series[labels] = [one + other for one, other in zip(before, values, strict=True)]
                elif values[1] > before[1]:
                    series[labels] = values
        for family, series in found.items():
            if family.kind is Kind.LATEST:
                found[family] = {labels: values for labels, values in series.items() if values[1]}
        return found


def _room(names: Names) -> tuple[int, int]:
    """Cells, and bytes of keys, of all series that there can be."""
    cells, key_bytes = zip(*(family.room(names) for family in FAMILIES.values()), strict=True)
    return sum(cells), sum(key_bytes)


def count_in(table: Table, row: int = 0) -> None:
    """Have this process count in this row."""
    global _row
    _row = table.rows[row]
    _row.begin()


# --- the families -----------------------------------------------------------------------------------------------------

FAMILIES: dict[str, Family] = {}


def _family(
    name: str,
    kind: Kind,
    text: str,
    names: tuple[str, ...] = (),
    buckets: tuple[float, ...] = (),
    **words: tuple[str, ...],
) -> Family:
    family = Family(f"ftpsproxy_{name}", kind, text, names, words, buckets)
    FAMILIES[family.name] = family
    return family


_SESSION = ("listener", "upstream")
OK, REFUSED, FAILED = "ok", "refused", "failed"
YES, NO = "yes", "no"

SESSIONS_OPEN = _family("sessions_open", Kind.GAUGE, "Sessions there are.", _SESSION)
SESSIONS_WAITING = _family(
    "sessions_waiting", Kind.GAUGE, "Clients that wait for a place at the server.", ("upstream",)
)
SESSIONS = _family("sessions", Kind.COUNTER, "Sessions begun.", _SESSION)
SESSIONS_REFUSED = _family(
    "sessions_refused",
    Kind.COUNTER,
    "Clients turned away before they had a session.",
    ("listener",),
    limit=LIMITS_OF_CLIENTS,
)
SESSIONS_CRASHED = _family("sessions_crashed", Kind.COUNTER, "Sessions ended by a defect of the gateway.", _SESSION)
LIMITS = _family("session_limits", Kind.COUNTER, "Limits met in a session.", _SESSION, limit=LIMITS_OF_SESSIONS)
LOGINS = _family("logins", Kind.COUNTER, "The server's verdicts on logins.", _SESSION, result=(OK, REFUSED))
TRANSFERS_OPEN = _family("transfers_open", Kind.GAUGE, "Transfers under way.", _SESSION)
TRANSFERS = _family(
    "transfers",
    Kind.COUNTER,
    "Transfers ended: complete, torn, aborted.",
    _SESSION,
    direction=DIRECTIONS,
    outcome=OUTCOMES,
)
TRANSFER_BYTES = _family(
    "transfer_bytes", Kind.COUNTER, "Bytes of files and listings that have passed.", _SESSION, direction=DIRECTIONS
)
TRANSFER_SECONDS = _family(
    "transfer_seconds",
    Kind.HISTOGRAM,
    "How long transfers took.",
    _SESSION,
    (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0),
    direction=DIRECTIONS,
)
DATA_CONNECTIONS = _family(
    "data_connections",
    Kind.COUNTER,
    "TLS of data connections, by whether it resumed a session.",
    ("upstream",),
    resumed=(YES, NO),
)
UPSTREAM_SECONDS = _family(
    "upstream_handshake_seconds",
    Kind.HISTOGRAM,
    "How long TLS of control connections took.",
    ("upstream",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
)
UPSTREAM_FAILURES = _family(
    "upstream_failures", Kind.COUNTER, "No secure session with the server.", _SESSION, reason=UPSTREAM_CAUSES
)
DATA_FAILURES = _family(
    "data_failures",
    Kind.COUNTER,
    "Data connections that failed, before their transfer or in it, by side and cause.",
    _SESSION,
    side=SIDES,
    cause=DATA_CAUSES,
)
DATA_CONTESTED = _family("data_contested", Kind.COUNTER, "Transfers for which more than one data connection came.")
CLOSE_NOTIFY_MISSING = _family(
    "close_notify_missing", Kind.COUNTER, "Listings taken for whole that ended without close_notify.", _SESSION
)
UPSTREAM_REUSE_REFUSED = _family(
    "upstream_session_reuse_refused", Kind.COUNTER, "Data connections refused for want of a resumed session.", _SESSION
)
UPSTREAM_EXPIRY = _family(
    "upstream_certificate_expiry_timestamp_seconds",
    Kind.LATEST,
    "When the certificate that the server last showed expires.",
    ("upstream",),
)
STARVED = _family("starved", Kind.COUNTER, "Times the system gave no descriptors or memory for connections.")
WORKERS_LOST = _family("workers_lost", Kind.COUNTER, "Worker processes that ended unasked.")
CPU_OF_LOST = _family("lost_workers_cpu_seconds", Kind.COUNTER, "User and system CPU time of workers that have ended.")
RELOADS = _family("reloads", Kind.COUNTER, "Times the configuration was read again.", result=(OK, FAILED))
REPLACEMENTS = _family(
    "replacements",
    Kind.COUNTER,
    "Times a new process was to take the place of the one before.",
    result=(OK, FAILED),
)
CONFIG_LOADED = _family("config_loaded_timestamp_seconds", Kind.LATEST, "When the configuration in use was read.")
LOG_LINES_LOST = _family("log_lines_lost", Kind.COUNTER, "Lines of the log that could not be written.")
LOG_OUTPUT_LINES_LOST = _family(
    "log_output_lines_lost", Kind.COUNTER, "Lines that one of several outputs of the log has lost.", ("output",)
)

_row = Table().rows[0]
_row.begin()
