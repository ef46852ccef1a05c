"""The log: its vocabulary, that nothing can forge a line, that no password gets in, that writing it never fails."""

import contextlib
import inspect
import io
import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from ftpsproxy.ftp.changes import Action, Change
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause, DataFailure
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.orders import Ending, HangUp, Ignored, Transfer
from ftpsproxy.observe import log
from ftpsproxy.observe.events import EVENTS as EVENTS_SAID
from ftpsproxy.observe.events import Of
from tests.support import vocabulary

Format = Literal["json", "logfmt", "console", "ecs"]
FORMATS: list[Format] = ["json", "logfmt", "console"]
EVIL = 'a\nb\r\n{"event":"session.login"}\x1b[2J\x00\x85\u2028\u202e\udcff é " \\ = \t.txt'


@contextlib.contextmanager
def in_a_session() -> Iterator[None]:
    """What is logged meanwhile is of one that has logged in, and read by nobody unless the test has it so."""
    log.bind("0123456789ab", "10.0.0.1", "scanners", "archive")
    log.configure("json", "info", io.StringIO())
    session_in()
    yield
    log.unbind()
    log.configure("json", "info", io.StringIO())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with in_a_session():
        yield


def logged(format: Format, call: Callable[[], None], level: Literal["debug", "info", "warning"] = "debug") -> str:
    stream = io.StringIO()
    log.configure(format, level, stream)
    call()
    return stream.getvalue()


def record(call: Callable[[], None]) -> dict[str, Any]:
    text = logged("json", call)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    found: dict[str, Any] = json.loads(text)
    return found


def transfer(**changed: Any) -> None:
    values: dict[str, Any] = {
        "direction": "download",
        "bytes": 12345,
        "seconds": 0.12345678,
        "ttfb_seconds": 0.0123,
        "client_mode": "passive",
        "upstream_mode": "epsv",
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "resumed": True,
        "close_notify": True,
        "reply": 226,
        "outcome": "complete",
        "why": "",
        "failed": None,
        "sha256": None,
    }
    order = order_of(**{key: changed.pop(key) for key in ("number", "verb", "path") if key in changed})
    log.transfer_finished(order, log.facts(order.place), **{**values, **changed})


def order_of(number: int = 1, verb: str = "RETR", path: str = "/a file") -> Transfer:
    return Transfer(number, verb.encode(), path, Direction.DOWNLOAD, b"S", b"I", 5, Place(b"daily", relative=True))


def closed() -> None:
    end = HangUp(Ending.QUIT)
    log.session_closed(seconds=1.23456, end=end, commands=3, transfers=2, torn=1, bytes_up=4, bytes_down=5)


