"""The server is reached when its client has something to say to it; if it can't be, the client shows why."""

from __future__ import annotations

import ftplib
import socket
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


def test_whoever_goes_on_asking_must_log_in_all_the_same(stages: Stages) -> None:
    """With a command always under way the time of a login passed unseen."""
    stage = stages("hasty")
    stage.play(Quirks(slow={"HELP": 0.2}))
    with stage.client() as client:
        started = time.monotonic()
        client.send(b"HELP\r\n" * 200)
        assert client.rest()[0].endswith(b"421 Login timed out.\r\n")
        assert time.monotonic() - started < 10
    assert stage.event("session.closed")["cause"] == "login_timeout"


def test_a_script_that_says_all_at_once_and_ends_its_side(stages: Stages) -> None:
    stage = stages("default")
    with BadClient(stage.port) as client:
        client.send(b"USER anna\r\nPASS open-sesame\r\nPWD\r\nQUIT\r\n")
        client.sock.shutdown(1)
        assert [client.reply().code for _ in range(4)] == [331, 230, 257, 221]


def test_a_server_of_no_use_is_left_at_once(stages: Stages) -> None:
    """With its place: the next client hears the reason, too, and not that there is no place."""
    stage = stages("one_place_hasty")
    stage.play(Quirks(auth={"TLS": b"502 no\r\n"}))
    with stage.client() as first, stage.client(local="127.0.0.2") as second:
        assert first.command("FEAT").code == 530
        stage.server.wait(lambda: stage.server.last.over)
        assert "refuses TLS" in second.refusal().text
        assert "refuses TLS" in first.refusal().text
    assert not stage.events("session.queued")


def test_a_reply_that_was_begun_before_a_refusal_is_not_waited_for(stages: Stages) -> None:
    """It may have been over, and nothing behind it is FTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stage = stages("default", upstream_port=listener.getsockname()[1])
        with stage.client() as client:
            client.send(b"FEAT\r\n")
            server, _ = listener.accept()
            with server:
                server.sendall(b"220-a\r\n221 b\r\n")
                assert client.quiet(0.3)
                server.sendall(b"220 c\r\nHTTP/1.1 400 Bad\r\n")
                assert client.reply().code == 530
                assert client.quiet(3.5)
                assert client.refusal().code == 530


def test_a_flood_behind_a_refusal_is_not_heard(stages: Stages) -> None:
    stage = stages("default")
    stage.play(Quirks(greeting=b"530 no\r\n", flood={"": b"200 more\r\n" * 5000}))
    with stage.client() as client:
        assert client.command("FEAT").code == 530
        stage.server.wait(lambda: stage.server.last.over)
        assert client.command("USER anna").code == 530


def test_who_is_greeted_here_and_floods_has_a_session_in_the_log(stages: Stages) -> None:
    stage = stages("slow_commands")
    with stage.client() as client:
        client.send(b"NOOP\r\n" * 100)
        assert client.rest()[0].endswith(b"421 Too many commands, closing.\r\n")
    assert stage.event("session.limit")["limit"] == "commands_per_second"
    assert stage.event("session.closed")["session"] == stage.event("session.opened")["session"]
