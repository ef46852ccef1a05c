"""How a line looks for people: columns that stand below each other, colour for the outcome alone.

    22:28:50 ✓ ↑ daily/scan.pdf       300 kB   2.5 s 119 kB/s  tester@partner  TLS 1.3 resumed  10.0.0.7

A terminal that is too narrow loses columns from the right, then the beginning of the name; why something has failed it
loses last. What a peer has said can neither end a line, nor steer a terminal, nor pass for another column.
"""

import re
import unicodedata
from enum import StrEnum
from typing import NamedTuple

from ftpsproxy import errors


class Mark(StrEnum):
    """How it has ended. The values are what is shown."""

    DONE = "✓"
    FAILED = "✗"
    ODD = "!"
    SAID = "·"


class Row(NamedTuple):  # made for each line of a log that is read: a frozen dataclass takes four times as long
    """One event. `name` is the file, or the event in words, both fit for a terminal (`quoted`, `prose`); `figures` are
    size, time and rate of a transfer; `note` is why, or what is remarkable."""

    time: str
    mark: Mark
    name: str
    arrow: str = " "
    figures: tuple[str, str, str] | None = None
    who: str = ""
    tls: str = ""
    client: str = ""
    note: str = ""


_DONE = Mark.DONE.value
_TIME = 8
_HEAD = 13  # 22:28:50 ✓ ↑
_FIGURES = 27
_COLUMNS = (18, 15, 15)  # who, tls, client
_GAP = 2
_NAME, _SHORTEST_NAME, _LONGEST_NAME = 32, 20, 56
_MOST_FOR_NOTE = 32
_COLOURS = {Mark.DONE: "\x1b[32m", Mark.FAILED: "\x1b[31m", Mark.ODD: "\x1b[33m", Mark.SAID: ""}
_NARROW = str.maketrans("↑↓→·", "    ")  # of ours, one cell each
_UNITS = ("B", "kB", "MB", "GB", "TB")
_PLAIN = "\x1b[0m"

bare = re.compile(r"[A-Za-z0-9._:/@+,~%()\[\]-]+").fullmatch
"""Whether it is one plain word."""


def shown(row: Row, *, width: int | None = None, colour: bool = False) -> str:
    """The line, in at most `width` cells; None: as long as it is."""
    if width is None and not colour and (text := _plain(row)) is not None:
        return text
    name_width, kept = _plan(width)
    rest = _rest(row, name_width, kept, width)
    head = f"{cut(row.time, _TIME):<8} "
    if width is not None:
        rest = cut(rest, width - len("22:28:50 ✓ "))
    if colour and (code := _COLOURS[row.mark]):
        if row.mark is Mark.FAILED and row.note and rest.endswith(row.note):
            rest = f"{rest[: -len(row.note)]}{code}{row.note}{_PLAIN}"
        return f"{head}{code}{row.mark}{_PLAIN} {rest}"
    return f"{head}{row.mark} {rest}"


def _plain(row: Row) -> str | None:
    """The same as by the functions below, and faster, for whoever reads a long log; None: not for this one, as parts of
    it may be wider or narrower than they are long."""
    time, mark, name, arrow, figures, who, tls, client, note = row
    if figures is None:
        columns = f"{name:<59}  {who:<18}  {tls:<15}  {client:<15}"
    else:
        size, took, rate = figures
        columns = f"{name:<32} {size:>7} {took:>8} {rate:>9}  {who:<18}  {tls:<15}  {client:<15}"
    if len(time) > _TIME or not (columns.isascii() or columns.translate(_NARROW).isascii()):
        return None
    return f"{time:<8} {mark} {arrow} {columns}  {note}".rstrip()


def usual(time: str, arrow: str, name: str, moved: int, seconds: float) -> str:
    """The same of a file that has become whole, up to its columns (`usual_columns`): nothing in it needs a quote, and
    all of it is as wide as it is long."""
    took = duration(seconds)
    return f"{time} {_DONE} {arrow} {name:<32} {size(moved):>7} {took:>8} {rate(moved, seconds):>9}"


def usual_columns(who: str, tls: str, client: str) -> str | None:
    """What stands behind that, with the end of the line; None: not for these."""
    columns = f"  {who:<18}  {tls:<15}  {client}\n"
    return columns if client and columns.isascii() else None


def _plan(width: int | None) -> tuple[int, int]:
    """How wide the name is, and how many of the columns behind it there is room for."""
    if width is None:
        return _NAME, len(_COLUMNS)
    for kept in range(len(_COLUMNS), -1, -1):
        left = width - _used(0, kept)
        if left >= _SHORTEST_NAME or kept == 0:
            return max(0, min(left, _LONGEST_NAME)), kept
    raise AssertionError


def _rest(row: Row, name_width: int, kept: int, width: int | None) -> str:
    """All behind the mark."""
    columns, figures, name, note = (row.who, row.tls, row.client)[:kept], row.figures, row.name, row.note
    if width is not None and note:
        wanted = min(cells(note), _MOST_FOR_NOTE) + _GAP
        while columns and _used(name_width, len(columns)) + wanted > width:
            columns = columns[:-1]
        if figures is not None and _used(name_width, 0) + wanted > width:
            figures = None
    room = name_width if row.figures is not None else name_width + _FIGURES
    if width is not None:
        name = cut(name, room) if row.figures is None else cut_front(name, room)
    parts = [f"{row.arrow} {padded(name, room)}"]
    if figures is not None:
        parts[0] += f" {figures[0]:>7} {figures[1]:>8} {figures[2]:>9}"
    parts += [padded(text, wide) for text, wide in zip(columns, _COLUMNS, strict=False)]
    if note:
        parts.append(note)
    return "  ".join(parts).rstrip()


def _used(name_width: int, columns: int) -> int:
    """So many columns included."""
    return _HEAD + name_width + _FIGURES + sum(_COLUMNS[:columns]) + _GAP * columns


# --- text -----------------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """A word of somebody else's: in quotes unless it is one plain word, with all that does not print escaped."""
    if bare(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{errors.printable(text)}"'


def prose(text: str) -> str:
    """A sentence, which may have somebody else's words in it: one blank at a time, so that none of it is a column."""
    return errors.printable(" ".join(text.split()))


def cells(text: str) -> int:
    """How wide a terminal shows it."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def padded(text: str, width: int) -> str:
    """Blanks behind it, up to the column's width."""
    return text.ljust(width) if text.isascii() else text + " " * (width - cells(text))


def cut(text: str, width: int) -> str:
    """As much of its beginning as there is room for."""
    if cells(text) <= width:
        return text
    kept, used = [], 1  # the sign for what is missing
    for char in text:
        used += _cells(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def cut_front(text: str, width: int) -> str:
    """As much of its end as there is room for: of a path that says most."""
    return text if cells(text) <= width else cut(text[::-1], width)[::-1]


def count(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size(number: float) -> str:
    """Of bytes: `300 kB`, in thousands."""
    if number < 999.5:
        return f"{number:.0f} B"
    unit = 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:.1f} {_UNITS[unit]}" if number < 9.95 else f"{number:.0f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """`34 ms`, `2.5 s`, `3 m 05 s`, `2 h 10 m`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def rate(number: float, seconds: float) -> str:
    """Bytes a second; nothing where no time has passed."""
    return f"{size(number / seconds)}/s" if seconds > 0 and number else ""