LISTENING: list[log.Endpoint] = [
    {"listener": "a", "address": "127.0.0.1", "port": 21, "upstream": "u", "url": "ftpes://x:21"},
    {"listener": "b", "address": "::1", "port": 22, "upstream": "u", "url": "ftpes://x:21"},
]
EVENTS: dict[str, tuple[str, Callable[[], None]]] = {
    "gateway.ready": ("info", lambda: log.gateway_ready(listening=LISTENING)),
    "gateway.reloaded": ("info", lambda: log.gateway_reloaded(listening=LISTENING, admin="127.0.0.1:9121")),
    "gateway.replaced": ("info", lambda: log.gateway_replaced(pid=4711, sessions=3)),
    "gateway.replace_failed": ("error", lambda: log.gateway_replace_failed(detail="ftpsproxy.toml: no such file")),
    "gateway.reload_failed": ("error", lambda: log.gateway_reload_failed(detail="ftpsproxy.toml: no such file")),
    "gateway.worker_lost": ("error", lambda: log.gateway_worker_lost(worker=1, pid=99, status=-9)),
    "gateway.worker_retired": (
        "error",
        lambda: log.gateway_worker_retired(worker=1, pid=99, detail="too many open files"),
    ),
    "gateway.crashed": ("error", lambda: log.gateway_crashed(error=ValueError("x"))),
    "gateway.starved": ("error", lambda: log.gateway_starved(detail="too many open files")),
    "gateway.draining": ("info", lambda: log.gateway_draining(sessions=2, drain_seconds=30.0)),
    "gateway.stopped": ("info", lambda: log.gateway_stopped(seconds=9.0)),
    "session.queued": (
        "info",
        lambda: log.session_queued(client="1.2.3.4", listener="a", upstream="archive", ahead=2),
    ),
    "session.opened": ("info", lambda: log.session_opened(waited_seconds=1.5)),
    "session.refused": (
        "warning",
        lambda: log.session_refused(client="1.2.3.4", listener="a", detail="too many", limit="sessions"),
    ),
    "session.login": ("info", lambda: log.session_login(user="bob", ok=True, reply=230)),
    "session.command": ("debug", lambda: log.session_command(verb="CWD", argument="/x")),
    "session.reply": ("debug", lambda: log.session_reply(reply=250, text="OK")),
    "session.limit": ("warning", lambda: log.session_limit(limit="line_bytes", detail="9000 bytes")),
    "data.source_port_taken": ("warning", lambda: log.data_source_port_taken(address="10.0.0.7", port=2001)),
    "session.name_not_utf8": ("warning", lambda: log.session_name_not_utf8(verb="STOR", path="caf\\xe9")),
    "session.names_left_out": ("warning", lambda: log.session_names_left_out(verb="LIST", count=2)),
    "command.refused": ("info", lambda: log.command_refused(verb="AUTH", detail="plain FTP here")),
    "session.foreign": ("warning", lambda: log.session_foreign(protocol="http")),
    "session.closed": ("info", closed),
    "session.unused": ("debug", lambda: log.session_unused(seconds=0.1, end=HangUp(Ending.CLIENT_GONE))),
    "session.crashed": ("error", lambda: log.session_crashed(error=RuntimeError("x"))),
    "upstream.secured": (
        "info",
        lambda: log.upstream_secured(
            tls_version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            resumed=False,
            server="ftp.example.com:21",
            server_address="192.0.2.1",
            certificate_sha256="ab" * 32,
            pin="sha256/x",
            verified_by="chain",
            subject="CN=ftp.example.com",
            days_left=90,
            handshake_seconds=0.0123456,
        ),
    ),
    "upstream.certificate_expiring": (
        "warning",
        lambda: log.upstream_certificate_expiring(days_left=3, subject="CN=ftp.example.com"),
    ),
    "upstream.failed": ("warning", lambda: log.upstream_failed(cause="unknown_ca", detail="?", shown=[("pin", "x")])),
    "upstream.address_ignored": (
        "info",
        lambda: log.upstream_address_ignored(reply_host="10.0.0.1", server_address="192.0.2.1"),
    ),
    "upstream.session_reuse_refused": (
        "warning",
        lambda: log.upstream_session_reuse_refused(said="522 reuse", hint="try another version"),
    ),
    "upstream.reply_ignored": ("info", lambda: log.upstream_reply_ignored(said="227 (1,2)", why=Ignored.ADDRESS)),
    "upstream.close_notify_missing": ("warning", lambda: log.upstream_close_notify_missing(verb="LIST")),
    "data.contested": ("warning", lambda: log.data_contested(came_from="10.0.0.1", port=50000)),
    "data.failed": (
        "warning",
        lambda: log.data_failed(DataFailure("server", Cause.NO_ANSWER, "no answer", "epsv", "192.0.2.1", 2000)),
    ),
    "data.stranger": (
        "warning",
        lambda: log.data_stranger(came_from="1.2.3.4", port=50000, expected=["10.0.0.1"], count=1),
    ),
    "transfer.refused": ("warning", lambda: log.transfer_refused(verb="STOR", path="a", reply=553, text="no")),
    "transfer.started": (
        "debug",
        lambda: log.transfer_started(
            order_of(), log.facts(None), direction="download", client_mode="passive", upstream_mode="epsv"
        ),
    ),
    "transfer.progress": (
        "info",
        lambda: log.transfer_progress(
            order_of(), log.facts(None), direction="download", bytes=5, seconds=60.0, ttfb_seconds=None
        ),
    ),
    "transfer.finished": ("info", transfer),
    "file.changed": (
        "info",
        lambda: log.file_changed(Change(Action.RENAMED, "RNTO", "a", "b"), reply=250, place=Place(b"/in")),
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_its_name_level_and_order(event: str) -> None:
    level, call = EVENTS[event]
    of_session = EVENTS_SAID[event].of is Of.SESSION
    if not of_session:
        log.unbind()
    found = record(call)
    bound = ["session", "client", "listener", "upstream"] if of_session else []
    assert list(found)[: 3 + len(bound)] == ["timestamp", "level", "event", *bound]
    assert (found["event"], found["level"]) == (event, level)


def test_every_function_of_the_vocabulary_is_shown_above() -> None:
    families = [value for value in vars(log).values() if inspect.ismodule(value) and value is not log.writing]
    functions = {
        name
        for family in families
        for name, value in vars(family).items()
        if inspect.isfunction(value) and value.__module__ == family.__name__ and not name.startswith("_")
    }
    assert functions == {event.replace(".", "_") for event in EVENTS}
    assert functions <= set(log.__all__)


def test_a_transfer_in_full() -> None:
    found = record(transfer)
    assert {key: value for key, value in found.items() if key != "timestamp"} == {
        "level": "info",
        "event": "transfer.finished",
        "number": 1,
        "verb": "RETR",
        "path": "/a file",
        "type": "I",
        "offset": 5,
        "direction": "download",
        "bytes": 12345,
        "seconds": 0.123457,
        "ttfb_seconds": 0.0123,
        "client_mode": "passive",
        "upstream_mode": "epsv",
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "resumed": True,
        "close_notify": True,
        "reply": 226,
        "outcome": "complete",
        "reason": "",  # an old name
        "session": "0123456789ab",
        "client": "10.0.0.1",
        "listener": "scanners",
        "upstream": "archive",
        "user": "bob",
        "server": "ftp.example.com:21",
        "server_address": "192.0.2.1",
        "certificate_sha256": "ab" * 32,
        "verified_by": "chain",
        "directory": "daily",
        "directory_relative": True,
    }


def test_what_is_not_known_of_a_file_is_said_so() -> None:
    for format in FORMATS:
        text = logged(format, lambda: log.file_changed(Change(Action.DELETED, "DELE", "a"), reply=250, place=None))
        assert "bob" in text
        assert re.search(r'"directory":null|directory=null', text)


def session_in() -> None:
    EVENTS["upstream.secured"][1]()
    log.session_login(user="bob", ok=True, reply=230)


def test_what_is_said_of_a_file_is_rendered_once() -> None:
    here = Place(b"/in")
    facts = log.facts(here)
    assert log.facts(here) is facts
    assert log.facts(Place(b"/out")) is not facts
    log.session_login(user="anna", ok=False, reply=530)
    assert '"user":"bob"' in logged("json", lambda: transfer())
    log.session_login(user="anna", ok=True, reply=230)
    assert '"user":"anna"' in logged("json", lambda: transfer())


def test_a_change_that_was_not_done_is_a_warning() -> None:
    change = Change(Action.DELETED, "DELE", "a")
    refused = record(lambda: log.file_changed(change, reply=550, place=None))
    assert (refused["level"], refused["ok"], refused["reply"]) == ("warning", False, 550)
    unknown = record(lambda: log.file_changed(change, reply=None, place=None))
    assert (unknown["level"], "ok" in unknown, "reply" in unknown) == ("warning", False, False)


def test_the_same_transfer_in_the_other_formats() -> None:
    words = shlex.split(logged("logfmt", transfer))
    fields = dict(word.split("=", 1) for word in words)
    assert fields["event"] == "transfer.finished"
    assert (fields["session"], fields["path"], fields["resumed"]) == ("0123456789ab", "/a file", "true")
    text = logged("console", transfer)
    assert re.match(r"\S+Z info    transfer\.finished  session=0123456789ab client=10\.0\.0\.1 listener=", text)
    assert 'path="/a file"' in text
    assert "\x1b" not in text  # no colour when it is not a terminal
    text = logged("logfmt", lambda: log.gateway_ready(listening=LISTENING))
    assert 'listening="listener:a address:127.0.0.1 port:21 upstream:u url:ftpes://x:21,listener:b ' in text


def test_what_failed_is_a_warning() -> None:
    assert record(lambda: transfer(outcome="torn", reply=None))["level"] == "warning"
    assert "reply" not in record(lambda: transfer(reply=None))
    assert record(lambda: log.session_login(user="bob", ok=False, reply=530))["level"] == "warning"


def test_timestamp_is_utc_with_milliseconds() -> None:
    before = datetime.now(UTC)
    stamp = record(log.session_opened)["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert abs((datetime.fromisoformat(stamp) - before).total_seconds()) < 60


def test_levels() -> None:
    assert logged("json", log.session_opened, "warning") == ""
    assert logged("json", lambda: log.session_command(verb="NOOP", argument=""), "info") == ""
    assert "session.foreign" in logged("json", lambda: log.session_foreign(protocol="tls"), "warning")
    assert "session.crashed" in logged("json", lambda: log.session_crashed(error=ValueError()), "warning")


async def test_tasks_of_a_session_share_its_names() -> None:
    stream = io.StringIO()
    log.configure("json", "info", stream)

    async def session(name: str) -> None:
        log.bind(name, "10.0.0.1:1", "scanners", "archive")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_task)
        log.session_opened()

    async def one_task() -> None:
        await trio.lowlevel.checkpoint()
        log.session_opened()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session, "0000000000a1")
        nursery.start_soon(session, "0000000000a2")
    log.unbind()
    log.gateway_stopped(seconds=1.0)
    sessions = [json.loads(line).get("session") for line in stream.getvalue().splitlines()]
    assert sorted(sessions[:-1]) == ["0000000000a1", "0000000000a1", "0000000000a2", "0000000000a2"]
    assert sessions[-1] is None


# --- forgery --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_peer_cannot_forge_a_line_or_steer_a_terminal(format: Format, level: Literal["debug", "info"]) -> None:
    log.bind("0123456789ab", EVIL, "scanners", "archive")
    session_in()
    for call in (
        lambda: transfer(path=EVIL, outcome="torn", why=EVIL),
        lambda: log.session_command(verb=EVIL, argument=EVIL),
        lambda: log.session_reply(reply=200, text=EVIL),
        lambda: log.session_login(user=EVIL, ok=True, reply=230),
        lambda: log.upstream_failed(cause="unknown_ca", detail=EVIL),
        lambda: log.session_crashed(error=RuntimeError(EVIL)),
    ):
        text = logged(format, call, level)
        if level == "info" and not text:
            continue  # what is said at debug alone
        assert text.endswith("\n")
        assert text[:-1].isprintable(), text
        assert len(text.splitlines()) == 1
        if format != "console":
            assert text.isascii()


def test_json_gives_the_very_name_back() -> None:
    assert record(lambda: transfer(path=EVIL))["path"] == EVIL


def test_a_value_cannot_pass_for_another_field() -> None:
    for format in ("logfmt", "console"):
        text = logged(format, lambda: transfer(path="x outcome=torn"))
        assert 'path="x outcome=torn"' in text
        assert shlex.split(text).count("outcome=torn") == 0


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("verb", ["PASS", "pass", "Acct", "ADAT", " PASS", "\xff\xf4PASS"])
def test_no_secret_in_any_event(format: Format, verb: str) -> None:
    def crash() -> None:
        secret_of_a_frame = "hunter2"
        try:
            raise ValueError(f"{verb.strip()} {secret_of_a_frame}")
        except ValueError as error:
            log.session_crashed(error=error)

    for call in (
        lambda: log.session_command(verb=verb, argument="hunter2"),
        lambda: log.session_command(verb=f"{verb} hunter2", argument=""),
        lambda: log.session_reply(reply=500, text=f"'{verb} hunter2' not understood"),
        lambda: log.session_limit(limit="bad_lines", detail=f"{verb} hunter2"),
        lambda: log.upstream_failed(cause="unknown_ca", detail=f"{verb}\thunter2"),
        lambda: log.upstream_session_reuse_refused(said=f"{verb} hunter2"),
        crash,
    ):
        text = logged(format, call)
        assert "***" in text
        assert "hunter2" not in text


def test_crash_has_a_traceback_of_code() -> None:
    def crash() -> None:
        try:
            int("x")
        except ValueError as error:
            log.session_crashed(error=error)

    found = record(crash)
    assert found["error"] == "ValueError"
    assert 'int("x")' in found["traceback"]
    assert Path(__file__).name in found["traceback"]


# --- writing --------------------------------------------------------------------------------------------------------


def test_one_write_for_each_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writes: list[bytes] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return real(descriptor, data)

    with (tmp_path / "log").open("w") as stream:
        log.configure("json", "info", stream)
        monkeypatch.setattr(os, "write", write)
        log.session_opened()
        closed()
        monkeypatch.undo()
    assert [data.count(b"\n") for data in writes] == [1, 1]
    assert (tmp_path / "log").read_bytes() == b"".join(writes)


def test_a_log_that_cannot_be_written_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        log.configure("json", "info", stream)
        os.close(reader)
        log.session_opened()
    log.session_opened()  # closed
    with open("/dev/full", "w") as full:
        log.configure("json", "info", full)
        log.session_opened()
    memory = io.StringIO()
    memory.close()
    log.configure("auto", "info", memory)
    log.session_opened()
    log.session_opened()
    assert capfd.readouterr().err.splitlines() == [
        f"ftpsproxy: the log can't be written, lines are lost: {why}"
        for why in ("broken pipe", "no space left on device", "it is closed")
    ]


@pytest.mark.parametrize("kind", ["pipe", "socket", "another user's pipe"])
def test_whoever_reads_the_log_is_not_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reader has no room for comes later, up to a bound; no line is torn, and what is lost is said."""
    if kind == "socket":
        ours, theirs = socket.socketpair()
        reader, writer = ours.detach(), theirs.detach()
    else:
        reader, writer = os.pipe()
    if kind == "another user's pipe":
        monkeypatch.setattr(os, "open", _denied)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as pipe:
        log.configure("json", "info", stream)
        for number in range(1, 301):
            transfer(number=number, path="y" * 9000)
        found: list[int] = []
        lost = 0
        while len(found) + lost < 300:
            event = json.loads(pipe.readline())
            if event["event"] == "gateway.log_lost":
                lost += event["count"]
            else:
                found.append(event["number"])
        assert 0 < lost < 200
        assert found == sorted(found)
        transfer(number=301)
        assert json.loads(pipe.readline())["number"] == 301


def _denied(*_: object) -> int:
    raise PermissionError(13, "Permission denied")


def test_nobody_elses_descriptor_is_changed() -> None:
    """A terminal, or a pipe, that others have, too, would not wait for them either."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb"):
        log.configure("json", "info", stream)
        log.session_opened()
        assert os.get_blocking(writer)


