"""The page of the admin server: what stands there, for whom, and that it costs nothing where nobody looks."""

import base64
import contextlib
import ftplib
import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy.config import Admin
from ftpsproxy.config.parse import KeyFile
from ftpsproxy.observe import metrics
from ftpsproxy.observe.metrics import Table
from ftpsproxy.serve import board as boards
from ftpsproxy.serve import pages
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.status import Status
from tests.monitoring.test_prometheus import upload_and_break
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, configuration, run_gateway
from tests.support.servers import PASSWORD, USER, Server, pyftpdlib

HOST = "127.0.0.1"
PATIENCE = 60.0
TOKEN = b"0123456789abcdef-the-token"
FILE, TORN, ODD = "line 3 <i>é.mp4", "torn", "gone/<b>bold</b>.txt"


# --- who may see it ---------------------------------------------------------------------------------------------------


def _basic(password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(b"anybody:" + password)


@pytest.mark.parametrize(
    ("peer", "headers", "without", "with_token"),
    [
        ("127.0.0.1", {b"host": b"localhost:9121"}, 200, 200),
        ("127.0.0.1", {b"host": b"127.0.0.1:9121"}, 200, 200),
        ("::1", {b"host": b"[::1]:9121"}, 200, 200),
        ("127.0.0.1", {b"host": b"gateway.example:9121"}, 403, 401),  # another site's name that leads here
        ("127.0.0.1", {b"host": b"localhost.example"}, 403, 401),
        ("127.0.0.1", {b"host": b"[::1"}, 200, 200),
        ("127.0.0.1", {}, 403, 401),
        ("127.0.0.1", {b"host": b"localhost", b"x-forwarded-for": b"10.0.0.9"}, 403, 401),  # a proxy, for somebody
        ("10.0.0.9", {b"host": b"localhost"}, 403, 401),
        ("fe80::1%eth0", {b"host": b"[::1]"}, 403, 401),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": b"Bearer " + TOKEN}, 403, 200),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": _basic(TOKEN)}, 403, 200),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": _basic(TOKEN + b"x")}, 403, 401),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": _basic(b"")}, 403, 401),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": b"Bearer"}, 403, 401),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": b"Basic \xff*"}, 403, 401),
        ("10.0.0.9", {b"host": b"gateway", b"authorization": b"Digest " + TOKEN}, 403, 401),
    ],
)
def test_who_may_see_it(peer: str, headers: Mapping[bytes, bytes], without: int, with_token: int) -> None:
    for settings, expected in (
        (Admin(), without),
        (Admin(token_file=KeyFile(Path("token"), TOKEN)), with_token),
    ):
        refusal = pages.refusal(settings, peer, headers)
        assert (200 if refusal is None else refusal.status) == expected
        if refusal is not None:
            assert isinstance(refusal.body, bytes)
            assert TOKEN not in refusal.body


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_nothing_is_written_until_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    table, board = Table(), Board()
    metrics.count_in(table)
    status = Status(table, board, list, lambda: True)
    status.look_after()
    assert board.read(0) is None
    board.ask()
    status.look_after()
    assert board.read(0) is not None
    written = board.age(0)
    now += 11
    status.look_after()
    assert board.age(0) == written + 11, "nobody looks any more"


def test_a_row_that_is_being_written_is_not_taken_for_whole() -> None:
    board = Board(2)
    board.serve(1)
    assert board.show({"pid": 1})
    assert board.read(0) is None
    assert board.read(1) == {"pid": 1}
    row = board._memory[boards._ROW_BYTES :]
    turn, length, written = boards._HEAD.unpack_from(row)
    boards._HEAD.pack_into(row, 0, turn + 1, length, written)
    assert board.read(1) is None
    assert board.show({"pid": 2})
    assert board.read(1) == {"pid": 2}


def test_what_is_too_long_leaves_what_was_there() -> None:
    board = Board()
    board.show({"pid": 1})
    assert not board.show({"pid": 2, "long": "x" * boards._ROW_BYTES})
    assert board.read(0) == {"pid": 1}


def test_the_last_hours_are_kept_minute_by_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    board, first = Board(), 30_000_000
    for minute in range(first, first + 500):
        board.note_minute(minute, (minute, 0, 0, 0))
    monkeypatch.setattr(time, "time", lambda: (first + 500) * 60.0)
    minutes = [int(one[0]) for one in board.minutes()]
    assert minutes == list(range(first + 141, first + 500))


