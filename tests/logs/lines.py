"""Lines of a log, and what a view shows of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ftpsproxy.reading import choosing, sources
from ftpsproxy.reading.reading import Form, Look, Reading

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Captured = pytest.CaptureFixture[str]


def read(text: str | bytes, view: str = "transfers", form: Form = Form.PEOPLE, **wishes: str) -> str:
    """What a view shows of these lines."""
    data = text.encode() if isinstance(text, str) else text
    reading = Reading(choosing.choice(choosing.Wishes(**wishes), NOW), Look(view, form, terminal=True))
    shown = reading.begin() + "".join(reading.texts(batch) for batch in sources.batches([data]))
    return shown + reading.end()


def records(text: str, view: str = "transfers", **wishes: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(text, view, Form.JSON, **wishes).splitlines()]


def line(event: str = "transfer.finished", **changed: Any) -> str:
    return json.dumps({**LINE, "event": event, **changed}) + "\n"


LINE = {
    "timestamp": "2026-11-28T10:00:00.000Z",
    "level": "info",
    "event": "",
    "session": "0123456789ab",
    "client": "10.0.0.7",
    "listener": "a",
    "upstream": "partner",
    "user": "tester",
    "server": "ftp.example.com:21",
    "directory": "/in",
    "number": 1,
    "verb": "STOR",
    "path": "a.pdf",
    "direction": "upload",
    "bytes": 5,
    "seconds": 1.0,
    "outcome": "complete",
    "tls_version": "TLSv1.3",
}