def test_the_end_of_the_process_waits_a_moment_for_a_slow_reader() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as pipe:
        log.configure("json", "info", stream)
        for number in range(1, 51):
            transfer(number=number, path="y" * 9000)
        log.flush()  # in vain, and not for long
        for number in range(1, 51):
            assert json.loads(pipe.readline())["number"] == number
        log.flush()


def test_no_standard_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    log.configure("auto", "info")
    log.session_opened()


def test_auto_is_json_unless_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, terminal, sober = io.StringIO(), Terminal(), Terminal()
    log.configure("auto", "info", plain)
    log.session_opened()
    log.configure("auto", "info", terminal)
    transfer()
    monkeypatch.setenv("NO_COLOR", "1")
    log.configure("auto", "info", sober)
    transfer()
    assert json.loads(plain.getvalue())["event"] == "session.opened"
    assert "\x1b[32m" in terminal.getvalue()
    assert re.match(r"\d\d:\d\d:\d\d ✓ ↓ ", sober.getvalue())
    assert "\x1b" not in sober.getvalue()


def test_rendering_is_cheap() -> None:
    """About 12 µs of CPU on the machines this was written on; the bound only catches a blunder."""
    with open(os.devnull, "w") as stream, vocabulary.unwatched():
        log.configure("json", "info", stream)
        best = 1.0
        for _ in range(5):
            start = time.process_time()
            for _ in range(500):
                transfer()
            best = min(best, (time.process_time() - start) / 500)
    assert best < 0.0005


def test_every_limit_in_the_log_is_documented() -> None:
    """The names in `session.limit` stand in the README: keys of the configuration, and the few that are none."""
    root = Path(__file__).parents[1]
    code = "\n".join(path.read_text() for path in sorted((root / "ftpsproxy").rglob("*.py")))
    names = set(re.findall(r"NoteLimit\(\s*\"(\w+)\"", code)) | set(re.findall(r"session_limit\(limit=\"(\w+)\"", code))
    assert {"bounce", "pending_data"} <= names
    (row,) = re.findall(r"^\| `session\.limit`.*$", (root / "README.md").read_text(), re.MULTILINE)
    assert {name for name in names if f"`{name}`" not in row} == set()
