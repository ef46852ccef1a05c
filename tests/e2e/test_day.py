"""A day's log of gateways before real servers, read through every view: what the clients did is known, and so is what
each has to say."""

from __future__ import annotations

import csv
import ftplib
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ftpsproxy.cli.main import main
from ftpsproxy.observe import schema
from ftpsproxy.reading.views import VIEWS
from tests.e2e.flavours import flavour
from tests.support.bad_client import BadClient
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.servers import Endpoint

SERVERS = ("vsftpd", "proftpd-standalone", "pureftpd", "netkit", "pyftpdlib", "aioftp", "twisted", "ftp-srv")
COUNT = len(SERVERS)
UPLOADS, DOWNLOADS = 3, 2
FILES = UPLOADS + DOWNLOADS
TRANSFERS = FILES + 2  # a listing, and the torn one
SIZE = 70_000

Run = Callable[..., str]


def some_work(end: Endpoint) -> None:
    """A session with uploads, downloads, a listing, a file that is not there, and one that is deleted."""
    with ftplib.FTP(timeout=60) as ftp:
        ftp.connect(end.host, end.port)
        ftp.login(end.user, end.password)
        for number in range(UPLOADS):
            ftp.storbinary(f"STOR day {number}.bin", io.BytesIO(b"x" * SIZE))
        for number in range(DOWNLOADS):
            ftp.retrbinary(f"RETR day {number}.bin", lambda _: None)
        ftp.retrlines("LIST", lambda _: None)
        with pytest.raises((ftplib.error_perm, ftplib.error_temp)):
            ftp.retrbinary("RETR nothing.bin", lambda _: None)
        ftp.delete("day 0.bin")


def no_transfer(end: Endpoint) -> None:
    """A session that asks the gateway for TLS, which is refused there, and then only looks where it is."""
    with ftplib.FTP(timeout=60) as ftp:
        ftp.connect(end.host, end.port)
        with pytest.raises(ftplib.error_perm):
            ftp.sendcmd("AUTH TLS")
        ftp.login(end.user, end.password)
        ftp.pwd()


def a_torn_upload(end: Endpoint) -> None:
    with BadClient(end.port, end.host, patience=60) as client:
        client.login(end.user, end.password)
        client.command("TYPE I")
        data = client.passive()
        assert 100 <= client.command("STOR torn.bin").code < 200
        data.send(b"x" * 1000)
        data.reset()
        while (reply := client.reply()).code < 200:
            pass
        assert reply.code >= 400


