"""Several outputs of one log: each in its own form, none in another's way, and what is lost is said."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy.config import Log, LogOutput
from ftpsproxy.observe import log, metrics, output, syslog, xferlog
from ftpsproxy.reading.verifying import Verifier
from tests.support.receivers import Message, journal_entry, receiver, until
from tests.test_log import closed, in_a_session, transfer

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _in_a_session() -> Iterator[None]:
    with in_a_session():
        yield


@pytest.fixture(autouse=True)
def _soon_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.2)


def use(*outputs: LogOutput) -> None:
    log.Prepared(Log(outputs=outputs)).use()


def to_file(path: Path, **fields: Any) -> LogOutput:
    return LogOutput(fields.pop("name", path.name), str(path), **{"format": "json", **fields})


def events(path: Path, name: str | None = None) -> Lines:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in found if name in (None, one["event"])]


def lost_by(name: str) -> float:
    table = metrics._row.values()
    return sum(
        values[0] for family, labels, values in table if family is metrics.LOG_OUTPUT_LINES_LOST and labels == (name,)
    )


# --- which line goes where ------------------------------------------------------------------------------------------


def test_each_has_its_own_level_and_form(tmp_path: Path) -> None:
    everything, torn, people = tmp_path / "all", tmp_path / "torn", tmp_path / "people"
    use(to_file(everything, level="debug"), to_file(torn, level="warning"), to_file(people, format="console"))
    assert log.debugs()
    log.session_command(verb="NOOP", argument="")
    transfer()
    transfer(outcome="torn", why="the client has left")
    assert [one["event"] for one in events(everything)] == ["session.command", *["transfer.finished"] * 2]
    assert [one["outcome"] for one in events(torn)] == ["torn"]
    assert [line[9] for line in people.read_text().splitlines()] == ["✓", "✗"]


def test_a_file_is_its_owners_and_a_groups(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        use(to_file(tmp_path / "log"))
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640


def test_standard_error_beside_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    use(LogOutput("stderr", "stderr", "logfmt"), to_file(tmp_path / "log"))
    closed()
    assert "event=session.closed" in capfd.readouterr().err
    assert len(events(tmp_path / "log")) == 1


# --- xferlog --------------------------------------------------------------------------------------------------------


def test_one_line_for_each_transfer_of_a_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "xferlog"
    use(to_file(path, format="xferlog"))
    closed()
    log.transfer_refused(verb="RETR", path="x", reply=550, text="no")
    transfer(verb="LIST", path="")
    transfer(verb="STOR", path="/in/a file.pdf", seconds=0.2)
    transfer(verb="RETR", path="/out/\x1b[2J\nü\u202e.txt", outcome="torn", why="x")
    up, down = path.read_text().splitlines()
    assert up[24:].split(" ") == [
        *("", "1", "10.0.0.1", "12345", "/in/a_file.pdf", "b", "_", "i", "r", "bob", "ftp", "0", "*", "c"),
    ]
    assert down[24:].split(" ")[4:] == ["/out/_[2J_ü_.txt", "b", "_", "o", "r", "bob", "ftp", "0", "*", "i"]


@pytest.mark.parametrize(
    ("changed", "at", "word"),
    [
        ({"type": "A"}, 9, "a"),
        ({"type": "I"}, 9, "b"),
        ({"verb": "APPE"}, 11, "i"),
        ({"verb": "STOU"}, 11, "i"),
        ({"user": "Anonymous"}, 12, "a"),
        ({"user": "a b"}, 13, "a_b"),
        ({"user": None}, 13, "_"),
        ({"seconds": 2.6}, 5, "3"),
        ({"outcome": "aborted"}, 17, "i"),
        ({"path": "sub/x", "directory": "/home"}, 8, "/home/sub/x"),
        ({"path": ""}, 8, "_"),
        ({"client": "fe80::1%eth0"}, 6, "fe80::1%eth0"),
    ],
)
def test_a_line_of_xferlog_word_by_word(changed: dict[str, Any], at: int, word: str) -> None:
    event = {
        "event": "transfer.finished",
        "verb": "RETR",
        "path": "/x",
        "client": "10.0.0.1",
        "user": "tester",
        "bytes": 5,
        "seconds": 0.0,
        "outcome": "complete",
        "type": "I",
        **changed,
    }
    words = xferlog.line(event, 1_800_000_000.0).split()
    assert len(words) == 18
    assert words[at] == word


# --- a place that takes nothing -------------------------------------------------------------------------------------


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    """It keeps so much, and loses the rest; the file beside it has all, and hears of it at once and of the end."""
    pipe, file = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    use(to_file(pipe), to_file(file))
    before = lost_by("pipe")
    for number in range(1, 301):
        transfer(number=number, path="y" * 9000)
    assert [one["number"] for one in events(file, "transfer.finished")] == list(range(1, 301))
    (failing,) = events(file, "gateway.log_failing")
    assert (failing["output"], failing["detail"], failing.get("session")) == ("pipe", "nobody reads it", None)
    numbers: list[int] = []
    said = 0
    with pipe.open("rb") as reader:
        while len(numbers) + said < 300:
            one = json.loads(reader.readline())
            if one["event"] == "gateway.log_lost":
                said += one["lost"]
            else:
                numbers.append(one["number"])
        assert numbers == sorted(numbers)
        assert 0 < said == lost_by("pipe") - before

        def well() -> bool:
            log.sum_up()
            return bool(events(file, "gateway.log_restored"))

        until("well again", well)
    assert events(file, "gateway.log_restored")[0]["lost"] == said


def test_a_device_that_is_full(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log"
    use(LogOutput("full", "/dev/full", "json"), to_file(file))
    before = lost_by("full")
    for number in range(1, 11):
        transfer(number=number)
    assert lost_by("full") - before == 10
    assert [one["event"] for one in events(file)].count("gateway.log_failing") == 1
    assert events(file, "gateway.log_failing")[0]["detail"] == "no space left on device"
    assert (
        capfd.readouterr().err
        == "ftpsproxy: the log can't be written to full, lines are lost: no space left on device\n"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        log.configure("json", "info", io.StringIO())
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_and_is_emptied(small_disk: Path, tmp_path: Path) -> None:
    """No line is glued to one that was cut short by it."""
    file, other = small_disk / "log", tmp_path / "log"
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 40_000)
    use(to_file(file, name="disk"), to_file(other))
    before = lost_by("disk")
    for number in range(1, 101):
        transfer(number=number)
    filler.unlink()
    for number in range(101, 111):
        transfer(number=number)
    whole: Lines = []
    cut = 0
    for line in file.read_text().splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            cut += 1
    numbers = [one["number"] for one in whole if one["event"] == "transfer.finished"]
    said = sum(one["lost"] for one in whole if one["event"] == "gateway.log_lost")
    assert cut <= 1
    assert said == 110 - len(numbers) == lost_by("disk") - before > 0
    assert numbers[-10:] == list(range(101, 111))
    assert len(events(other, "transfer.finished")) == 110


def test_a_line_cut_short_is_ended_before_another_process_goes_on_in_it(small_disk: Path) -> None:
    file, filler = small_disk / "log", small_disk / "filler"
    filler.write_bytes(b"x" * 57_344)
    use(to_file(file))
    for number in range(1, 40):
        transfer(number=number)
    assert not file.read_bytes().endswith(b"\n")
    filler.unlink()
    log.sum_up()  # as every second
    assert file.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("how", ["file", "stdout"])
def test_a_line_that_was_cut_short_by_a_process_that_is_no_more_is_ended(how: str, tmp_path: Path) -> None:
    """The disk was full as it was killed."""
    file = tmp_path / "log"
    file.write_bytes(b'{"timestamp":"2026-')
    if how == "file":
        use(to_file(file))
        transfer(number=1)
    else:
        with file.open("a") as stream:
            log.configure("json", "info", stream)
            transfer(number=1)
    cut, line = file.read_text().splitlines()
    assert cut == '{"timestamp":"2026-'
    assert json.loads(line)["number"] == 1


def test_a_line_of_another_process_that_was_cut_short_is_ended(tmp_path: Path) -> None:
    """It has found room for some of it, and nobody since."""
    file = tmp_path / "log"
    use(to_file(file))
    transfer(number=1)
    with file.open("ab") as other:
        other.write(b'{"timestamp":"2026-')
    log.sum_up()  # as every second
    transfer(number=2)
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()[::2]] == [1, 2]


def test_what_was_lost_is_said_though_no_line_comes(small_disk: Path) -> None:
    file, filler = small_disk / "log", small_disk / "filler"
    filler.write_bytes(b"x" * 57_344)
    use(to_file(file))
    for number in range(1, 40):
        transfer(number=number)
    filler.unlink()
    log.sum_up()  # as every second
    assert json.loads(file.read_text().splitlines()[-1])["event"] == "gateway.log_lost"


def test_what_nobody_has_read_when_the_process_ends_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    use(to_file(tmp_path / "pipe"), to_file(tmp_path / "log", chain=True))
    for number in range(1, 401):
        transfer(number=number)
    log.flush()
    said, end = events(tmp_path / "log")[-2:]
    assert (said["event"], said["output"], end["event"]) == ("gateway.log_failing", "pipe", "gateway.chain_ended")
    assert "lines of the log are lost to pipe, nobody has read them: 3" in capfd.readouterr().err


# --- files that are moved -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_file_that_is_gone_is_made_anew(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log"
    use(to_file(file))
    transfer(number=1)
    if how == "moved":
        file.rename(tmp_path / "log.1")
    else:
        file.unlink()
    log.sum_up()  # as every second
    transfer(number=2)
    assert [one["number"] for one in events(file)] == [2]
    if how == "moved":
        assert [one["number"] for one in events(tmp_path / "log.1")] == [1]


def test_a_file_that_is_shortened_goes_on_at_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "log"
    use(to_file(file))
    transfer(number=1)
    os.truncate(file, 0)
    transfer(number=2)
    assert [one["number"] for one in events(file)] == [2]


def test_a_file_that_cannot_be_made_anew_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, other = tmp_path / "logs", tmp_path / "log"
    folder.mkdir()
    use(to_file(folder / "log", name="gone"), to_file(other))
    transfer(number=1)
    folder.rename(tmp_path / "moved")
    log.reopen()
    transfer(number=2)
    assert [one["number"] for one in events(tmp_path / "moved" / "log")] == [1, 2]
    assert "can't be opened anew" in events(other, "gateway.log_failing")[0]["detail"]


def test_several_processes_tear_no_line_of_each_other(tmp_path: Path) -> None:
    file = tmp_path / "log"
    use(to_file(file))
    children = []
    for worker in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                for number in range(1, 201):
                    transfer(number=number, path=f"{worker} {'z' * 3000}")
            finally:
                os._exit(0)
        children.append(pid)
    for number in range(20):
        file.rename(tmp_path / f"log.{number}")
        log.reopen()
    for pid in children:
        os.waitpid(pid, 0)
    found = [one for path in tmp_path.glob("log*") for one in events(path)]
    assert sorted((one["path"][0], one["number"]) for one in found) == [
        (str(worker), number) for worker in range(4) for number in range(1, 201)
    ]


# --- syslog ---------------------------------------------------------------------------------------------------------


def to_syslog(place: str | tuple[str, int], **fields: Any) -> LogOutput:
    return LogOutput(fields.pop("name", "syslog"), "syslog", **{"format": "json", "address": place, **fields})


@pytest.mark.parametrize("kind", ["datagrams", "stream", "udp", "udp to a name"])
def test_messages_as_rfc_5424_has_them(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where: Path | tuple[str, int] = tmp_path / "log"
    if kind.startswith("udp"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            where = free.getsockname()
    with receiver(where, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM) as taken:
        use(
            to_syslog(
                where if isinstance(where, tuple) else str(where), level="debug", facility="local3", app_name="gw"
            )
        )
        log.session_command(verb="NOOP", argument="")
        transfer(path='a\nb "c"\x1b')
        transfer(outcome="torn", why="x")
        log.gateway_starved(detail="y")
        messages = [Message.read(one) for one in taken.wait_for(4)]
    assert [one.severity for one in messages] == [7, 6, 4, 3]
    assert {(one.facility, one.app_name, one.procid) for one in messages} == {(19, "gw", os.getpid())}
    assert [json.loads(one.message)["event"] for one in messages] == [one.msgid for one in messages]
    assert json.loads(messages[1].message)["path"] == 'a\nb "c"\x1b'


def _known_late(where: tuple[str, int]) -> Any:
    """Names are known to whoever has time to ask."""

    def getaddrinfo(*_: object, flags: int, type: socket.SocketKind) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        assert threading.current_thread() is not threading.main_thread()
        return [(socket.AF_INET, type, 0, "", where)]

    return getaddrinfo


@pytest.mark.parametrize("kind", ["datagrams", "stream", "udp"])
def test_a_daemon_that_is_gone_and_comes_back(kind: str, tmp_path: Path) -> None:
    """What is said meanwhile comes later; of UDP some is lost, which is counted."""
    where: Path | tuple[str, int] = tmp_path / "socket"
    if kind == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            where = free.getsockname()
    how = socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
    file = tmp_path / "log"
    with receiver(where, how) as taken:
        use(to_syslog(where if isinstance(where, tuple) else str(where)), to_file(file))
        transfer(number=1)
        taken.wait_for(1)
    before = lost_by("syslog")
    for number in range(2, 52):
        transfer(number=number)
    until("said by the other", lambda: events(file, "gateway.log_failing"))
    with receiver(where, how) as taken:
        transfer(number=52)
        got = [json.loads(Message.read(one).message) for one in taken.wait_for_text(b'"number":52,')]

        def well() -> bool:
            log.sum_up()
            return bool(events(file, "gateway.log_restored"))

        until("well again", well)
    numbers = [one["number"] for one in got if one["event"] == "transfer.finished"]
    assert numbers == sorted(numbers)
    lost = lost_by("syslog") - before
    assert len(numbers) + lost in (51, 52)  # a stream's first line may have gone to nobody
    assert lost <= (10 if kind == "udp" else 0)
    assert [one["number"] for one in events(file, "transfer.finished")] == list(range(1, 53))


def test_a_daemon_that_was_never_there_is_waited_for(tmp_path: Path) -> None:
    where = tmp_path / "socket"
    use(to_syslog(str(where)))
    transfer(number=1)
    with receiver(where) as taken:
        assert b'"number":1,' in taken.wait_for(1)[0]


def test_a_daemon_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    where, file = tmp_path / "socket", tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(where))
        use(to_syslog(str(where)), to_file(file))
        for number in range(1, 1001):
            transfer(number=number, path="y" * 4000)
        assert len(events(file, "transfer.finished")) == 1000
        assert events(file, "gateway.log_failing")
        assert lost_by("syslog") > 0


@pytest.mark.parametrize("format", ["json", "logfmt", "console", "ecs"])
def test_a_message_has_a_bound_and_stays_what_it_is(format: Any, tmp_path: Path) -> None:
    where = tmp_path / "socket"
    with receiver(where) as taken:
        use(to_syslog(str(where), format=format, max_bytes=2048, chain=format == "json"))
        transfer(path="ü" * 9000, outcome="torn", why="\x01" * 9000)
        got = taken.wait_for(2 if format == "json" else 1)
    assert all(len(one) <= 2048 for one in got)
    text = Message.read(got[-1]).message
    if format in ("json", "ecs"):
        path = json.loads(text)["path" if format == "json" else "ftpsproxy.path"]
        assert path.startswith("ü" * 8)
        assert path.endswith("…")
    else:
        assert text.endswith("…")


def test_the_facilities_are_those_of_the_configuration() -> None:
    from typing import get_args

    from ftpsproxy.config.values import Facility

    assert set(get_args(Facility)) <= set(syslog.FACILITIES)
    assert syslog.FACILITIES.index("local0") == 16
    assert syslog.FACILITIES.index("ftp") == 11


# --- journald -------------------------------------------------------------------------------------------------------


def to_journald(where: Path, **fields: Any) -> LogOutput:
    return LogOutput("journald", "journald", address=str(where), **fields)


def test_an_entry_of_the_journal(tmp_path: Path) -> None:
    where = tmp_path / "socket"

    def crash() -> None:
        try:
            raise ValueError("one\ntwo")
        except ValueError as error:
            log.session_crashed(error=error)

    with receiver(where) as taken:
        use(to_journald(where, level="debug"))
        transfer(path="/in/scan.pdf")
        crash()
        log.gateway_ready(
            listening=[{"listener": "a", "address": "::1", "port": 1, "upstream": "u", "url": "ftps://h"}]
        )
        whole, crashed, ready = map(journal_entry, taken.wait_for(3))
    assert whole["MESSAGE"].startswith("✓ ↓ /in/scan.pdf")
    assert (whole["PRIORITY"], whole["SYSLOG_IDENTIFIER"]) == ("6", "ftpsproxy")
    assert (whole["FTPSPROXY_EVENT"], whole["FTPSPROXY_PATH"], whole["FTPSPROXY_USER"]) == (
        "transfer.finished",
        "/in/scan.pdf",
        "bob",
    )
    assert whole["FTPSPROXY_RESUMED"] == "true"
    assert "FTPSPROXY_REASON" not in whole
    assert crashed["PRIORITY"] == "3"
    assert crashed["FTPSPROXY_TRACEBACK"].endswith("ValueError: one\ntwo\n")
    assert "\n" not in crashed["MESSAGE"]
    assert "address:::1" in ready["FTPSPROXY_LISTENING"]


def test_a_peer_cannot_forge_a_field_of_the_journal(tmp_path: Path) -> None:
    where = tmp_path / "socket"
    with receiver(where) as taken:
        use(to_journald(where))
        transfer(path="x\nPRIORITY=0\nMESSAGE=forged\n\udcff")
        (entry,) = map(journal_entry, taken.wait_for(1))
    assert entry["PRIORITY"] == "6"
    assert entry["FTPSPROXY_PATH"] == "x\nPRIORITY=0\nMESSAGE=forged\n\\udcff"
    assert entry["MESSAGE"].isprintable()


def test_an_entry_that_is_too_large_for_a_datagram(tmp_path: Path) -> None:
    where = tmp_path / "socket"
    with receiver(where) as taken:
        use(to_journald(where))
        transfer(path="p" * 60_000, outcome="torn", why="w" * 90_000 + "end")
        (entry,) = map(journal_entry, taken.wait_for(1))
    assert entry["FTPSPROXY_PATH"] == "p" * 60_000
    assert len(entry["FTPSPROXY_DETAIL"]) < 66_000
    assert entry["FTPSPROXY_DETAIL"].endswith(" …")


def test_a_journal_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    where = tmp_path / "socket"
    with receiver(where) as taken:
        use(to_journald(where))
        transfer(number=1)
        taken.wait_for(1)
    transfer(number=2)
    with receiver(where) as taken:
        assert journal_entry(taken.wait_for(1)[0])["FTPSPROXY_NUMBER"] == "2"


# --- chains ---------------------------------------------------------------------------------------------------------


def findings(lines: list[str]) -> list[str]:
    verifier = Verifier(b"", open=False)
    return [*(one for at, line in enumerate(lines) for one in verifier.line(line.encode(), str(at))), *verifier.end()]


def test_each_output_has_a_chain_of_its_own(tmp_path: Path) -> None:
    one, other, socket_path = tmp_path / "a", tmp_path / "b", tmp_path / "socket"
    with receiver(socket_path) as taken:
        use(
            to_file(one, chain=True, level="debug"),
            to_file(other, chain=True, level="warning"),
            to_file(tmp_path / "xferlog", format="xferlog"),
            to_syslog(str(socket_path), chain=True),
        )
        for number in range(1, 6):
            log.session_command(verb="NOOP", argument="")
            transfer(number=number, outcome="torn", why="x")
        log.flush()
        messages = [Message.read(data).message for data in taken.wait_for(7)]
    texts = [one.read_text().splitlines(), other.read_text().splitlines(), messages]
    assert [len(lines) for lines in texts] == [12, 7, 7]
    assert [findings(lines) for lines in texts] == [[], [], []]
    assert findings([*texts[1][:3], *texts[1][4:]]) != []
    assert len({json.loads(lines[0])["writer"] for lines in texts}) == 3


# --- other outputs by a new configuration ----------------------------------------------------------------------------


def test_outputs_that_come_go_and_stay(tmp_path: Path) -> None:
    """What stays goes on in its chain; what goes ends it."""
    stays, goes, comes = tmp_path / "stays", tmp_path / "goes", tmp_path / "comes"
    use(to_file(stays, chain=True), to_file(goes, chain=True))
    transfer(number=1)
    use(to_file(stays, chain=True, name="renamed"), to_file(comes, format="logfmt"))
    transfer(number=2)
    use(to_file(stays, chain=True), to_file(comes, level="warning"))
    transfer(number=3)
    log.flush()
    assert findings(stays.read_text().splitlines()) == []
    assert [one.get("number") for one in events(stays)] == [None, 1, 2, 3, None]
    assert findings(goes.read_text().splitlines()) == []
    assert [one.get("number") for one in events(goes)] == [None, 1, None]
    assert comes.read_text().count("\n") == 1
    opened = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.exists()]
    assert opened.count(str(comes)) == 1
    assert str(goes) not in opened


def test_one_that_is_retired_takes_no_line_and_keeps_no_file(tmp_path: Path) -> None:
    """Another output may still tell it of its trouble."""
    use(to_file(tmp_path / "a"), to_syslog(str(tmp_path / "nobody")))
    a = log.writing._outputs[(str(tmp_path / "a"),)]
    use(to_file(tmp_path / "b"))
    (tmp_path / "a").unlink()
    a.line("late")
    a.look()
    a.reopen()
    assert a._thread is None
    assert not (tmp_path / "a").exists()


def test_one_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    use(to_file(tmp_path / "log"))
    with pytest.raises(log.LogError, match=r"^log\.output\.x: cannot write .*/none/x: no such file or directory$"):
        log.Prepared(Log(outputs=(to_file(tmp_path / "new"), to_file(tmp_path / "none" / "x"))))
    transfer(number=1)
    assert [one["number"] for one in events(tmp_path / "log")] == [1]


def test_from_standard_output_to_outputs_and_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "info")
    transfer(number=1)
    use(LogOutput("stdout", format="json"), to_file(tmp_path / "log"))
    transfer(number=2)
    log.Prepared(Log("json")).use()
    transfer(number=3)
    assert [json.loads(line)["number"] for line in capfd.readouterr().out.splitlines()] == [1, 2, 3]
    assert [one["number"] for one in events(tmp_path / "log")] == [2]


def test_threads_and_forks_leave_nobody_waiting(tmp_path: Path) -> None:
    """A process that begins while another output waits for its daemon has its own connection and its own lines."""
    where, file = tmp_path / "socket", tmp_path / "log"
    use(to_syslog(str(where)), to_file(file))
    transfer(number=1)
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            transfer(number=2)
            log.flush()
            until("written", lambda: threading.active_count() == 1)
            status = 0
        os._exit(status)
    with receiver(where) as taken:
        got = b"".join(taken.wait_for(2))
    assert os.waitpid(pid, 0)[1] == 0
    assert (got.count(b'"number":1,'), got.count(b'"number":2,')) == (1, 1)
