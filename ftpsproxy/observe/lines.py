"""How an event becomes a line; what is bound to a session stands in every line of it.

Whatever a peer sends can neither end a line nor steer a terminal: JSON and logfmt are pure ASCII, the console form
escapes what is not printable. This is the only file that imports structlog, and that knows all forms.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Protocol

import structlog

from ftpsproxy import __version__
from ftpsproxy.ftp.directory import Place
from ftpsproxy.observe import chain, ecs, journal, rows, syslog, telling, xferlog
from ftpsproxy.observe.chain import Chain
from ftpsproxy.observe.entry import Said
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.old_names import OLD
from ftpsproxy.observe.output import Output
from ftpsproxy.observe.rows import bare, quoted

bound: ContextVar["Bound | None"] = ContextVar("ftpsproxy_log", default=None)
"""What stands in every line of the current task, and of the tasks it starts."""


class Form(Protocol):
    """A way to write an event. `fields` makes a part of it, apart, so that what is bound is rendered once a session.
    The line is bytes where it is no text, and empty where the event has none."""

    def fields(self, fields: Mapping[str, object]) -> Any: ...

    def line(self, level: str, event: str, parts: list[Any]) -> str | bytes: ...


Head = Callable[[str, str, str], bytes]
"""Makes what stands before a line and is no part of it, of the line's timestamp, level and event."""
Render = Callable[[object, str, MutableMapping[str, Any]], str | bytes]
"""Makes a line of an event, as structlog's last processor: its level, and what stands in it besides what is bound."""
_MOST_FORMS = 8


class Fields:
    """Fields that stand in several lines, and their rendering in the forms last asked for."""

    __slots__ = ("_fields", "_form", "_text", "_texts")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._form: Form | None = None
        self._text: Any = ""
        self._texts: dict[Form, Any] | None = None  # where there is more than one

    def text(self, form: Form) -> Any:
        if self._form is not form:
            self._change(form)
        return self._text

    def _change(self, form: Form) -> None:
        known = self._texts
        if self._form is not None:
            if known is None or len(known) >= _MOST_FORMS:
                known = self._texts = {}
            known[self._form] = self._text
        text = known.get(form) if known is not None else None
        self._form, self._text = form, form.fields(self._fields) if text is None else text


class Facts(Fields):
    """What stands in each line about a file, while its session is in this `place` (log/writing.py)."""

    __slots__ = ("place",)

    def __init__(self, fields: Mapping[str, object], place: Place | None) -> None:
        super().__init__(fields)
        self.place = place


class Bound(Fields):
    """What `bind` named. `secrets` must stand in no line of it; `server` and `user` are for its `facts`, which are kept
    as they were last."""

    __slots__ = ("client", "facts", "named", "secrets", "server", "user", "where")

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.where = fields["listener"], fields["upstream"]
        self.client = fields["client"]
        self.secrets: dict[str, list[tuple[tuple[str, str], ...]]] = {}  # by verb; each as it is, and in lower case
        self.server: Mapping[str, str] = {}
        self.user: str | None = None
        self.named = fields
        self.facts: Facts | None = None


def make(output: Output, form: Form, level: int) -> Any:
    """A structlog logger that renders with `form`; calls below `level` cost next to nothing."""
    attach(output, form)
    wrapper: Any = structlog.make_filtering_bound_logger(level)
    return wrapper(output, [renderer(form)], {})


def renderer(form: Form) -> Render:
    """Renders with `form`."""

    def render(_logger: object, level_name: str, event: MutableMapping[str, Any]) -> str | bytes:
        name = event.pop("event")
        facts: Fields | None = event.pop("facts", None)
        if (old := OLD.get(name)) is not None:
            event.update(old(event))
        mine = bound.get()
        parts = [] if mine is None else [mine.text(form)]
        fields = {key: value for key, value in event.items() if value is not None}
        if fields:
            parts.append(form.fields(fields))
        if facts is not None:
            parts.append(facts.text(form))
        return form.line(level_name, name, parts)

    return render


def attach(output: Output, form: Form, head: Head | None = None) -> None:
    """What the output says of itself is written so, too."""

    def said(level: str, event: str, fields: Mapping[str, object]) -> Said:
        line = form.line(level, event, [form.fields(fields)] if fields else [])
        return line, b"" if head is None else head(timestamp(), level, event)

    def lost(count: int) -> Said:
        name, fields = "gateway.log_lost", {"lost": count}
        return said("error", name, {**fields, **OLD[name](fields)})

    def chain_begun(begun: Chain) -> Said:
        fields = {**program(), "keyed": bool(begun.key)}
        if begun.forked_from is not None:
            fields["forked_from"] = begun.forked_from
        return said("info", chain.BEGUN, fields)

    output.lost, output.chain_begun = lost, chain_begun
    output.chain_ended = lambda: said("info", chain.ENDED, {})
    output.chain_forked = lambda fields: said("info", chain.FORKED, fields)


