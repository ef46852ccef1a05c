"""`ftpsproxy report`: what is handed in about a log, and what the statement does not claim."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.cli.main import main
from ftpsproxy.observe import log
from ftpsproxy.reading import choosing
from ftpsproxy.reading.report.accounting import Accounting
from ftpsproxy.reading.report.document import Document, Tone
from ftpsproxy.reading.report.page import page
from ftpsproxy.reading.report.proof import Witness
from tests.logs.lines import LINE, NOW, Captured
from tests.test_log import EVENTS as CALLS
from tests.test_log import EVIL

DIGEST = "a0" * 32
SERVER = {
    "server": "ftp.example.com:21",
    "server_address": "192.0.2.1",
    "certificate_sha256": DIGEST,
    "verified_by": "chain",
}
FILE = {**LINE, **SERVER, "resumed": True, "close_notify": True, "type": "I", "offset": 0}
OF_SESSION = {name: LINE[name] for name in ("timestamp", "level", "session", "client", "listener", "upstream")}
Event = dict[str, Any]


def session(*files: Event, **closed: Any) -> list[Event]:
    """All lines of a session with these transfers, which are whole but for what is said of them."""
    secured = {**SERVER, "tls_version": "TLSv1.3", "cipher": "C", "resumed": False, "days_left": 90, "subject": "CN=x"}
    transfers = [{**FILE, "event": "transfer.finished", "number": at, **file} for at, file in enumerate(files, 1)]
    end = {"transfers": len(files), "torn": 0, "cause": "quit", "seconds": 1, "commands": 5, **closed}
    return [
        {**OF_SESSION, "event": "session.opened"},
        {**OF_SESSION, "event": "upstream.secured", **secured},
        {**OF_SESSION, "event": "session.login", "user": "tester", "ok": True, "reply": 230},
        *transfers,
        {**OF_SESSION, "event": "session.closed", **end},
    ]


def made(events: list[Event], *, statement: bool = False, more: bytes = b"", **wishes: str) -> Document:
    choice = choosing.choice(choosing.Wishes(**wishes), NOW)
    accounting = Accounting(choice, "", Witness(b"", open=False) if statement else None)
    accounting.of(None)
    accounting.take([json.dumps(one).encode() for one in events] + more.splitlines())
    return accounting.end([], NOW)


def words(document: Document) -> str:
    """All of its text."""
    found = [document.title, *document.about, document.verdict]
    found += [f"{one.number} {one.what}" for one in document.figures]
    for section in document.sections:
        found += [section.title, *section.text, *(f"{bar.label} {bar.whole} {bar.broken}" for bar in section.bars)]
        if section.table is not None:
            found += ["\t".join(row) for row in (section.table.head, *section.table.rows)] + [section.table.note]
    return "\n".join(found)


# --- the report -----------------------------------------------------------------------------------------------------


def test_what_there_was() -> None:
    torn = {"outcome": "torn", "side": "client", "cause": "broken", "detail": "it broke off", "path": "b.pdf"}
    said = words(
        made([
            *session({}, {"verb": "RETR", "direction": "download", "bytes": 2000}, torn, {"verb": "LIST"}),
            {**FILE, "event": "transfer.refused", "verb": "RETR", "path": "c", "reply": 550, "text": "no such file"},
        ])
    )  # fmt: skip
    assert "2 files became whole; 1 did not; 1 was refused." in said
    for figure in ("2 files whole", "1 torn", "1 refused", "2.0 kB down", "1 users", "1 clients", "1 sessions"):
        assert figure in said
    assert "2026-11-28 10:00 2 1" in said
    assert re.search(r"^partner\tftp.example.com:21\t2\t1\t1\t1\t", said, re.MULTILINE)
    assert "1 time: there is no such file or directory, or it is not allowed\nWhat to do: see the path" in said
    assert re.search(r"/in/b.pdf\ttorn: it broke off\ttester@partner\t10.0.0.7", said)
    assert f"\tchain\tCN=x\t89\t1\t2026-11-28 10:00:00\t{DIGEST}" in said
    assert "4 of 4 data connections resumed" in said


def test_a_window() -> None:
    late = [{**one, "timestamp": "2026-11-28T11:30:00.000Z"} for one in session({}, {})]
    assert "2 files, and all became whole" in made([*session({}), *late], since="1h").verdict
    assert "no file was transferred" in made(session({}), since="1h").verdict


def test_the_slowest_come_first() -> None:
    files = [{"path": f"f{at}", "seconds": float(at), "bytes": 1000} for at in range(20)]
    (section,) = [one for one in made(session(*files)).sections if one.title == "Slowest transfers"]
    assert section.table is not None
    assert [row[1] for row in section.table.rows] == [f"↑ /in/f{at}" for at in range(19, 9, -1)]


def test_a_year_is_some_bars() -> None:
    events = [{**FILE, "event": "transfer.finished", "timestamp": f"20{y:02}-01-01T00:00:00.000Z"} for y in (1, 26)]
    (section,) = [one for one in made(events).sections if one.title == "When"]
    assert len(section.bars) <= 72
    assert sum(bar.whole for bar in section.bars) == 2


def test_a_million_users_take_no_memory() -> None:
    document = made([{**FILE, "event": "transfer.finished", "user": f"user {at}"} for at in range(20_000)])
    assert "over 5,000 users" in words(document)
    (section,) = [one for one in document.sections if one.title == "Users"]
    assert section.table is not None
    assert len(section.table.rows) == 51
    assert section.table.rows[-1][:2] == ("(more than 4,950 others)", "19,950")
    assert "Only the first 5,000 names are told apart" in section.table.note


# --- the statement --------------------------------------------------------------------------------------------------


def test_a_statement_of_what_is_proved() -> None:
    said = words(made(session({}, {"verb": "RETR", "direction": "download"}), statement=True))
    assert "\n2 files, all over verified TLS, to these servers, with these certificates.\n" in said
    assert re.search(rf"^ftp.example.com:21\t192.0.2.1\tchain\t2\t.*\t{DIGEST}$", said, re.MULTILINE)
    assert "None: each transfer that is in this log is proved as above." in said
    assert "It is not chained" in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"outcome": "torn"}, "it did not become whole"),
        ({"outcome": "aborted"}, "it did not become whole"),
        ({"outcome": ""}, "it did not become whole"),
        ({"tls_version": ""}, "does not say that its data went over TLS"),
        ({"tls_version": "TLSv1.1"}, "another version of TLS"),
        ({"certificate_sha256": "x"}, "does not say which server, with which certificate"),
        ({"verified_by": "hope"}, "does not say which server, with which certificate"),
        ({"certificate_sha256": "b0" * 32}, "another server or certificate than the one that was verified"),
        ({"server": "evil.example:21"}, "another server or certificate than the one that was verified"),
        ({"verified_by": "pin"}, "another server or certificate than the one that was verified"),
        ({"session": "ffffffffffff"}, "no line before it says that the session's server was verified"),
        ({"direction": "download", "close_notify": False}, "its end is not proved"),
        ({"direction": "unknown"}, "does not say which way it went"),
        ({"client_mode": "balanced"}, "by way of a load balancer"),
    ],
)
def test_what_is_not_proved_is_an_exception(change: Event, why: str) -> None:
    document = made(session({}, {**change, "path": "doubtful"}), statement=True)
    assert "1 file, all over verified TLS" in document.verdict
    assert "1 transfer beside them that is an exception" in document.verdict
    (section,) = [one for one in document.sections if one.title.startswith("1 exception")]
    assert why in section.title
    assert section.table is not None
    assert "doubtful" in section.table.rows[0][1]


def test_a_download_is_proved_in_other_ways_too() -> None:
    files = [
        {"direction": "download", "close_notify": False, "remark": how} for how in ("proved_by_size", "ended_in_band")
    ]
    said = words(made(session(*files), statement=True))
    assert "2 files, all over verified TLS, to these servers, with these certificates." in said
    assert "the server's SIZE proved that all of it had come" in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda x: x[:3] + x[4:],
            "transfers without a line, by their numbers and by what their sessions say at their ends: 1",
        ),
        (
            lambda x: x[:4] + x[5:],
            "transfers without a line, by their numbers and by what their sessions say at their ends: 1",
        ),
        (
            lambda x: x[:-2] + x[-1:],
            "transfers without a line, by their numbers and by what their sessions say at their ends: 1",
        ),
        (lambda x: [*x[:4], x[3], *x[4:]], "whose files are not counted again: 1"),
        (lambda x: x + x, "whose files are not counted again: 1"),
        (lambda x: x[:-1], "sessions without an end here, which go on, or lines are missing: 1"),
        (lambda x: x[1:], "sessions that began before what was read here, so that their first lines are not here: 1"),
    ],
)
def test_lines_that_are_missing_or_twice_are_said(damage: Callable[[list[Event]], list[Event]], said: str) -> None:
    document = made(damage(session({}, {}, {})), statement=True)
    assert said in words(document)
    assert "and the log itself has gaps" in document.verdict


@pytest.mark.parametrize(
    "damage", [lambda x: x + x, lambda x: [*x[:3], x[3], *x[3:]], lambda x: [*x, x[1], x[3]], lambda x: [*x, *x[:4]]]
)
def test_what_is_there_twice_is_counted_once(damage: Callable[[list[Event]], list[Event]]) -> None:
    document = made(damage(session({}, {})), statement=True)
    assert document.verdict.startswith("2 files, all over verified TLS")
    assert "and the log itself has gaps" in document.verdict


def test_a_torn_transfer_that_is_there_twice_stays_an_exception() -> None:
    events = session({}, {"outcome": "torn"})
    events[4]["number"] = 1
    assert "1 transfer beside them that is an exception" in made(events, statement=True).verdict


def test_what_a_later_version_says_is_not_understood() -> None:
    events = [*session({}), {**OF_SESSION, "event": "transfer.unknown_to_us"}]
    assert "lines of a later version, whose events are not understood here: 1" in words(made(events, statement=True))


def test_damaged_foreign_and_lost_lines_are_said() -> None:
    events = [*session({}), {**OF_SESSION, "event": "gateway.log_lost", "lost": 7, "level": "error"}]
    said = words(made(events, statement=True, more=b'{"timestamp":"2026\nNov 28 systemd: hello\n'))
    assert "1 line damaged" in said
    assert "1 line not of this log" in said
    assert "7 lines could not be written by the gateway" in said
    assert "and the log itself has gaps" in said


def chained() -> bytes:
    stream = io.StringIO()
    log.configure("json", "info", stream, chain=b"")
    log.flush()
    log.configure("json", "info", io.StringIO())
    return stream.getvalue().encode()


def test_a_chain_is_verified() -> None:
    whole = chained()
    assert "It is chained and whole: 2 lines of 1 chain, without a key" in words(made([], statement=True, more=whole))
    document = made([], statement=True, more=whole.splitlines()[0] + b"\n")
    assert "It is chained, and not whole: 1 finding" in words(document)
    assert "the log itself has gaps" in document.verdict
    assert "has no end behind line 1" in words(document)


def test_a_chain_that_was_taken_off_a_log_is_no_chain_that_is_whole() -> None:
    """Whoever has the key knows that there was one."""
    accounting = Accounting(choosing.choice(choosing.Wishes(), NOW), "", Witness(b"k" * 32, open=False))
    accounting.take([json.dumps(one).encode() for one in session({})])
    document = accounting.end([], NOW)
    assert document.tone is Tone.BAD
    assert "It is not chained, though there is a key for its chain" in words(document)


def test_the_first_line_of_a_log_without_its_beginning_is_said_to_be_unproved() -> None:
    witness = Witness(b"", open=True)
    accounting = Accounting(choosing.choice(choosing.Wishes(), NOW), "", witness)
    accounting.take(chained().splitlines()[1:])
    assert "lines that nothing proves, each the first here of its chain: 1" in words(accounting.end([], NOW))


# --- the page -------------------------------------------------------------------------------------------------------

_EMPTY = ("meta", "line", "rect")


class _Strict(HTMLParser):
    """Every tag is closed where it has to be, nothing is fetched, no script, no handler."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "a"), tag
        for name, _ in attrs:
            assert name not in ("src", "href", "style", "action"), name
            assert not name.startswith("on"), name
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _EMPTY

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(document: Document) -> str:
    """The page's text, if it is well made."""
    text = page(document)
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in re.sub(r"<bdi>.*?</bdi>", "", text, flags=re.DOTALL)
    parser = _Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return "".join(parser.text)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</bdi></table></style><script>",
    "&lt;b&gt;",
    "a\u202efdp.exe",
    "\x1b[31m\r\n\0",
    "\ud800",
    EVIL,
)


