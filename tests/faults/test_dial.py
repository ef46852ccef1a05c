"""The server is reached when its client has something to say to it; if it can't be, the client shows why."""

from __future__ import annotations

import ftplib
import subprocess
import time

import pytest

from tests.faults.profiles import Stages
from tests.support.bad_client import BadClient
from tests.support.bad_server import Quirks

WHY = "Service not available: no connection to 127.0.0.1 port 1: connection refused."


def _shown_by(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode
    return done.stdout + done.stderr


def test_clients_show_why(stages: Stages) -> None:
    """A greeting by 421 is a timeout to curl, and to lftp a reason to come again, without a word."""
    url = f"ftp://anna:open-sesame@127.0.0.1:{stages('nobody').port}"
    lftp = ("lftp", "-e", "set net:max-retries 1; set ftp:ssl-allow no; ls; quit")
    assert f"Login failed: 530 {WHY}" in _shown_by(*lftp, url)
    said = _shown_by("curl", "--verbose", "--max-time", "20", f"{url}/")
    assert f"530 {WHY}" in said
    assert "Access denied" in said
    with ftplib.FTP() as client:
        client.connect("127.0.0.1", stages("nobody").port, timeout=20)
        with pytest.raises(ftplib.error_perm, match="connection refused"):
            client.login("anna", "open-sesame")


def test_nobody_is_reached_for_a_client_that_says_nothing(stages: Stages) -> None:
    """And it does not stay for ever."""
    stage = stages("hasty")
    with stage.client() as client:
        assert client.reply().text == "421 Login timed out.\r\n"
        client.rest()
    assert stage.event("session.limit")["limit"] == "login_timeout"
    assert stage.event("session.closed")["seconds"] >= 2.9  # timeouts.login
    assert not stage.server.sessions


def test_a_refusal_is_said_again_until_the_client_logs_in_or_its_time_is_up(stages: Stages) -> None:
    stage = stages("hasty")
    stage.play(Quirks(auth={"TLS": b"502 no\r\n"}))
    with stage.client() as client:
        assert client.command("FEAT").code == 530
        assert client.command("SYST").code == 530
        refused = client.command("USER anna")
        assert refused.code == 530
        assert "refuses TLS: AUTH TLS: 502 no" in refused.text
        assert client.rest() == (b"", "fin")
    with stage.client() as client:
        assert client.command("FEAT").code == 530
        started = time.monotonic()
        assert client.reply().code == 421
        assert time.monotonic() - started < 10
    for seen in stage.server.sessions:
        assert seen.in_clear == b"AUTH TLS\r\n"
    assert len(stage.server.sessions) == 2


def test_the_time_of_a_login_begins_anew_when_the_server_is_reached(stages: Stages) -> None:
    stage = stages("hasty")
    with stage.client() as client:
        assert client.quiet(2)
        assert client.command("USER anna").code == 331
        assert client.quiet(2)
        assert client.command("PASS open-sesame").code == 230


def test_a_script_that_says_all_at_once_and_ends_its_side(stages: Stages) -> None:
    stage = stages("default")
    with BadClient(stage.port) as client:
        client.send(b"USER anna\r\nPASS open-sesame\r\nPWD\r\nQUIT\r\n")
        client.sock.shutdown(1)
        assert [client.reply().code for _ in range(4)] == [331, 230, 257, 221]
