"""Limits: what each one answers, and that those below it notice nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import time

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, Ended
from tests.support.bad_server import Quirks


def _refused(stage: Stage, **options: str) -> str:
    """Connect and say how that went: the text of a 421, "" for a connection closed without a word."""
    try:
        with stage.client(**options) as client:
            assert client.greeting.code == 421, client.greeting
            client.rest()
            return client.greeting.text
    except (Ended, ConnectionError):
        return ""


def test_sessions_of_one_client(stages: Stages) -> None:
    stage = stages("few_per_client")
    with stage.logged_in() as one, stage.logged_in():
        assert _refused(stage)
        assert stage.event("session.refused")["detail"]
        with stage.logged_in(local="127.0.0.2") as other:
            assert other.command("PWD").code == 257
        assert one.download()[0].data == FILE
    _wait_for_a_place(stage)


def test_sessions_in_all(stages: Stages) -> None:
    stage = stages("few")
    with stage.logged_in() as one, stage.logged_in(local="127.0.0.2"):
        assert _refused(stage, local="127.0.0.3")
        assert stage.event("session.refused")["client"]
        assert one.download()[0].data == FILE
    _wait_for_a_place(stage)


def _wait_for_a_place(stage: Stage) -> None:
    """Sessions that ended make room for others."""

    def login() -> bool:
        with contextlib.suppress(AssertionError, Ended, ConnectionError), stage.logged_in() as client:
            return client.command("PWD").code == 257
        return False

    stage.wait(login, "a place for a new session")


def test_clients_that_are_not_on_the_list(stages: Stages) -> None:
    stage = stages("listed_clients")
    _refused(stage)
    refused = stage.event("session.refused")
    assert refused["client"].startswith("127.0.0.1")
    assert not stage.server.sessions
    with stage.logged_in(local="127.0.0.2") as client:
        assert client.download()[0].data == FILE


def test_login_attempts(stages: Stages) -> None:
    stage = stages("limits")
    with stage.client() as client:
        for _ in range(3):
            assert client.command("USER anna").code == 331
            assert client.command("PASS wrong").code == 530
        assert client.rest()[0].startswith(b"421 ")
    assert stage.event("session.limit")["limit"] == "login_attempts"
    assert [event["ok"] for event in stage.events("session.login")] == [False] * 3
    stage.server.wait(lambda: stage.server.last.over)


def test_commands_a_second(stages: Stages) -> None:
    """They are slowed down or end in a good-bye; the server is spared either way."""
    stage = stages("slow_commands")
    started = time.monotonic()
    with stage.logged_in() as client:
        try:
            client.send(b"NOOP\r\n" * 60)
            for _ in range(60):
                assert client.reply().code == 200
        except (AssertionError, Ended, ConnectionError):
            assert stage.event("session.limit")["limit"] == "commands_per_second"
        else:
            assert time.monotonic() - started > 1.0


def test_line_length(stages: Stages) -> None:
    stage = stages("limits")
    with stage.logged_in() as client:
        assert client.command("SITE " + "x" * 900).code == 250
        assert client.command("SITE " + "x" * 1100).code == 500
        assert client.command("PWD").code == 257


def test_unsent_commands_wait_in_the_kernel(stage: Stage) -> None:
    """A client that pipelines without reading: the gateway's memory is not its queue."""
    stage.play(Quirks(replies={"SITE": b""}))
    with stage.logged_in(receive_buffer=4096) as client:
        client.sock.settimeout(1.0)
        sent = 0
        line = b"SITE " + b"x" * 4000 + b"\r\n"
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(16_000):  # 64 MB, and the first one is never answered
                client.send(line)
                sent += len(line)
        assert sent < 32_000_000
        client.reset()
    stage.server.play(Quirks())  # the server goes, so that the session does not wait for its reply


def test_a_limit_of_one_session_is_no_other_sessions_trouble(stages: Stages) -> None:
    stage = stages("limits")
    with stage.logged_in() as good, stage.client() as bad:
        for _ in range(3):
            bad.send(b"CWD a\x00b\r\n")
        bad.rest()
        assert good.download()[0].data == FILE


def test_idle_clients_hold_no_other_client_up(stage: Stage) -> None:
    silent = [BadClient(stage.port) for _ in range(5)]
    try:
        with stage.logged_in() as client:
            assert client.download()[0].data == FILE
    finally:
        for client in silent:
            client.close()


def test_want_of_descriptors_is_said_and_passes(stages: Stages) -> None:
    stage = stages("starved")
    pid = stage.gateway.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))
    try:
        waiting = BadClient(stage.port, greeting=False)
        assert stage.event("gateway.starved")["detail"] == "too many open files"
        assert waiting.quiet()
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    with waiting as client:
        assert client.reply().code == 220
