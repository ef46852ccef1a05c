"""Several processes behind one port: what they share, what they do not, and what becomes of a lost one."""

import contextlib
import ftplib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpsproxy.config import Limits, Listener, Process, Settings, Upstream
from ftpsproxy.serve.heartbeat import Pulse
from ftpsproxy.serve.limits import TOO_MANY, TOO_MANY_OF_CLIENT, LocalSessionLimits, SessionLimits, SharedSessionLimits
from ftpsproxy.serve.worker import share
from tests.support import vocabulary
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway
from tests.support.servers import ROOT, Server, pyftpdlib

PATIENCE = 30.0


def settings(workers: int, ports: tuple[int, int] | None) -> Settings:
    """One listener with this range of passive ports."""
    return Settings(
        (Listener("a", "127.0.0.1", 2121, "u", passive_ports=ports),),
        {"u": Upstream("u", "localhost", active_ports=ports)},
        process=Process(workers),
    )


@pytest.mark.parametrize(
    ("workers", "ports"), [(2, (50000, 50001)), (3, (50000, 50009)), (4, (1024, 65535)), (2, None)]
)
def test_ports_are_divided_without_gap_or_overlap(workers: int, ports: tuple[int, int] | None) -> None:
    parts = [share(settings(workers, ports), worker).listeners[0].passive_ports for worker in range(workers)]
    if ports is None:
        assert parts == [None] * workers
        return
    found = [port for part in parts if part is not None for port in range(part[0], part[1] + 1)]
    assert found == list(range(ports[0], ports[1] + 1))
    assert all(part is not None and part[0] <= part[1] for part in parts)


@pytest.mark.parametrize(
    "make", [LocalSessionLimits, lambda limits: SharedSessionLimits(limits, 3)], ids=["own", "shared"]
)
def test_limits_end_and_come_back(make: Callable[[Limits], SessionLimits]) -> None:
    limits = make(Limits(sessions=3, sessions_per_client=2))
    assert [limits.take("10.0.0.1"), limits.take("10.0.0.1")] == [None, None]
    assert limits.take("10.0.0.1") is TOO_MANY_OF_CLIENT
    assert limits.take("10.0.0.2") is None
    assert limits.take("10.0.0.3") is TOO_MANY
    limits.leave("10.0.0.1")
    assert limits.take("10.0.0.3") is None


def test_a_lost_workers_seats_are_free() -> None:
    limits = SharedSessionLimits(Limits(sessions=2), 2)
    limits.serve(1)
    assert [limits.take("a"), limits.take("b"), limits.take("c")] == [None, None, TOO_MANY]
    limits.clear(1)
    assert limits.take("c") is None


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


@contextlib.contextmanager
def two_workers(server: Server, certificates: Certificates, sessions: int = 100) -> Iterator[Gateway]:
    """A gateway of two processes."""
    with start_gateway(
        server.url, certificates.ca_file, env={"FTPSPROXY_WORKERS": "2"}, limits={"sessions_per_client": sessions}
    ) as gateway:
        yield gateway


def children(pid: int) -> set[int]:
    """The processes below this one."""
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def login(gateway: Gateway) -> ftplib.FTP:
    """A session."""
    end = gateway.endpoint
    ftp = ftplib.FTP(timeout=PATIENCE)
    try:
        ftp.connect(end.host, end.port)
        ftp.login(end.user, end.password)
    except BaseException:
        ftp.close()
        raise
    return ftp


