"""`ftpsproxy logs`: every view of a log that real sessions have left, and of whatever else may stand in a file."""

from __future__ import annotations

import contextlib
import csv
import ftplib
import gzip
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ftpsproxy.cli.main import main
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.observe import log, schema
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.fields import LIMITS_OF_CLIENTS, LIMITS_OF_SESSIONS, UPSTREAM_CAUSES
from ftpsproxy.reading import advice, choosing, sessions, sources
from ftpsproxy.reading.decoding import Decoder
from ftpsproxy.reading.reading import Form, Look, Reading
from ftpsproxy.reading.views import VIEWS
from tests.support import servers, vocabulary
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.servers import PASSWORD, USER
from tests.test_log import EVENTS as CALLS
from tests.test_log import EVIL, logged, session_in, transfer

PATIENCE_SECONDS = 60.0
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
zstandard = sources._zstandard()
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def day(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a gateway that has had a few real sessions."""
    folder = tmp_path_factory.mktemp("day")
    with (
        servers.pyftpdlib(certificates) as server,
        start_gateway(server.url, certificates.ca_file, log={"level": "info"}) as gateway,
    ):
        with ftplib.FTP(timeout=60) as ftp:
            ftp.connect(gateway.endpoint.host, gateway.endpoint.port)
            ftp.login(USER, PASSWORD)
            ftp.mkd("daily")
            ftp.cwd("daily")
            ftp.storbinary("STOR scan one.pdf", io.BytesIO(b"x" * 300_000))
            ftp.retrbinary("RETR scan one.pdf", lambda _: None)
            ftp.rename("scan one.pdf", "done.pdf")
            with pytest.raises(ftplib.error_perm):
                ftp.retrbinary("RETR nothing", lambda _: None)
            with pytest.raises(ftplib.error_perm):
                ftp.sendcmd("AUTH TLS")
        with contextlib.closing(ftplib.FTP(timeout=60)) as ftp:
            ftp.connect(gateway.endpoint.host, gateway.endpoint.port)
            with pytest.raises(ftplib.error_perm):
                ftp.login(USER, "wrong")
        with contextlib.closing(ftplib.FTP(timeout=60)) as ftp:
            ftp.connect(gateway.endpoint.host, gateway.endpoint.port)
            ftp.login(USER, PASSWORD)
            ftp.voidcmd("TYPE I")
            connection = ftp.transfercmd("STOR broken")
            connection.sendall(b"x" * 1000)
            ftp.close()  # its control connection goes first: the upload is torn
            connection.setsockopt(*_RESET)
            connection.close()
            gateway.wait_for_event("session.closed", count=3)
        lines = [line for line in gateway.text.splitlines() if line.startswith("{")]
    path = folder / "gateway.log"
    path.write_text("\n".join(lines) + "\n")
    return path


_RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


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


# --- views of a real log --------------------------------------------------------------------------------------------


def test_transfers_are_the_view_unless_another_is_asked_for(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day)]) == 0
    said, told = capfd.readouterr()
    assert told == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d UTC", said.splitlines()[0])
    path = '"[^"]*daily/scan one.pdf"'
    for arrow in "↑↓":
        assert re.search(
            rf"^\d\d:\d\d:\d\d ✓ {arrow} {path} +300 kB .* {USER}@server +TLS 1\.[23]( resumed)? +127\.0\.0\.1$",
            said,
            re.MULTILINE,
        )
    assert re.search(r"^\S+ ✗ ↑ \S*broken .* torn: ", said, re.MULTILINE)
    assert re.search(r"^\S+ ✗   refused RETR \S*nothing .* 550 ", said, re.MULTILINE)
    assert "\n3 transfers, 2 complete, 1 torn; 1 refused; ↑ 301 kB, ↓ 300 kB\n" in said
    assert re.search(r"^3 sessions, ", said, re.MULTILINE)
    assert re.search(r" UTC, \d+ lines read\n$", said)


def test_sessions(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day), "--sessions"]) == 0
    first, second, third = capfd.readouterr().out.splitlines()[1:4]
    assert re.search(
        rf"^\S+ !   [0-9a-f]{{12}}  .*2 transfers, ↑ 300 kB, ↓ 300 kB .*{USER}@server .* refused, quit$", first
    )
    assert re.search(r"^\S+ !   .*0 transfers .* 1 refused, client gone", second)
    assert re.search(r"^\S+ ✗   .*1 transfer, ↑ 1\.0 kB .* 1 torn, client gone", third)


def test_failures_say_why_and_what_to_do(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day), "--failures"]) == 0
    said = capfd.readouterr().out
    assert "RETR" in said
    assert (
        "\n           why: there is no such file or directory, or it is not allowed\n           do: see the path"
        in said
    )
    assert "\n           why: the server refuses this user and password\n" in said
    assert "\n           why: the gateway itself refuses this\n           do: AUTH and PROT: switch TLS off" in said
    assert "broken" in said
    assert "✓" not in said


def test_events_and_raw(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day), "--events"]) == 0
    assert "made directory" in (events := capfd.readouterr().out)
    assert "renamed" in events
    assert main(["logs", str(day), "--raw"]) == 0
    assert capfd.readouterr().out == day.read_text()


def test_json_is_the_events_without_old_names(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day), "--json", "--events"]) == 0
    found = [json.loads(one) for one in capfd.readouterr().out.splitlines()]
    assert len(found) == len(day.read_text().splitlines())
    for event in found:
        old = EVENTS[event["event"]].old.keys() - {*EVENTS[event["event"]].always, *EVENTS[event["event"]].maybe}
        assert not event.keys() & old
    whole = Draft202012Validator(schema.schema())
    assert [fault.message for event in found for fault in whole.iter_errors(event)] == []


@pytest.mark.parametrize("view", VIEWS)
def test_csv_is_a_table(day: Path, view: str, capfd: Captured) -> None:
    assert main(["logs", str(day), "--csv", f"--{view}"]) == 0
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert len(rows) >= 3
    assert all(None not in row and None not in row.values() for row in rows)
    if view == "transfers":
        assert (rows[0]["bytes"], rows[0]["outcome"], rows[0]["user"]) == ("300000", "complete", USER)
        assert rows[0]["path"] == "scan one.pdf"


def test_filters_of_a_real_log(day: Path, capfd: Captured) -> None:
    for wish, count in (
        (["--outcome", "torn"], 1),
        (["--outcome", "refused"], 1),
        (["--verb", "retr"], 2),
        (["--path", "*/daily/*"], 3),
        (["--path", "broken"], 1),
        (["--client", "127.0.0.0/8"], 4),
        (["--client", "10.0.0.0/8,::1"], 0),
        (["--user", f"{USER[:2]}*"], 4),
        (["--upstream", "server"], 4),
        (["--upstream", "other"], 0),
        (["--since", "1h"], 4),
        (["--until", "1h"], 0),
        (["--since", "2020-01-01", "--until", "2020-12-31"], 0),
    ):
        assert main(["logs", str(day), "--json", *wish]) == 0
        assert len(capfd.readouterr().out.splitlines()) == count, wish


def test_sessions_by_their_files(day: Path, capfd: Captured) -> None:
    assert main(["logs", str(day), "--json", "--sessions", "--path", "*broken"]) == 0
    (found,) = [json.loads(one) for one in capfd.readouterr().out.splitlines()]
    assert (found["torn"], found["user"]) == (1, USER)
    for identity in (found["session"], found["session"][:6]):
        assert main(["logs", str(day), "--json", "--session", identity]) == 0
        assert [json.loads(one)["path"] for one in capfd.readouterr().out.splitlines()] == ["broken"]


# --- filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "fault"),
    [
        (["--client", "10.0.0"], "--client: '10.0.0' is no address or network"),
        (["--outcome", "broken"], "--outcome: must be one of complete, torn, aborted, refused, not 'broken'"),
        (["--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["--until", "9999999999h"], "--until: '9999999999h' is no time"),
        (["--session", "xyz"], "--session: 'xyz' is no session's id"),
        (["--sessions", "--raw"], "not allowed with"),
        (["--strange"], "unknown argument '--strange'"),
        (["--follw"], "did you mean '--follow'"),
    ],
)
def test_a_wish_that_is_wrong_is_one_line(wishes: list[str], fault: str, day: Path, capfd: Captured) -> None:
    try:
        code = main(["logs", str(day), *wishes])
    except SystemExit as left:
        code = int(left.code or 0)
    assert code == 2
    said, told = capfd.readouterr()
    assert said == ""
    assert told.count("\n") == 1
    assert fault in told


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ("2h", None, 1),
        ("1h", None, 0),
        (None, "2026-11-27", 0),
        (None, "2026-11-28", 1),
        ("2026-11-28T10:00", None, 1),
        ("2026-11-28T11:00:00+01:00", None, 1),
        ("2026-11-28T12:00:00+01:00", None, 0),
        (None, "2026-11-28T10:00:00Z", 1),
    ],
)
def test_times(since: str | None, until: str | None, count: int) -> None:
    wishes = {name: text for name, text in (("since", since), ("until", until)) if text is not None}
    assert len(records(line(), **wishes)) == count


def test_an_ipv6_client_with_a_zone() -> None:
    assert len(records(line(client="fe80::1%eth0"), client="fe80::/10")) == 1
    assert records(line(client="unknown"), client="fe80::/10") == []


# --- what else may stand in a file ----------------------------------------------------------------------------------


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
    assert sum(len(list(decoder.events(batch))) for batch in found) == 2
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


# --- names of the version before ------------------------------------------------------------------------------------


@pytest.fixture
def _in_a_session() -> Iterator[None]:
    log.bind("0123456789ab", "10.0.0.1", "scanners", "archive")
    with vocabulary.unwatched():  # lines of the gateway, too, are written in a session here
        session_in()
        yield
    log.unbind()
    log.configure("json", "info", io.StringIO())


@pytest.mark.usefixtures("_in_a_session")
@pytest.mark.parametrize("name", CALLS)
def test_a_line_of_the_version_before_says_the_same(name: str) -> None:
    """As far as it said it then: with only the old names of those that have one, it is as with the new."""
    text = logged("json", CALLS[name][1])
    said = json.loads(text)
    old = EVENTS[name].old.keys()
    if not old & said.keys():
        return
    (now,) = records(text, "events")
    new = {"cause", "detail", "remark", "listening", "drain_seconds", "said", "tls_version", "server", "server_address"}
    new |= {"handshake_seconds", "came_from", "lost"}
    if name == "session.reply":
        new = {"reply"}
    elif name == "transfer.finished":
        new = {"detail", "remark"}
    then = {key: value for key, value in said.items() if key in old or key not in new}
    (found,) = records(json.dumps(then) + "\n", "events")
    for key in ("cause", "detail", "tls_version", "server", "server_address", "handshake_seconds", "said", "came_from"):
        if key in now and name not in ("data.failed", "upstream.reply_ignored", "upstream.failed"):
            assert found.get(key) == now[key], key
    if name in ("gateway.ready", "gateway.reloaded"):
        assert [one["address"] for one in found["listening"]] == [one["address"] for one in now["listening"]]
        assert read(json.dumps(then) + "\n", "events").count("→") == 2


def test_who_and_where_come_from_the_lines_before_where_a_line_has_them_not() -> None:
    old = {key: value for key, value in json.loads(line()).items() if key not in ("user", "server", "directory")}
    text = line("upstream.secured", host="ftp.example.com", port=21, address="192.0.2.1", version="TLSv1.3", user=None)
    text = json.dumps({key: value for key, value in json.loads(text).items() if key not in ("server", "user")}) + "\n"
    text += line("session.login", ok=True, reply=230, user="tester")
    text += json.dumps({**old, "outcome": "torn", "reason": "broke"}) + "\n"
    (found,) = records(text, user="tester")
    assert (found["user"], found["server"], found["server_address"]) == ("tester", "ftp.example.com:21", "192.0.2.1")
    assert found["detail"] == "broke"
    assert records(text, user="other") == []


# --- why, and what to do --------------------------------------------------------------------------------------------


def test_every_cause_and_limit_has_its_words() -> None:
    assert advice._UPSTREAM.keys() == set(UPSTREAM_CAUSES)
    assert advice._DATA.keys() == {cause.value for cause in Cause}
    assert advice._LIMITS.keys() == {*LIMITS_OF_CLIENTS, *LIMITS_OF_SESSIONS}


@pytest.mark.usefixtures("_in_a_session")
@pytest.mark.parametrize("name", CALLS)
def test_every_failure_has_a_reason(name: str) -> None:
    for found in records(logged("json", CALLS[name][1], "warning"), "failures"):
        assert found["why"], name


@pytest.mark.usefixtures("_in_a_session")
def test_what_went_well_is_no_failure() -> None:
    said = "".join(logged("json", call) for call in (transfer, CALLS["session.opened"][1], CALLS["gateway.ready"][1]))
    assert records(said, "failures") == []


def test_what_an_event_advises_itself_comes_first() -> None:
    (found,) = records(line("data.failed", side="server", cause="refused", hint="look there"), "failures")
    assert found["advice"] == "look there"


# --- where lines come from ------------------------------------------------------------------------------------------


def test_packed_files_and_rotated_sets_in_order(tmp_path: Path, capfd: Captured) -> None:
    def at(hour: int) -> bytes:
        return line(timestamp=f"2026-11-28T{hour:02}:00:00.000Z", path=f"{hour}").encode()

    live = tmp_path / "g.log"
    live.write_bytes(at(5))
    (tmp_path / "g.log.1").write_bytes(at(4))
    (tmp_path / "g.log.2.gz").write_bytes(gzip.compress(at(1)) + gzip.compress(at(2)))
    (tmp_path / "g.log-20261128.zst").write_bytes(zstandard.compress(at(0)) + zstandard.compress(at(3)))
    (tmp_path / "other.log").write_bytes(at(9))

    def paths(*arguments: str) -> list[str]:
        assert main(["logs", "--json", *arguments]) == 0
        return [json.loads(one)["path"] for one in capfd.readouterr().out.splitlines()]

    assert paths(str(live)) == ["5"]
    assert paths("--rotated", str(live)) == ["0", "3", "1", "2", "4", "5"]
    assert paths(*(str(one) for one in sorted(tmp_path.glob("g.log*"), reverse=True))) == ["0", "3", "1", "2", "4", "5"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_is_cut_or_damaged_is_read_as_far_as_it_goes(
    pack: Any, tmp_path: Path, capfd: Captured
) -> None:
    whole = pack("".join(line(path=f"{number}{os.urandom(100).hex()}") for number in range(5000)).encode())
    for spoilt in (whole[: len(whole) // 2], whole[: len(whole) // 2] + b"\xff" * 5000):
        path = tmp_path / "g.log.gz"
        path.write_bytes(spoilt)
        assert main(["logs", str(path)]) == 1
        said, told = capfd.readouterr()
        assert re.search(r"\n[\d,]{3,} transfers, ", said)
        assert told.startswith(f"ftpsproxy: {path}: ")
        assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [["missing.log"], ["."], ["-", "x"], ["--follow", "x.gz"]])
def test_a_file_that_can_not_be_read_is_one_line(
    arguments: list[str], tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b""))
    assert main(["logs", *arguments]) == 2
    said, told = capfd.readouterr()
    assert (said, told.count("\n")) == ("", 1)


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "ftpsproxy", "logs", *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_standard_input_is_shown_as_it_comes() -> None:
    with command("-", "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(line(path=str(number)).encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["path"] == str(number)
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_pipe_by_its_name(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with command(str(fifo), "--json") as process:
        fifo.write_bytes(gzip.compress(line().encode()))
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert json.loads(out)["path"] == "a.pdf"


def test_follow_goes_on_through_rotation_until_ctrl_c(tmp_path: Path) -> None:
    """Moved, with lines still written to it behind the move; emptied (copytruncate); a line in two parts."""
    path = tmp_path / "g.log"
    path.write_text(line(path="0"))
    with command(str(path), "--follow", "--json") as process:
        try:
            assert process.stdout is not None
            stream = process.stdout

            def heard() -> str:
                found: str = json.loads(stream.readline())["path"]
                return found

            assert heard() == "0"
            with path.open("a") as file:
                text = line(path="1")
                file.write(text[:20])
                file.flush()
                file.write(text[20:])
                file.flush()
                assert heard() == "1"
                path.rename(tmp_path / "g.log.1")
                file.write(line(path="2") + line(path="cut")[:40])
            path.write_text(line(path="3"))
            assert [heard(), heard()] == ["2", "3"]
            os.truncate(path, 0)
            with path.open("a") as file:
                file.write(line(path="4").replace(", ", ","))
            assert heard() == "4"
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0
            assert told == b"ftpsproxy: 1 line damaged\n"
        finally:
            process.kill()


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    with command("-", "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line().encode())
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    path.write_text(line() * 20_000)
    with command(str(path), "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    path.write_text(line())
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "ftpsproxy", "logs", str(path)]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1
    assert done.stderr == b"ftpsproxy: cannot write to standard output: no space left on device\n"


def test_without_its_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = "from ftpsproxy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    program = [sys.executable, "-c", f"import sys; sys.modules['msgspec'] = None; {code}", "logs"]
    done = subprocess.run([*program, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ftpsproxy: to read a log: pip install 'ftpsproxy[logs]'\n"
    done = subprocess.run([*program, "--schema"], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (0, schema.text())


# A process begins with the memory of the one it was forked from, so a small one starts it.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Peak of the process over 1 MB and over 50 MB of different sessions; the bound is far above what is needed."""
    with vocabulary.unwatched():
        peaks = []
        for size in (1_000_000, 50_000_000):
            path = tmp_path / "g.log"
            with path.open("w") as file:
                number = 0
                while file.tell() < size:
                    file.write(
                        "".join(line(session=f"{number + one:012x}", path=f"{number + one}") for one in range(1000))
                    )
                    number += 1000
            program = [sys.executable, "-c", PEAK, sys.executable, "-m", "ftpsproxy", "logs", str(path), "--sessions"]
            done = subprocess.run([*program, "--json"], capture_output=True, timeout=PATIENCE_SECONDS)
            peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 60_000
    assert peaks[1] < 100_000
