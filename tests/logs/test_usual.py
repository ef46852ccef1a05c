"""The usual line has a way of its own through the view of transfers: it says what the other way says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.reading import choosing
from ftpsproxy.reading.reading import Look, Reading
from tests.logs.lines import LINE, NOW

TODAY = {
    **LINE,
    "event": "transfer.finished",
    "type": "I",
    "offset": 0,
    "resumed": True,
    "server_address": "192.0.2.1",
    "certificate_sha256": "0" * 64,
    "verified_by": "chain",
    "reason": "",
}
TEXTS = st.text(max_size=20) | st.sampled_from(["a", "/in", "'x'", ".", "é", "\u202e", "a b", "x" * 200, "\ud800", "↑"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.sampled_from(["2026-11-28T10:00:00.000Z", "2026-11-27T10:00:00.000Z"])
        | TEXTS.map(lambda text: (text + "Z" * 24)[:24]),
        "event": st.sampled_from(["transfer.finished", "transfer.refused", "session.closed"]),
        **dict.fromkeys(("client", "upstream", "path", "user", "server", "remark", "reason"), TEXTS),
        "session": st.sampled_from(["0123456789ab", "1123456789ab", "x" * 70]),
        "directory": TEXTS | st.none(),
        "verb": st.sampled_from(["STOR", "RETR", "APPE", ""]),
        "direction": st.sampled_from(["upload", "download", "sideways"]),
        "outcome": st.sampled_from(["complete", "torn", "so so"]),
        "tls_version": st.sampled_from(["TLSv1.2", "TLSv1.3", "TLSv1.4", ""]),
        "resumed": st.booleans() | st.none(),
        "directory_relative": st.booleans(),
        "bytes": st.integers(),
        "seconds": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
        "offset": st.integers(0, 5),
        "level": st.sampled_from(["info", "warning"]),
    },
)


def lines(*changes: dict[str, Any]) -> list[bytes]:
    return [json.dumps({**TODAY, **one}, separators=(",", ":")).encode() for one in changes]


def shown(these: list[bytes], *, short: bool) -> str:
    reading = Reading(choosing.choice(choosing.Wishes(), NOW), Look("transfers"))
    if not short:
        reading._usual = None
    return reading.texts(these) + reading.end()


@given(st.lists(CHANGES, max_size=6))
def test_both_ways_say_the_same(changes: list[dict[str, Any]]) -> None:
    these = lines({}, *changes, {})
    assert shown(these, short=True) == shown(these, short=False)


def test_the_usual_line_goes_the_short_way() -> None:
    reading = Reading(choosing.choice(choosing.Wishes(), NOW), Look("transfers"))
    reading.texts(lines({}))
    assert reading._usual is not None
    (usual,) = lines({"path": "b.pdf"})
    assert reading._usual.text(usual, "2026-11-28") == (
        "10:00:00 ✓ ↑ /in/b.pdf                            5 B    1.0 s     5 B/s  "
        "tester@partner      TLS 1.3 resumed  10.0.0.7\n"
    )


def test_what_is_not_usual_goes_the_other() -> None:
    reading = Reading(choosing.choice(choosing.Wishes(), NOW), Look("transfers"))
    reading.texts(lines({}))
    assert reading._usual is not None
    for change in ({"outcome": "torn"}, {"path": "a b"}, {"offset": 1}, {"level": "warning"}, {"user": None}):
        (line,) = lines(change)
        assert reading._usual.text(line, "2026-11-28") is None, change
    assert Reading(choosing.choice(choosing.Wishes(user="x"), NOW), Look("transfers"))._usual is None
    assert Reading(choosing.choice(choosing.Wishes(), NOW), Look("transfers", terminal=True))._usual is None
