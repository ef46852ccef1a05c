"""What systemd hears of the gateway (sd_notify), and what `ftpsproxy reload` says of a reload to whoever waits."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, configuration, run_gateway
from tests.support.manager import manager
from tests.support.servers import ROOT, Server, pyftpdlib
from tests.test_reload import login, works

PATIENCE = 30.0
WORKERS = [1, 2]


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


def tell(word: str, pid: int | str) -> subprocess.CompletedProcess[str]:
    """`ftpsproxy reload PID`."""
    command = [sys.executable, "-m", "ftpsproxy", word, str(pid)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def _config(server: Server, certificates: Certificates, workers: int) -> str:
    return configuration(server.url, certificates.ca_file, process={"workers": workers})


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
@pytest.mark.parametrize("workers", WORKERS)
def test_the_manager_hears_what_becomes_of_it(
    server: Server, certificates: Certificates, tmp_path: Path, workers: int, abstract: bool
) -> None:
    config = _config(server, certificates, workers)
    with manager(tmp_path, abstract=abstract) as systemd, run_gateway(config, env=systemd.environ) as gateway:
        assert systemd.wait_for("READY", "1").pid == gateway.pid
        assert systemd.wait_for("STATUS").fields["STATUS"] == "0 sessions, 0 transfers"
        with login(gateway.endpoint) as ftp:
            systemd.wait_for("STATUS", "1 session, 0 transfers")
            with ftp.transfercmd("STOR large"):
                systemd.wait_for("STATUS", "1 session, 1 transfer")
            ftp.voidresp()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        gateway.reload(config)
        reloading = systemd.wait_for("RELOADING", "1").fields
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.wait_for("READY", "1")
        gateway.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING", "1")
        assert gateway.wait() == 0
        assert {told.pid for told in systemd.rest()} == {gateway.pid}
        assert not any("WATCHDOG" in told.fields for told in systemd.told), "nobody has asked for that"


@pytest.mark.parametrize("workers", WORKERS)
def test_a_reload_that_fails_is_seen_by_whoever_asked_for_it(
    server: Server, certificates: Certificates, tmp_path: Path, workers: int
) -> None:
    config = _config(server, certificates, workers)
    with manager(tmp_path) as systemd, run_gateway(config, env=systemd.environ) as gateway:
        done = tell("reload", gateway.pid)
        assert (done.returncode, done.stdout, done.stderr) == (0, "reloaded\n", "")
        assert len(gateway.events("gateway.reloaded")) == 1
        broken = config.replace("[timeouts]", "[timeouts]\nidle = 0")
        gateway._config_file.write_text(broken)
        done = tell("reload", gateway.pid)
        why = gateway.wait_for_event("gateway.reload_failed")["detail"]
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"ftpsproxy: not reloaded: {why}\n"
        assert "timeouts.idle" in why
        systemd.wait_for("STATUS", f"0 sessions, 0 transfers; not reloaded: {why}")
        gateway._config_file.write_text(config)
        assert tell("reload", gateway.pid).returncode == 0
        systemd.wait_for("STATUS", "0 sessions, 0 transfers")


def test_what_is_no_gateway_is_left_alone(tmp_path: Path) -> None:
    for pid, why in [
        ("1x", "no process id"),
        ("0", "no process id"),
        (str(2**22 + 1), "there is no process"),
    ]:
        done = tell("reload", pid)
        assert done.returncode in (1, 2)
        assert why in done.stderr
        assert "Traceback" not in done.stderr
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            done = tell("reload", other.pid)
            assert (done.returncode, done.stderr) == (
                1,
                f"ftpsproxy: process {other.pid} does not know SIGHUP: it is no gateway\n",
            )
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("workers", WORKERS)
def test_the_watchdog_hears_of_a_process_that_works(
    server: Server, certificates: Certificates, tmp_path: Path, workers: int
) -> None:
    config = _config(server, certificates, workers)
    with manager(tmp_path) as systemd:
        environ = systemd.environ | {"WATCHDOG_USEC": "900000"}
        with run_gateway(config, env=environ) as gateway:
            systemd.wait_for("READY")
            begun = time.monotonic()
            for _ in range(6):
                systemd.wait_for("WATCHDOG", "1")
            assert time.monotonic() - begun < 6 * 0.9, "often enough for what it has asked for"
            os.kill(gateway.pid, signal.SIGSTOP)
            systemd.rest()
            with pytest.raises(queue.Empty):
                systemd.hear(1.5)  # as long as it is to take it for stuck
            os.kill(gateway.pid, signal.SIGCONT)
            systemd.wait_for("WATCHDOG", "1")
        with run_gateway(config, env=environ | {"WATCHDOG_PID": "1"}):
            systemd.wait_for("READY")
            assert "WATCHDOG" not in systemd.wait_for("STATUS").fields, "it is another process that is watched"


@pytest.mark.parametrize("workers", WORKERS)
def test_a_manager_that_does_not_hear_holds_nothing_up(
    server: Server, certificates: Certificates, tmp_path: Path, workers: int
) -> None:
    """But hears the news, in their order, as soon as there is room."""
    config = _config(server, certificates, workers)
    with manager(tmp_path, reads=False) as systemd:
        systemd.fill()
        with run_gateway(config, env=systemd.environ) as gateway:
            with login(gateway.endpoint) as ftp:
                assert works(ftp)
            gateway.reload(config)
            systemd.start()
            news = [systemd.wait_for(key) for key in ("READY", "RELOADING", "READY", "STATUS")]
            assert {told.pid for told in news} == {gateway.pid}


def _runs_without(config: str, environ: dict[str, str]) -> Gateway:
    with run_gateway(config, env=environ) as gateway:
        with login(gateway.endpoint) as ftp:
            assert works(ftp)
        gateway.reload(config)
    return gateway


@pytest.mark.parametrize("name", ["/nowhere/at/all", "@nobody-is-there", "vsock:2:1", "", "relative", "/" + "x" * 200])
def test_a_manager_that_is_not_there_is_none(server: Server, certificates: Certificates, name: str) -> None:
    gateway = _runs_without(_config(server, certificates, 1), {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "wrong"})
    assert not gateway.events("gateway.crashed")
