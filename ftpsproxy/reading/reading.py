"""A log as it is asked for: lines in, the text of a view out."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from ftpsproxy import errors
from ftpsproxy.observe import rows
from ftpsproxy.reading.choosing import Choice
from ftpsproxy.reading.decoding import Decoder
from ftpsproxy.reading.sessions import WITHOUT_USER, Sessions
from ftpsproxy.reading.totals import Totals, told
from ftpsproxy.reading.usual import Usual
from ftpsproxy.reading.views import VIEWS, Events

Event = dict[str, Any]


class Form(Enum):
    """For whom the text is."""

    PEOPLE = "people"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Look:
    """How the text looks. `view` is one of VIEWS or `raw`; `terminal`: nothing may steer it; `width` in cells."""

    view: str
    form: Form = Form.PEOPLE
    terminal: bool = False
    colour: bool = False
    width: Callable[[], int | None] = lambda: None

    @property
    def plain(self) -> bool:
        """Whether a line is as long as it is, and has no colour."""
        return not self.terminal and not self.colour


class Reading:
    """One reading of a log, from its first line to its last."""

    def __init__(self, choice: Choice, look: Look) -> None:
        self._choice = choice
        self._look = look
        self._decoder = Decoder()
        self._sessions = Sessions()
        self._totals = Totals()
        self._view = VIEWS.get(look.view, Events)(choice)
        self._day = ""
        self._table = io.StringIO()
        self._writer = csv.writer(self._table, lineterminator="\n")
        self._everything = look.view == "raw"
        self._text = {Form.JSON: self._json, Form.CSV: self._comma_separated, Form.PEOPLE: self._for_people}[look.form]
        self._usual = None
        if look.view == "transfers" and look.form is Form.PEOPLE and choice.test is None and look.plain:
            self._usual = Usual(self._decoder.counts, self._sessions, self._totals)

    def begin(self) -> str:
        """What stands above all."""
        if self._look.form is not Form.CSV or self._everything:
            return ""
        return ",".join(self._view.columns) + "\n"

    def texts(self, lines: list[bytes]) -> str:
        """What is to be shown of these lines."""
        found: list[str] = []
        append, decode, usual = found.append, self._decoder.event, self._usual
        hear, wanted, add, take = self._sessions.hear, self._choice.test, self._totals.add, self._view.take
        for line in lines:
            if usual is not None and (text := usual.text(line, self._day)) is not None:
                append(text)
                continue
            event = decode(line)
            if event is None:
                continue
            session = hear(event)
            chosen = wanted is None or wanted(event)
            if chosen:
                add(event)
            if self._everything:
                if chosen:
                    append(self._raw(line))
            elif (record := take(event, session, chosen)) is not None:
                append(self._text(record))
        return "".join(found)

    def end(self) -> str:
        """What there is to say once no more lines come."""
        if self._everything:
            return ""
        text = "".join(self._text(record) for record in self._view.end(self._sessions))
        if self._look.form is Form.PEOPLE:
            totals = self._totals.lines(self._decoder.counts, self._sessions.forgotten)
            text += "".join(f"{one}\n" for one in ("", *totals))
        return text

    def complaints(self) -> list[str]:
        """What could not be used, where the totals don't say it."""
        if self._look.form is Form.PEOPLE and not self._everything:
            return []
        return told(self._decoder.counts, self._sessions.forgotten)

    # --- forms ------------------------------------------------------------------------------------------------------

    def _raw(self, line: bytes) -> str:
        text = line.decode("utf-8", "surrogateescape")
        return f"{errors.printable(text) if self._look.terminal else text}\n"

    def _json(self, record: Event) -> str:
        if self._view.exact and record["event"] in WITHOUT_USER:
            record.pop("user", None)
        return _json(record)

    def _for_people(self, record: Event) -> str:
        look, view = self._look, self._view
        width = look.width()
        text = f"{rows.shown(view.row(record), width=width, colour=look.colour)}\n"
        for more in view.more(record):
            text += f"           {more if width is None else rows.cut(more, width - 11)}\n"
        day = (record.get("timestamp") or record.get("opened") or record.get("closed") or "")[:10]
        if day != self._day:
            self._day = day
            text = f"{rows.prose(day)} UTC\n{text}"
        return text

    def _comma_separated(self, record: Event) -> str:
        self._writer.writerow([_cell(record.get(column)) for column in self._view.columns])
        text = self._table.getvalue()
        self._table.seek(0)
        self._table.truncate()
        return text


def _json(record: Event) -> str:
    """Pure ASCII, as the log's own lines are."""
    try:
        text = msgspec.json.encode(record).decode()
        if text.isascii():
            return f"{text}\n"
    except UnicodeError:
        pass
    return json.dumps(record, separators=(",", ":")) + "\n"


def _cell(value: object) -> str:
    """In a table: a line of its own for none, and nothing that a spreadsheet would take for a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = errors.printable(value)
        return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return errors.printable(json.dumps(value))


def first_moment(batches: Iterable[list[bytes]]) -> str:
    """When the first event in these lines was; nothing, if none of the first lines is one."""
    decoder = Decoder()
    for batch in batches:
        for line in batch:
            if (event := decoder.event(line)) is not None:
                return str(event["timestamp"])
        if decoder.counts.lines > 10000:
            break
    return ""
