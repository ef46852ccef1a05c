"""How a line becomes an event: a JSON object in the shapes of the vocabulary, whatever was written before it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec

from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.fields import FIELDS, TEXT, Shape
from ftpsproxy.reading.old_lines import OTHER_REPLY, modern

Event = dict[str, Any]

_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_FAMILIES = frozenset(name.partition(".")[0] for name in EVENTS)


@dataclass(slots=True)
class Counts:
    """Of lines: all but blank ones, those that begin as ours do and can't be read, those that are something else."""

    lines: int = 0
    damaged: int = 0
    foreign: int = 0


class Decoder:
    """Makes events of lines and counts what is none."""

    def __init__(self) -> None:
        self.counts = Counts()

    def event(self, line: bytes) -> Event | None:
        """What it says, by its names of today; None: nothing of this log."""
        try:
            event: Event | None = _decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            stripped = line.strip()
            if not stripped:
                return None
            event = self._otherwise(stripped)
        self.counts.lines += 1
        if event is None:
            return None
        stamp, name = event.get("timestamp", ""), event.get("event", "")
        if len(stamp) == 24 and stamp[-1] == "Z" and "level" in event:
            if name in EVENTS:
                return modern(event)
            if name.partition(".")[0] in _FAMILIES:  # one of a later version
                return event
        self.counts.foreign += 1
        return None

    def _otherwise(self, line: bytes) -> Event | None:
        """A line with something before it, as of `kubectl logs --prefix`, or one that msgspec does not take."""
        begin = line.find(b"{")
        if begin >= 0:
            try:
                found = json.loads(line[begin:])
                try:
                    return msgspec.convert(found, _Line)  # type: ignore[no-any-return] # its type is made from the vocabulary
                except msgspec.ValidationError:
                    old = msgspec.convert(found, _OldLine)
                    if old.get("event") in OTHER_REPLY:
                        return old  # type: ignore[no-any-return] # as above
            except (ValueError, RecursionError):
                # msgspec's errors are ValueErrors, too
                if begin == 0 or b'"event"' in line:
                    self.counts.damaged += 1
                    return None
        self.counts.foreign += 1
        return None


def _type(shape: Shape, name: str) -> Any:
    kind = shape.get("type")
    if kind == "array":
        return list[_type(shape["items"], name)]  # type: ignore[misc] # known when it runs
    if kind == "object":
        return _object(name, {key: _type(one, key) for key, one in shape["properties"].items()})
    if "const" in shape:
        return bool
    return {"integer": _INTEGER, "number": float, "boolean": bool}.get(str(kind), str)


def _object(name: str, types: Mapping[str, Any]) -> Any:
    return TypedDict(name, types, total=False)  # type: ignore[operator] # known when it runs


def _types(**others: Shape) -> dict[str, Any]:
    shapes: dict[str, Shape] = {}
    for event in EVENTS.values():
        shapes |= event.old
    shapes |= {name: field.shape for name, field in FIELDS.items()}
    shapes |= others
    nulls = {name for name, field in FIELDS.items() if field.may_be_null}
    return {
        name: (_type(shape, name) | None if name in nulls else _type(shape, name)) for name, shape in shapes.items()
    }


_Line = _object("_Line", _types())
_OldLine = _object("_OldLine", _types(reply=TEXT))
_decode = msgspec.json.Decoder(_Line).decode