# --- what stands there ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


def _ask(gateway: Gateway, path: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(f"http://{HOST}:{gateway.admin_port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@contextlib.contextmanager
def busy(server: Server, certificates: Certificates, workers: int) -> Iterator[Gateway]:
    """A gateway with an upload under way, after one that was torn, a file that is not there and a wrong password."""
    config = configuration(
        server.url, certificates.ca_file, admin={"listen": f"{HOST}:0"}, process={"workers": workers}
    )
    with run_gateway(config) as gateway, contextlib.ExitStack() as open_still:
        where = gateway.endpoint
        upload_and_break(where)
        ftp = open_still.enter_context(ftplib.FTP(timeout=PATIENCE, encoding="utf-8"))
        ftp.connect(where.host, where.port)
        with pytest.raises(ftplib.error_perm, match="530"):
            ftp.login(USER, "a wrong password")
        ftp.login(USER, PASSWORD)
        with pytest.raises(ftplib.error_perm, match="550"):
            ftp.retrbinary(f"RETR {ODD}", print)
        ftp.storbinary("STOR whole", io.BytesIO(b"x" * 1000))
        data = ftp.transfercmd(f"STOR {FILE}")
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                data.sendall(b"x" * 10_000)
                stop.wait(0.02)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield gateway
        finally:
            stop.set()
            sender.join()
            data.close()
        ftp.voidresp()


@pytest.mark.parametrize("workers", [1, 2])
def test_it_shows_who_is_there_and_what_has_failed(server: Server, certificates: Certificates, workers: int) -> None:
    with busy(server, certificates, workers) as gateway:
        for _ in range(2 * workers):  # whoever answers
            status, headers, body = _ask(gateway, "/status.json")
            assert (status, headers["Content-Type"]) == (200, "application/json")
            assert PASSWORD.encode() not in body
            assert b"a wrong password" not in body
            found = json.loads(body)
            assert len(found["workers"]) == workers
            assert sum(one["sessions"] for one in found["workers"]) == len(found["sessions"]) == 1
            (session,) = found["sessions"]
            assert (session["user"], session["client"], session["upstream"]) == (USER, HOST, "server")
            assert session["tls_version"] in ("TLSv1.2", "TLSv1.3")
            assert session["verified_by"] == "chain"
            assert re.fullmatch("[0-9a-f]{64}", session["certificate_sha256"])
            assert session["transfer"]["path"] == FILE
            assert (session["transfer"]["direction"], session["waits_for"]) == ("upload", "data")
            assert found["transfers"] == {"complete": 1, "torn": 1, "aborted": 0}
            assert found["transfers_open"] == found["sessions_open"] == 1
            failures = {one["event"]: one for one in found["failures"]}
            assert failures.keys() == {"session.login", "transfer.refused", "transfer.finished", "data.failed"}
            assert all(one["why"] and one["do"] for one in failures.values())
            assert failures["transfer.refused"]["path"] == ODD
            (certificate,) = found["certificates"]
            assert certificate["upstream"] == "server"
            assert certificate["expires"] > time.time()
            assert found["minutes"][0]["complete"] == 0


def test_bytes_grow_from_look_to_look(server: Server, certificates: Certificates) -> None:
    def bytes_now() -> int:
        (session,) = json.loads(_ask(gateway, "/status.json")[2])["sessions"]
        moved: int = session["transfer"]["bytes"]
        return moved

    with busy(server, certificates, 1) as gateway:
        first, deadline = bytes_now(), time.monotonic() + PATIENCE
        while bytes_now() <= first:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # it is only shown to whoever asks


def _failed(gateway: Gateway, event: str) -> dict[str, Any]:
    """This failure, as soon as it is shown."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):  # whoever would have answered may just have been lost
            found = json.loads(_ask(gateway, "/status.json")[2])
            for one in found["failures"]:
                if one["event"] == event:
                    return dict(one, workers=found["workers"])
        assert time.monotonic() < deadline, f"no {event}"
        time.sleep(0.1)  # the parent shows its part every two seconds


@pytest.mark.parametrize("workers", [1, 2])
def test_what_befalls_the_gateway_as_a_whole_is_there_too(certificates: Certificates, workers: int) -> None:
    tables: dict[str, Any] = {"admin": {"listen": f"{HOST}:0"}, "process": {"workers": workers}}
    with run_gateway(configuration("ftpes://localhost", certificates.ca_file, **tables)) as gateway:
        gateway.reload("nonsense")
        shown = _failed(gateway, "gateway.reload_failed")
        assert shown["level"] == "error"
        assert "ftpsproxy check" in shown["do"]
        assert len(shown["workers"]) == workers
        if workers > 1:
            lost = shown["workers"][1]["pid"]
            os.kill(lost, signal.SIGKILL)
            gateway.wait_for_event("gateway.worker_lost")
            shown = _failed(gateway, "gateway.worker_lost")
            assert lost not in [one["pid"] for one in shown["workers"]]


def test_names_of_files_can_be_left_out(server: Server, certificates: Certificates) -> None:
    with busy(server, certificates, 1) as gateway:
        admin = {"listen": f"{HOST}:0", "paths": False}
        event = gateway.reload(configuration(server.url, certificates.ca_file, admin=admin))
        assert event["event"] == "gateway.reloaded", event
        body = _ask(gateway, "/status.json")[2].decode()
        found = json.loads(body)
        assert found["sessions"][0]["transfer"]["verb"] == "STOR"
        assert {one["event"] for one in found["failures"]} >= {"transfer.refused", "transfer.finished"}
        for one in (found["sessions"], found["failures"]):
            text = json.dumps(one, ensure_ascii=False)
            assert not [name for name in (FILE, ODD, "bold", '"path"', '"detail"', '"text"') if name in text]


def test_only_what_is_ours_runs_in_it_and_nothing_can_be_changed(
    server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_bytes(TOKEN + b"\n")
    token.chmod(0o600)
    admin = {"listen": f"{HOST}:0", "token_file": token}
    with run_gateway(configuration(server.url, certificates.ca_file, admin=admin)) as gateway:
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
            status, headers, body = _ask(gateway, path)
            assert (status, headers["Content-Type"].partition(";")[0]) == (200, kind)
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
            assert "unsafe" not in policy
            assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
            outside = re.findall(rb"https?://(?!www\.w3\.org/2000/svg)", body)
            assert outside == [], "parts from elsewhere"
            assert b"innerHTML" not in body
            assert not re.search(rb"<form|<style|style=|onclick", body)
        assert _ask(gateway, "/", Host="gateway.example")[0] == 401
        assert _ask(gateway, "/status.json", Host="gateway.example")[0] == 401
        answer = _ask(gateway, "/status.json", Host="gateway.example", Authorization=f"Bearer {TOKEN.decode()}")
        assert answer[0] == 200
        assert TOKEN not in answer[2]
        assert TOKEN.decode() not in gateway.text
        assert _ask(gateway, "/metrics", Host="gateway.example")[0] == 200, "says nothing of anybody"


# --- in a browser -----------------------------------------------------------------------------------------------------


def _in_a_browser(folder: Path, url: str) -> tuple[str, str]:
    """What the page is once its script has run some seconds → its HTML, and what the browser has said."""
    browser = shutil.which("chromium")
    assert browser is not None, "chromium is missing: run tests/peers.sh (or tests/run) as root first"
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
    done = subprocess.run(
        [*command, "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout, done.stderr


def test_a_browser_shows_it_and_takes_no_name_for_markup(
    server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    with busy(server, certificates, 1) as gateway:
        page, said = _in_a_browser(tmp_path, f"http://{HOST}:{gateway.admin_port}/")
    assert "CONSOLE" not in said, said
    assert "lets clients in" in page
    assert f"↑ {html.escape(FILE, quote=False)}" in page
    assert html.escape(ODD, quote=False) in page
    assert "<b>bold" not in page
    assert "there is no such file or directory, or it is not allowed" in page
    assert re.search(r"1 complete \(line.*\), 1 torn \(red\)", page)
    assert re.search(r"<span>server</span><span class=\"\w+\">\d+ days</span>", page)
    assert re.search(r"[1-9][\d.]* [kM]B/s", page)