def wait_for(what: Callable[[], bool]) -> None:
    """Until it is so."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_both_serve_and_a_lost_one_is_replaced(server: Server, certificates: Certificates) -> None:
    with two_workers(server, certificates) as gateway:
        workers = children(gateway.pid)
        assert len(workers) == 2
        sessions = [login(gateway) for _ in range(16)]
        os.kill(min(workers), signal.SIGKILL)
        event = gateway.wait_for_event("gateway.worker_lost", PATIENCE)
        assert (event["pid"], event["status"]) == (min(workers), -signal.SIGKILL)
        alive = 0
        for ftp in sessions:
            with contextlib.suppress(EOFError, ConnectionError):
                ftp.voidcmd("NOOP")
                alive += 1
            ftp.close()
        assert 0 < alive < 16, "each worker had some of them"
        wait_for(lambda: len(children(gateway.pid)) == 2)
        for _ in range(8):
            with login(gateway) as ftp:
                data: list[bytes] = []
                ftp.retrbinary("LIST", data.append)


def test_limits_hold_for_all_workers_together(server: Server, certificates: Certificates) -> None:
    with two_workers(server, certificates, sessions=6) as gateway:
        sessions = [login(gateway) for _ in range(6)]
        with pytest.raises(ftplib.error_temp, match=r"421 .*too many sessions from your address"):
            login(gateway)
        sessions.pop().quit()

        def one_more() -> bool:
            with contextlib.suppress(ftplib.error_temp, EOFError, ConnectionError):
                sessions.append(login(gateway))
                return True
            return False

        wait_for(one_more)
        for ftp in sessions:
            ftp.quit()


def test_a_signal_to_all_of_them_drains(server: Server, certificates: Certificates) -> None:
    """systemd and a terminal send it to every process of the group."""
    with two_workers(server, certificates) as gateway:
        sessions = [login(gateway) for _ in range(6)]
        for pid in [*children(gateway.pid), gateway.pid]:
            os.kill(pid, signal.SIGTERM)
        assert gateway.wait(PATIENCE) == 0
        assert all(ftp.getline().startswith("421 ") for ftp in sessions)
        for ftp in sessions:
            ftp.close()
        assert len(gateway.events("gateway.stopped")) == 1


def test_one_lost_before_it_listens_ends_the_start(certificates: Certificates) -> None:
    """Nobody waits for it for ever, deaf to signals."""
    program = """
import os, signal, sys
from ftpsproxy.cli.main import main
from ftpsproxy.serve import gateway
gateway.Gateway.serve = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["run", "--listen", "127.0.0.1:0", "--upstream", "ftpes://localhost", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT
    )
    said = "ftpsproxy: a worker could not be started: it was lost\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_process_that_can_not_be_had_is_asked_for_again(server: Server, certificates: Certificates) -> None:
    """What has lost a worker for want of memory loses no more for want of another."""
    program = """
import os, sys
from ftpsproxy.cli.main import main
fork, calls = os.fork, 0
def failing():
    global calls
    calls += 1
    if calls in (3, 4):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = failing
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["run", "--listen", "127.0.0.1:0", "--upstream", server.url, "--ca-file", str(certificates.ca_file)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--workers", "2"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            assert vocabulary.read(process.stdout.readline())["event"] == "gateway.ready"
            time.sleep(1.1)  # one that is lost later than a second after its start is replaced at once
            os.kill(min(children(process.pid)), signal.SIGKILL)
            events = [vocabulary.read(process.stdout.readline()) for _ in range(3)]
            assert [event["event"] for event in events] == ["gateway.worker_lost", *["gateway.starved"] * 2]
            assert events[1]["detail"] == "no worker process: resource temporarily unavailable"
            wait_for(lambda: len(children(process.pid)) == 2)
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


def test_standard_output_may_be_closed(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = f"--listen 127.0.0.1:{port} --upstream ftpes://localhost --ca-file {certificates.ca_file} --workers 2"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {sys.executable} -m ftpsproxy run {arguments} >&-"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)  # both workers are to be ready, and there is no log to say so
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()


def test_a_worker_that_does_nothing_is_replaced(server: Server, certificates: Certificates) -> None:
    with two_workers(server, certificates) as gateway:
        stuck = min(children(gateway.pid))
        login(gateway).close()
        gateway.wait_for_event("session.closed")  # it has begun to beat by then
        os.kill(stuck, signal.SIGSTOP)
        event = gateway.wait_for_event("gateway.worker_lost", PATIENCE)
        assert (event["pid"], event["status"]) == (stuck, -signal.SIGKILL)
        assert event["detail"] == "it did nothing for 15 seconds"
        wait_for(lambda: len(children(gateway.pid)) == 2 and stuck not in children(gateway.pid))


def test_silence_is_told_from_a_pause_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    beats = Pulse(3)
    for worker in (0, 1):
        beats._memory[8 * worker : 8 * worker + 8] = struct.pack("d", clock[0])
    beats.begin(1)
    for _ in range(8):  # a look every two seconds; worker 0 has beaten once, worker 1 is about to, worker 2 never has
        clock[0] += 2
        last = beats.silent(3)
    assert last == [0]
    clock[0] += 60  # the parent itself was stopped, and all of them with it perhaps
    assert beats.silent(3) == []
    clock[0] += 2
    assert beats.silent(3) == []
