"""The log for people: columns that stand below each other, in the width there is, and nothing a peer can bend."""

import fcntl
import io
import os
import pty
import re
import struct
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.observe import log, rows, telling
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.rows import Mark, Row
from tests.test_log import EVENTS as CALLS
from tests.test_log import EVIL, in_a_session, logged, transfer

DONE: dict[str, Any] = {
    "timestamp": "2026-11-28T22:28:50.123Z",
    "level": "info",
    "event": "transfer.finished",
    "client": "10.0.0.7",
    "upstream": "partner",
    "user": "tester",
    "directory": "daily",
    "directory_relative": True,
    "verb": "STOR",
    "path": "scan.pdf",
    "direction": "upload",
    "bytes": 300_000,
    "seconds": 2.52,
    "outcome": "complete",
    "tls_version": "TLSv1.3",
    "resumed": True,
}
TORN = {**DONE, "outcome": "torn", "detail": "the server broke the data connection", "direction": "download"}


@pytest.fixture(autouse=True)
def _in_a_session() -> Iterator[None]:
    with in_a_session():
        yield


def line(event: dict[str, Any], width: int | None = None, colour: bool = False) -> str:
    return rows.shown(telling.row(event), width=width, colour=colour)


def test_a_transfer_in_one_look() -> None:
    words = "22:28:50 ✓ ↑ daily/scan.pdf 300 kB 2.5 s 119 kB/s tester@partner TLS 1.3 resumed 10.0.0.7"
    assert " ".join(line(DONE).split()) == words


def test_columns_stand_below_each_other() -> None:
    others = (DONE, {**DONE, "path": "x", "bytes": 5}, TORN, {**DONE, "event": "session.login", "ok": True})
    for width in (None, 140, 120):
        found = {line(event, width).index("tester@partner") for event in others}
        assert len(found) == 1, width


@pytest.mark.parametrize(
    ("path", "directory", "relative", "shown"),
    [
        ("a", "/in", None, "/in/a"),
        ("a", "/", None, "/a"),
        ("/a", "/in", None, "/a"),
        ("a", ".", True, "a"),
        ("a", "daily", True, "daily/a"),
        ("a", None, None, "a"),
        ("", "/in", None, "/in"),
        ("'HLQ.X'", "daily", True, "\"'HLQ.X'\""),
        ("a b", None, None, '"a b"'),
    ],
)
def test_the_whole_path_is_shown_where_it_is_known(
    path: str, directory: str | None, relative: bool | None, shown: str
) -> None:
    event = {**DONE, "path": path, "directory": directory, "directory_relative": relative}
    assert telling.row(event).name == shown


def test_what_failed_says_why_and_alone_is_red() -> None:
    text = line(TORN, colour=True)
    assert "\x1b[31m✗\x1b[0m" in text
    assert text.endswith("\x1b[31mtorn: the server broke the data connection\x1b[0m")
    assert text.count("\x1b") == 4
    assert line(DONE, colour=True).count("\x1b[32m") == 1
    assert "\x1b" not in line(TORN)


@pytest.mark.parametrize("width", [1, 5, 14, 20, 30, 40, 60, 80, 81, 96, 97, 100, 113, 114, 132, 200])
def test_no_terminal_is_too_narrow(width: int) -> None:
    for event in (DONE, TORN, {**DONE, "path": "x" * 300}, {**TORN, "path": "日本語" * 50, "user": "長い名前"}):
        text = line(event, width)
        assert rows.cells(text) <= max(width, 11)
        coloured = re.sub("\x1b\\[\\d*m", "", line(event, width, colour=True))
        assert coloured == text


def test_what_a_narrow_terminal_loses_last() -> None:
    long = {**TORN, "path": f"{'x' * 100}/scan.pdf"}
    assert "scan.pdf" in line(long, 80)
    assert "torn: the server broke" in line(long, 80)
    assert "10.0.0.7" not in line(DONE, 90)
    assert "tester@partner" in line(DONE, 80)


def test_a_name_can_not_pass_for_a_column() -> None:
    forged = "a 300 kB 1 s 300 kB/s  root@partner  TLS 1.3"
    assert f'"daily/{forged}"' in line({**DONE, "path": forged})
    assert "root@partner  TLS" not in line({**TORN, "detail": "x  root@partner  TLS 1.3"})


@given(st.text(), st.integers(1, 200), st.booleans())
def test_whatever_is_said_is_one_line(text: str, width: int, ok: bool) -> None:
    """In every field of every event."""
    for name, event in EVENTS.items():
        fields = dict.fromkeys((*event.always, *event.maybe), text)
        fields = {key: value for key, value in fields.items() if key in TEXTS}
        said: dict[str, Any] = {**fields, "event": name, "timestamp": text, "client": text, "upstream": text, "ok": ok}
        for wide in (None, width):
            shown = line(said, wide)
            assert shown.isprintable()
            if wide is not None:
                assert rows.cells(shown) <= max(wide, 11)


TEXTS = {"path", "to", "verb", "detail", "text", "said", "subject", "error", "user", "directory", "server", "hint"}
TEXTS |= {
    "came_from",
    "reply_host",
    "argument",
    "limit",
    "cause",
    "protocol",
    "side",
    "outcome",
    "tls_version",
    "remark",
}


@pytest.mark.parametrize("event", CALLS)
def test_every_event_has_words_of_its_own(event: str) -> None:
    text = logged("console", CALLS[event][1], "info")
    if CALLS[event][0] == "debug":
        assert text == ""
    else:
        assert re.match(r"\d\d:\d\d:\d\d [✓✗!·] [ ↑↓] \S", text), text
        assert event not in text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (12345, "12 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (10**9, "1.0 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert rows.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0344, "34 ms"),
        (0.9996, "1.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 m 00 s"),
        (3600, "1 h 00 m"),
        (90061, "1 d 01 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert rows.duration(seconds) == text


def test_no_rate_without_time_or_bytes() -> None:
    assert (rows.rate(5, 0), rows.rate(0, 1), rows.rate(1000, 2)) == ("", "", "500 B/s")


# --- as the gateway writes it ---------------------------------------------------------------------------------------


def on_a_terminal(columns: int, *calls: Callable[[], None]) -> list[str]:
    """What stands on a terminal of that width; `calls` may change it."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    resize(theirs, columns)
    try:
        with os.fdopen(theirs, "w") as stream:
            log.configure("auto", "info", stream)
            for call in calls:
                call()
            return os.read(ours, 65536).decode().splitlines()
    finally:
        log.configure("json", "info", io.StringIO())
        os.close(ours)


def resize(descriptor: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def test_a_terminal_has_columns_in_colour_and_in_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for width in (60, 100):
        (text,) = on_a_terminal(width, transfer)
        assert "\x1b[32m✓\x1b[0m" in text
        assert rows.cells(re.sub("\x1b\\[\\d*m", "", text)) <= width


def test_no_color_keeps_it_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    (text,) = on_a_terminal(100, lambda: transfer(path=EVIL, outcome="torn", why=EVIL))
    assert text.isprintable()


def test_a_terminal_that_does_not_know_its_width_has_the_whole_line() -> None:
    (text,) = on_a_terminal(0, transfer)
    assert text.endswith("from byte 5")
    assert "10.0.0.1" in text


def test_a_note_leaves_columns_out_and_never_the_mark() -> None:
    row = Row("22:28:50", Mark.ODD, "x", note="n" * 200)
    assert rows.shown(row, width=60).startswith("22:28:50 !   x ")
    assert rows.shown(row._replace(note=""), width=60) == "22:28:50 !   x"
