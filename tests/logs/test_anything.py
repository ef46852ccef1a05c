"""Whatever stands in a log: damaged lines, those of others, what peers have said; it is counted, and steers nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.observe.events import EVENTS
from ftpsproxy.reading import choosing, sessions, sources
from ftpsproxy.reading.decoding import Decoder
from ftpsproxy.reading.reading import Form, Look, Reading
from ftpsproxy.reading.views import VIEWS
from tests.logs.lines import NOW, line, read, records
from tests.test_log import EVENTS as CALLS
from tests.test_log import EVIL


def test_damaged_and_foreign_lines_are_counted_and_never_fatal() -> None:
    damaged = [line()[:50], "{", line(bytes="many"), line(path=5)]
    foreign = [
        "Nov 28 systemd[1]: Started.",
        '{"a": 1}',
        "[1]",
        '{"event": "x.y", "timestamp": "now", "level": "info"}',
    ]
    said = read(line() + "\n".join(foreign + damaged) + "\n\n" + line())
    assert "2 transfers, 2 complete" in said
    assert "\n4 lines damaged\n" in said
    assert "\n4 lines not of this log" in said
    assert ", 10 lines read\n" in said


def test_bytes_that_are_no_text() -> None:
    for noise in (
        b"\xff\xfe{\x00",
        b'{"event":"\xff"}',
        b"\x00" * 100,
        b"{" * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ):
        assert "1 transfer, 1 complete" in read(noise + b"\n" + line().encode())


def test_a_line_without_end_takes_no_memory() -> None:
    def blocks() -> Iterator[bytes]:
        yield line().encode()
        yield b'{"event":"'
        for _ in range(100):
            yield b"x" * 1_000_000
        yield b'"}\n' + line().encode()

    found = list(sources.batches(blocks()))
    assert max(len(one) for batch in found for one in batch) < 2_000_000
    decoder = Decoder()
    assert sum(decoder.event(one) is not None for batch in found for one in batch) == 2
    assert decoder.counts.damaged == 1


def test_lines_that_others_have_written_something_before() -> None:
    for before in ("[pod/gateway-1/ftpsproxy] ", "2026-11-28T10:00:00.1Z ", "gateway  | ", "host ftpsproxy[1]: "):
        assert len(records(before + line())) == 1


def test_the_last_line_may_lack_its_end_and_others_may_end_as_windows_has_it() -> None:
    assert len(records(line().replace("\n", "\r\n") + line().rstrip("\n"))) == 2


def test_nothing_in_a_log_steers_a_terminal_or_makes_a_line() -> None:
    fields = dict.fromkeys(("path", "user", "client", "upstream", "directory", "tls_version", "detail"), EVIL)
    text = "".join(line(**fields, outcome=outcome, event=event) for outcome in ("complete", EVIL) for event in CALLS)
    text += line("session.closed", cause=EVIL, **fields) + line(
        "upstream.failed", cause=EVIL, timestamp=EVIL[:23] + "Z"
    )
    for view in (*VIEWS, "raw"):
        for form in Form:
            said = read(text, view, form)
            assert said.replace("\n", "").isprintable(), (view, form)
    shown = read(line(**fields))
    assert len(shown.splitlines()) == 5
    (row,) = csv.DictReader(io.StringIO(read(line(path="=1+1", user="a,b\n"), form=Form.CSV)))
    assert (row["path"], row["user"]) == ("'=1+1", "a,b\\n")


def test_a_raw_line_is_as_it_was_but_on_a_terminal() -> None:
    raw = line().encode().replace(b"a.pdf", "\u202e\x9b.pdf".encode())
    assert read(raw, "raw").rstrip("\n").isprintable()
    sober = Reading(choosing.choice(choosing.Wishes(), NOW), Look("raw"))
    assert sober.texts([raw.rstrip(b"\n")]).encode("utf-8", "surrogateescape") == raw


def test_huge_fields() -> None:
    text = line(path="x" * 500_000, detail="y" * 500_000, outcome="torn", bytes=2**62, seconds=1e-300)
    text += line(bytes=10**400) + line(seconds=1e308, bytes=-5) + line(seconds=-1)
    for view in VIEWS:
        for form in Form:
            read(text, view, form)
    assert "3 transfers" in read(text)
    assert "1 line damaged" in read(text)


@given(st.binary(max_size=300), st.sampled_from([*VIEWS, "raw"]), st.sampled_from(list(Form)))
def test_any_bytes(noise: bytes, view: str, form: Form) -> None:
    read(noise, view, form)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = sorted(
    {*json.loads(line()), "listening", "listeners", "reason", "reply", "hint", "cause", "names", "ok", "port"}
)


@given(st.sampled_from(list(EVENTS)), st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from(list(Form)))
def test_any_values(event: str, values: dict[str, Any], form: Form) -> None:
    for view in VIEWS:
        read(line(event, **{key: value for key, value in values.items() if key != "event"}), view, form)


def test_too_many_sessions_that_do_not_end_are_forgotten() -> None:
    known = sessions.Sessions()
    for number in range(sessions._MOST + 5):
        known.hear({"event": "session.opened", "timestamp": "", "session": f"{number:012x}"})
    assert (known.forgotten, len(known.open())) == (5, sessions._MOST)


def test_what_is_kept_of_a_session_is_short() -> None:
    known = sessions.Sessions()
    long = dict.fromkeys(("user", "client", "listener", "upstream", "server", "cipher"), "x" * 1_000_000)
    for event in ("session.opened", "upstream.secured", "session.login", "transfer.finished"):
        known.hear({"event": event, "timestamp": "", "session": "0123456789ab", "ok": True, **long})
        assert known.hear({"event": event, "timestamp": "", "session": "x" * 1000, **long}) is None
    (session,) = known.open()
    assert max(len(text) for text in session.facts.values()) == 200
    assert records(line(client="1" * 1000), client="0.0.0.0/0") == []
