"""`ftpsproxy logs`: every view of a log that real sessions have left, and what may be asked of it."""

from __future__ import annotations

import contextlib
import csv
import ftplib
import io
import json
import re
import socket
import struct
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ftpsproxy.cli.main import main
from ftpsproxy.observe import schema
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.reading.views import VIEWS
from tests.logs.lines import Captured, line, records
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.servers import PASSWORD, USER

_RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


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
