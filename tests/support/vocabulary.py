"""Every line that a test has the gateway write is checked against the log's schema, in whatever process it is written.

`Gateway` (gateway.py) hands its lines here as it reads them, and `watch` those that are written in the tests' own
process; a fixture in `tests/conftest.py` asks after each test what was wrong. A test that runs the gateway in a way of
its own reads its lines by `read`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

from jsonschema import Draft202012Validator

from ftpsproxy.observe import schema
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.lines import Json

_lock = threading.Lock()
_faults: list[str] = []
_unwatched: list[bool] = []


@cache
def _validator(event: str) -> Draft202012Validator:
    """Of one kind of event: the whole schema asks for each kind in turn whether it is that."""
    return Draft202012Validator({**schema.of_event(event), "$defs": schema.definitions()})


def fault(event: dict[str, Any]) -> str | None:
    """What is wrong with an event, by the schema."""
    name = event.get("event")
    if not isinstance(name, str) or name not in EVENTS:
        return f"no event of the vocabulary: {event}"
    found = next(iter(_validator(name).iter_errors(event)), None)
    return None if found is None else f"{'.'.join(map(str, found.absolute_path))}: {found.message}: {event}"


def check(event: dict[str, Any]) -> None:
    """Note what is wrong with an event that some gateway has logged."""
    if (wrong := fault(event)) is not None:
        with _lock:
            _faults.append(wrong)


def read(line: str | bytes) -> dict[str, Any]:
    """The event in a line that some gateway has written, checked."""
    event: dict[str, Any] = json.loads(line)
    check(event)
    return event


def faults() -> list[str]:
    """What was wrong since the last call."""
    with _lock:
        found = list(_faults)
        _faults.clear()
        return found


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Check what is written in this process, too."""
    line = Json.line

    def checked(self: Json, level: str, event: str, parts: list[str]) -> str:
        text = line(self, level, event, parts)
        if not _unwatched:
            check(json.loads(text))
        return text

    with patch.object(Json, "line", checked):
        yield


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """What is written in this process is not checked meanwhile, where it is the cost that is looked at."""
    _unwatched.append(True)
    try:
        yield
    finally:
        _unwatched.pop()