@pytest.mark.parametrize("statement", [False, True])
def test_nothing_anybody_has_said_is_more_than_text(*, statement: bool) -> None:
    names = (
        "path",
        "user",
        "client",
        "upstream",
        "server",
        "directory",
        "detail",
        "hint",
        "text",
        "tls_version",
        "cipher",
    )
    events = []
    for said in HOSTILE:
        fields = {**dict.fromkeys((*names, "subject", "hostname", "gateway_version", "cause", "verified_by"), said)}
        for event in CALLS:
            events.append({**FILE, **fields, "event": event, "outcome": "torn", "seconds": 5.0, "ok": False})
    document = made(events, statement=statement)
    assert words(document).replace("\n", "").replace("\t", "").isprintable()
    text = checked(document)
    assert "<script>alert(1)</script>" in text
    assert "\\u202e" in text


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes(noise: list[bytes], statement: bool) -> None:
    checked(made(session({}), statement=statement, more=b"\n".join(noise)))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NAMES = sorted(
    {*FILE, "ok", "reply", "cause", "lost", "days_left", "transfers", "suppressed", "subject", "remark", "hint"}
)


@given(st.sampled_from(sorted(CALLS)), st.dictionaries(st.sampled_from(NAMES), SCALARS), st.booleans())
def test_any_values(event: str, values: Event, statement: bool) -> None:
    one = {**FILE, **values, "event": event}
    checked(made([*session({}), one, one], statement=statement))


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.log"
    path.write_text(
        "".join(json.dumps(one) + "\n" for one in session({"path": "<b>[red]x[/red]"}, {"outcome": "torn"}))
    )
    return path