def program() -> dict[str, Any]:
    """Which program it is, and where it runs."""
    return {"gateway_version": __version__, "hostname": socket.gethostname(), "pid": os.getpid()}


_second = 0, ""


def timestamp() -> str:
    """Now, as 2026-01-31T23:59:59.123Z. The text of the second is kept, as most lines share theirs with another."""
    global _second
    now = time.time()
    second = int(now)
    known, text = _second  # in one go, as threads write, too
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second, text
    return f"{text}.{int((now - second) * 1000):03d}Z"


# --- rendering --------------------------------------------------------------------------------------------------------

_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str, check_circular=False).encode


def _joined(level: str, event: str, parts: list[Mapping[str, object]]) -> dict[str, object]:
    whole: dict[str, object] = {"timestamp": timestamp(), "level": level, "event": event}
    for part in parts:
        whole |= part
    return whole


class Json:
    def fields(self, fields: Mapping[str, object]) -> str:
        return _encode(fields)[1:-1]

    def line(self, level: str, event: str, parts: list[str]) -> str:
        head = f'{{"timestamp":"{timestamp()}","level":"{level}","event":"{event}"'
        return f"{','.join([head, *parts])}}}"


class Ecs:
    """JSON lines by the names of the Elastic Common Schema (ecs.py)."""

    def fields(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        return fields

    def line(self, level: str, event: str, parts: list[Mapping[str, object]]) -> str:
        return _encode(ecs.named(_joined(level, event, parts), EVENTS[event].old))


class Logfmt:
    def fields(self, fields: Mapping[str, object]) -> str:
        words = []
        for key, value in fields.items():
            text = _word(value)
            words.append(f"{key}={text}" if bare(text) else f"{key}={_encode(text)}")
        return " ".join(words)

    def line(self, level: str, event: str, parts: list[str]) -> str:
        return " ".join([f"timestamp={timestamp()} level={level} event={event}", *parts])


class Console:
    """All of it, in full words."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def fields(self, fields: Mapping[str, object]) -> str:
        return " ".join(f"{key}={quoted(_word(value))}" for key, value in fields.items())

    def line(self, level: str, event: str, parts: list[str]) -> str:
        text = " ".join([f"{timestamp()} {level:<7} {event:<18}", *parts])
        return f"{_COLOURS[level]}{text}\x1b[0m" if self._colour else text


class Columns:
    """For people: what matters of it, in columns (telling.py). `width`: how wide the terminal is now."""

    def __init__(self, colour: bool, width: Callable[[], int | None]) -> None:
        self._colour = colour
        self._width = width

    def fields(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        return fields

    def line(self, level: str, event: str, parts: list[Mapping[str, object]]) -> str:
        whole = _joined(level, event, parts)
        return rows.shown(telling.row(whole), width=self._width(), colour=self._colour)


class Xferlog:
    """wu-ftpd's line for each transfer, and for nothing else (xferlog.py)."""

    def fields(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        return fields

    def line(self, level: str, event: str, parts: list[Mapping[str, object]]) -> str:
        return xferlog.line(_joined(level, event, parts), time.time()) if event in xferlog.EVENTS else ""


class Journal:
    """An entry of systemd's journal (journal.py)."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier

    def fields(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        return fields

    def line(self, level: str, event: str, parts: list[Mapping[str, object]]) -> bytes:
        return journal.entry(_joined(level, event, parts), EVENTS[event].old, self._identifier, _word)


class Bounded:
    """Another form in lines of so many bytes at most (syslog.py)."""

    def __init__(self, form: Form, most: int) -> None:
        self._form = form
        self._most = most

    def fields(self, fields: Mapping[str, object]) -> Any:
        return self._form.fields(fields)

    def line(self, level: str, event: str, parts: list[Any]) -> str | bytes:
        line = self._form.line(level, event, parts)
        return syslog.bounded(line, self._most) if isinstance(line, str) else line


def _word(value: object) -> str:
    """A value other than text in logfmt and console lines."""
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(_word(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}:{_word(item)}" for key, item in value.items())
    return str(value)