@pytest.fixture(scope="module")
def day(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All lines, chained, of a gateway before each server."""
    lines: list[str] = []
    for name in SERVERS:
        kind = flavour(name)
        with kind.start(certificates) as server:
            made = start_gateway(
                server.url, certificates.ca_file, upstream=kind.upstream, log={"level": "info", "chain": True}
            )
            with made as gateway:
                for sessions, work in enumerate((some_work, no_transfer, a_torn_upload), 1):
                    work(gateway.endpoint)
                    gateway.wait_for_event("session.closed", count=sessions)
                gateway.stop()
                lines += [line for line in gateway.text.splitlines() if line.startswith("{")]
    path = tmp_path_factory.mktemp("day") / "day.log"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(day: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(command: str, *arguments: str) -> str:
        assert main([command, str(day), *arguments]) == ("--statement" in arguments)  # it has exceptions
        said, told = capfd.readouterr()
        assert told == ""
        return said

    return run


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_transfers(run: Run) -> None:
    said = run("logs")
    size = f"{(UPLOADS * SIZE) * COUNT / 1e6:.1f}"
    assert f"\n{TRANSFERS * COUNT} transfers, {(FILES + 1) * COUNT} complete, {COUNT} torn; {COUNT} refused; " in said
    assert f"↑ {size} MB" in said
    assert f"\n{3 * COUNT} sessions, " in said
    assert f"{COUNT} changes of files" in said
    assert len(re.findall(r"^\S+ ✓ [↑↓] \S*\"?.*day \d\.bin", said, re.MULTILINE)) == FILES * COUNT
    assert len(re.findall(r"^\S+ ✗ ↑ \S*torn\.bin ", said, re.MULTILINE)) == COUNT
    assert len(re.findall(r"^\S+ ✗   refused RETR \S*nothing\.bin", said, re.MULTILINE)) == COUNT


def test_sessions(run: Run) -> None:
    found = events(run("logs", "--sessions", "--json"))
    assert Counter((one["transfers"], one["torn"], one["refused"]) for one in found) == {
        (FILES + 1, 0, 1): COUNT,
        (0, 0, 0): COUNT,
        (1, 1, 0): COUNT,
    }
    assert all(one["closed"] and one["certificate_sha256"] for one in found)


def test_failures(run: Run) -> None:
    found = events(run("logs", "--failures", "--json"))
    counted = Counter(one["event"] for one in found)
    assert [counted[name] for name in ("transfer.refused", "command.refused", "transfer.finished")] == [COUNT] * 3
    assert all(one["why"] for one in found)
    assert run("logs", "--failures").count("\n           why: ") == len(found)


def test_events_are_as_the_schema_says(run: Run, day: Path) -> None:
    found = events(run("logs", "--events", "--json"))
    assert len(found) == len(day.read_text().splitlines())
    whole = Draft202012Validator(schema.schema())
    assert [fault.message for event in found for fault in whole.iter_errors(event)] == []
    assert run("logs", "--raw") == day.read_text()
    assert f"{len(found)} lines read" in run("logs", "--events").replace(",", "")


@pytest.mark.parametrize("view", VIEWS)
def test_a_table_has_a_row_for_each(run: Run, view: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run("logs", f"--{view}", "--csv"))))
    assert len(rows) == len(run("logs", f"--{view}", "--json").splitlines())


@pytest.mark.parametrize(
    ("wishes", "each"),
    [
        (["--outcome", "complete"], FILES + 1),
        (["--outcome", "torn"], 1),
        (["--outcome", "aborted"], 0),
        (["--outcome", "refused"], 1),
        (["--verb", "stor"], UPLOADS + 1),
        (["--verb", "RETR"], DOWNLOADS + 1),
        (["--verb", "LIST"], 1),
        (["--path", "*day 1.bin"], 2),
        (["--path", "torn.bin"], 1),
        (["--client", "127.0.0.0/8,::1"], TRANSFERS + 1),
        (["--client", "10.0.0.0/8"], 0),
        (["--user", "nobody"], 0),
        (["--upstream", "server"], TRANSFERS + 1),
        (["--since", "1h"], TRANSFERS + 1),
        (["--until", "1h"], 0),
        (["--verb", "STOR", "--outcome", "torn", "--since", "1h"], 1),
    ],
)
def test_filters(run: Run, wishes: list[str], each: int) -> None:
    assert len(run("logs", "--json", *wishes).splitlines()) == each * COUNT


def test_a_session_by_itself(run: Run) -> None:
    identity = events(run("logs", "--sessions", "--json"))[0]["session"]
    assert len(run("logs", "--json", "--session", identity).splitlines()) == FILES + 2


def test_packed_and_cut_into_pieces(run: Run, day: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = day.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(b"".join(lines[:middle])))
    (tmp_path / "log").write_bytes(b"".join(lines[middle:]))
    assert main(["logs", "--rotated", str(tmp_path / "log")]) == 0
    assert capfd.readouterr().out == run("logs")


def test_it_is_whole(run: Run) -> None:
    assert "whole: " in run("logs", "--verify")


def test_the_report(run: Run, tmp_path: Path) -> None:
    said = run("report")
    assert f"✗ {FILES * COUNT} files became whole; {COUNT} did not; {COUNT} were refused." in said
    for figure in (
        f"{COUNT} torn",
        "0 aborted",
        f"{COUNT} refused",
        f"{3 * COUNT} sessions",
        "0 logins refused",
    ):
        assert f"{figure} " in said
    assert f"\n{COUNT} times: the gateway itself refuses this\n" in said
    assert "What this report lacks" not in said
    run("report", "--html", str(tmp_path / "day.html"))
    page = (tmp_path / "day.html").read_text()
    assert f"{FILES * COUNT} files became whole" in page
    assert page.count("torn.bin") >= COUNT


def test_the_statement(run: Run) -> None:
    said = run("report", "--statement")
    listings = events(run("logs", "--json", "--verb", "LIST"))
    proved = sum(one["close_notify"] for one in listings)  # taken for whole without it, but that is no proof
    assert f"{FILES * COUNT} files, all over verified TLS, to these servers, with these certificates; " in said
    assert f"{2 * COUNT - proved} transfers beside them that are an exception" in said
    assert f"\n{COUNT} exceptions: it did not become whole\n" in said
    assert f"{proved} listings proved" in said
    assert f"It is chained and whole: {len(run('logs', '--raw').splitlines()):,} lines of {COUNT} chains" in said
    assert "Nothing that it can know of: the lines of each session add up." in said