def test_on_the_terminal(day: Path, capfd: Captured) -> None:
    assert main(["report", str(day)]) == 0
    said, told = capfd.readouterr()
    assert told == ""
    assert "✗ 1 file became whole; 1 did not." in said
    assert "ftp.example.com:21" in said


def test_as_a_page(day: Path, tmp_path: Path, capfd: Captured) -> None:
    # A report is replaced by another; a statement with exceptions is a failure, as of `logs --verify`.
    for more, code in (([], 0), (["--statement"], 1), ([], 0)):
        target = tmp_path / "report.html"
        assert main(["report", str(day), "--html", str(target), *more]) == code
        said, told = capfd.readouterr()
        assert told == ""
        assert said.startswith(f"{target}: 1 file")
        parser = _Strict()
        parser.feed(target.read_text())
        assert parser.open == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["day.log", "report.html"]


@pytest.mark.parametrize(
    ("wishes", "code", "fault"),
    [
        (["--html", "DAY"], 2, "is there, and no report: it is not overwritten"),
        (["--html", "DAY/none/x.html"], 2, "--html: "),
        (["--html", "/nowhere/x.html"], 2, "/nowhere is no directory"),
        (["--since", "yesterday"], 2, "--since: 'yesterday' is no time"),
        (["--open"], 2, "--open and --chain-key are for --statement"),
        (["--statement", "--chain-key", "/nowhere"], 2, "--chain-key: "),
        (["/nowhere.log"], 2, "/nowhere.log: no such file"),
        (["--htm", "x"], 2, "did you mean '--html'"),
    ],
)
def test_what_is_wrong_is_one_line(wishes: list[str], code: int, fault: str, day: Path, capfd: Captured) -> None:
    before = day.read_bytes()
    assert main(["report", str(day), *(wish.replace("DAY", str(day)) for wish in wishes)]) == code
    said, told = capfd.readouterr()
    assert said == ""
    assert told.count("\n") == 1
    assert fault in told
    assert day.read_bytes() == before


def test_without_the_extra_it_says_how_to_get_it(
    day: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["report", str(day)]) == 2
    assert capfd.readouterr().err == "ftpsproxy: to make a report: pip install 'ftpsproxy[logs]'\n"
    assert main(["report", str(day), "--html", str(tmp_path / "a.html")]) == 0
    capfd.readouterr()
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert main(["report", str(day), "--html", str(tmp_path / "a.html")]) == 2


def test_a_file_cut_short_is_said_in_the_report(tmp_path: Path, day: Path, capfd: Captured) -> None:
    import gzip

    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(day.read_bytes() * 100)[:-20])
    assert main(["report", str(packed)]) == 1
    said, told = capfd.readouterr()
    assert "could not be read to its end:" in said
    assert told.startswith(f"ftpsproxy: {packed}: damaged: ")
