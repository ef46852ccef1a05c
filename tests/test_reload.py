"""SIGHUP: the configuration is read again, for all workers; sessions that there are keep theirs; nothing is lost."""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import vocabulary
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, configuration, run_gateway
from tests.support.ports import free_range
from tests.support.servers import PASSWORD, ROOT, USER, Endpoint, Server, free_port, pyftpdlib
from tests.test_workers import wait_for

PATIENCE = 30.0
HOST = "127.0.0.1"
WORKERS = [1, 2]


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


@pytest.fixture(scope="module")
def other(certificates: Certificates) -> Iterator[Server]:
    """Another one, told apart by its file."""
    with pyftpdlib(certificates) as running:
        running.put("other", b"other")
        yield running


class Running:
    """A gateway and what is said of it."""

    def __init__(self, gateway: Gateway, certificates: Certificates, url: str, workers: int | str) -> None:
        self.gateway = gateway
        self.certificates = certificates
        self.url = url
        self.workers = workers

    def config(self, url: str | None = None, *, more: str = "", **tables: Any) -> str:
        """Its configuration, changed."""
        return _config(self.certificates, url or self.url, self.workers, more, **tables)

    def reload(self, url: str | None = None, *, more: str = "", **tables: Any) -> Event:
        """Have it serve by that; it must."""
        event = self.gateway.reload(self.config(url, more=more, **tables))
        assert event["event"] == "gateway.reloaded", event
        return event

    def login(self, endpoint: Endpoint | None = None) -> ftplib.FTP:
        """A session."""
        return login(endpoint or self.gateway.endpoint)

    def page(self, path: str) -> tuple[int, str]:
        """Of the admin listener."""
        where = self.gateway.events("gateway.ready")[0]["admin"]
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://{where}{path}", timeout=PATIENCE) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except (ConnectionError, urllib.error.URLError) as error:
                # A worker that has nothing to end has gone, or one that takes the place of another does not listen yet.
                if not isinstance(getattr(error, "reason", error), ConnectionError) or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        families = text_string_to_metric_families(self.page("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == f"ftpsproxy_{name}"]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def _config(certificates: Certificates, url: str, workers: int | str, more: str = "", **tables: Any) -> str:
    merged: dict[str, Any] = {"process": {"workers": workers}, "admin": {"listen": f"{HOST}:0"}} | tables
    return configuration(url, certificates.ca_file, **merged) + more


@contextlib.contextmanager
def running(server: Server, certificates: Certificates, workers: int | str, **tables: Any) -> Iterator[Running]:
    """A gateway for one test."""
    with run_gateway(_config(certificates, server.url, workers, **tables)) as gateway:
        yield Running(gateway, certificates, server.url, workers)


def login(endpoint: Endpoint) -> ftplib.FTP:
    """A session."""
    ftp = ftplib.FTP(timeout=PATIENCE)
    try:
        ftp.connect(endpoint.host, endpoint.port)
        ftp.login(USER, PASSWORD)
    except BaseException:
        ftp.close()
        raise
    return ftp


def works(ftp: ftplib.FTP) -> bool:
    """A file goes up and comes back."""
    ftp.storbinary("STOR works", io.BytesIO(b"works" * 1000))
    got: list[bytes] = []
    ftp.retrbinary("RETR works", got.append)
    return b"".join(got) == b"works" * 1000


@pytest.mark.parametrize("workers", WORKERS)
def test_sessions_keep_their_server_and_new_ones_get_the_new(
    server: Server, other: Server, certificates: Certificates, workers: int
) -> None:
    with running(server, certificates, workers) as gateway:
        old = [gateway.login() for _ in range(4)]
        event = gateway.reload(other.url)
        assert event["listeners"] == [f"tests {HOST}:{gateway.gateway.endpoint.port} -> {other.url}"]
        for _ in range(4):
            with gateway.login() as ftp:
                assert "other" in ftp.nlst()
        for ftp in old:
            assert "other" not in ftp.nlst()
            assert works(ftp)
            ftp.quit()
        assert gateway.metric("reloads_total", result="ok") == 1
        assert gateway.metric("sessions_total") == 8
        wait_for(lambda: gateway.metric("sessions_open") == 0)


_OF_NO_USE = {
    "[limit]\nsessions = 1\n": "limit: unknown key; did you mean 'limits'?",
    "[upstream.server2]\n": "upstream.server2.url: missing",
    '[upstream.b]\nurl = "ftp://h"\n': "ftp:// would send passwords and files in clear",
    '[upstream.b]\nurl = "ftpes://h"\nca_file = "/etc/hosts"\n': "/etc/hosts",
    "[[listener]": "not valid TOML",
}


@pytest.mark.parametrize("workers", WORKERS)
def test_what_is_of_no_use_changes_nothing(server: Server, certificates: Certificates, workers: int) -> None:
    with running(server, certificates, workers) as gateway:
        with gateway.login() as before:
            for more, reason in _OF_NO_USE.items():
                event = gateway.gateway.reload(gateway.config(more=more))
                assert event["event"] == "gateway.reload_failed"
                assert reason in event["detail"]
                assert "\n" not in event["detail"]
                assert works(before)
        with gateway.login() as after:
            assert works(after)
        event = gateway.gateway.reload(gateway.config(process={"workers": 3}))
        assert event["detail"] == f"process.workers: {workers} run, 3 need a new start of the gateway"
        assert gateway.page("/readyz")[0] == 200
        assert gateway.metric("reloads_total", result="failed") == len(_OF_NO_USE) + 1
        gateway.reload()


@pytest.mark.parametrize("workers", WORKERS)
def test_listeners_come_go_and_move(server: Server, certificates: Certificates, workers: int) -> None:
    first, second = free_port(HOST), free_port(HOST)
    more = f'[[listener]]\nname = "more"\nupstream = "server"\nlisten = "{HOST}:'
    with running(server, certificates, workers) as gateway:
        staying = gateway.login()
        gateway.reload(more=f'{more}{first}"\n')
        extra = gateway.login(gateway.gateway.endpoints["more"])
        gateway.reload(more=f'{more}{second}"\n')
        assert gateway.gateway.endpoints["more"].port == second
        with gateway.login(gateway.gateway.endpoints["more"]) as moved:
            assert works(moved)
        with pytest.raises(ConnectionRefusedError):
            login(Endpoint(HOST, first, USER, PASSWORD))
        gateway.reload()
        with pytest.raises(ConnectionRefusedError):
            login(Endpoint(HOST, second, USER, PASSWORD))
        assert works(staying)
        assert works(extra)
        staying.quit()
        extra.quit()


@pytest.mark.parametrize("workers", WORKERS)
def test_an_address_that_another_has_changes_nothing(server: Server, certificates: Certificates, workers: int) -> None:
    with running(server, certificates, workers) as gateway, socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        more = f'[[listener]]\nname = "more"\nupstream = "server"\nlisten = "{HOST}:{port}"\n'
        event = gateway.gateway.reload(gateway.config(more=more))
        where = f"listener more: can't listen on {HOST}:{port}: address already in use; another program has it"
        assert event["detail"] == where
        port = gateway.gateway.endpoint.port
        more = more.replace(f"{HOST}:{taken.getsockname()[1]}", f"0.0.0.0:{port}")
        event = gateway.gateway.reload(gateway.config(more=more))
        assert "this gateway itself has that port, at another address" in event["detail"]
        with gateway.login() as ftp:
            assert works(ftp)


@pytest.mark.parametrize("workers", WORKERS)
def test_nobody_is_turned_away_meanwhile(server: Server, certificates: Certificates, workers: int) -> None:
    with running(server, certificates, workers) as gateway:
        endpoint = gateway.gateway.endpoint
        over = threading.Event()
        outcomes: list[str] = []

        def knock() -> None:
            while not over.is_set():
                try:
                    with socket.create_connection((endpoint.host, endpoint.port), timeout=PATIENCE) as sock:
                        outcomes.append(sock.recv(200)[:3].decode())
                        sock.sendall(b"QUIT\r\n")
                        sock.recv(200)
                except OSError as error:
                    outcomes.append(str(error))

        knocking = [threading.Thread(target=knock) for _ in range(3)]
        for thread in knocking:
            thread.start()
        for level in ("info", "debug") * 5:
            gateway.reload(log={"level": level})
        over.set()
        for thread in knocking:
            thread.join()
        assert len(outcomes) > 10
        assert set(outcomes) == {"220"}


@pytest.mark.parametrize("workers", WORKERS)
def test_limits_change_at_once(server: Server, certificates: Certificates, workers: int) -> None:
    with running(server, certificates, workers, limits={"sessions_per_client": 2}) as gateway:
        sessions = [gateway.login() for _ in range(2)]
        with pytest.raises(ftplib.error_temp, match="too many sessions from your address"):
            gateway.login()
        gateway.reload(limits={"sessions_per_client": 3})
        sessions.append(gateway.login())
        with pytest.raises(ftplib.error_temp, match="too many sessions from your address"):
            gateway.login()
        gateway.reload(limits={"sessions_per_client": 1})
        sessions.pop().quit()
        sessions.pop().quit()
        with pytest.raises(ftplib.error_temp, match="too many sessions from your address"):
            gateway.login()
        sessions.pop().quit()
        wait_for(lambda: gateway.metric("sessions_open") == 0)
        gateway.login().quit()
        assert gateway.metric("sessions_refused_total", limit="sessions_per_client") == 3


@pytest.mark.parametrize("workers", WORKERS)
def test_whoever_waits_for_a_place_gets_one_when_there_are_more(
    server: Server, certificates: Certificates, workers: int
) -> None:
    """And places are taken and given back however the limits have changed meanwhile."""
    with running(server, certificates, workers, timeouts={"queue": 60}) as gateway:
        first = gateway.login()  # counts, though there was no limit when it came
        gateway.reload(upstream={"sessions": 1})
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(_knock(gateway.gateway.endpoint)) for _ in range(3)]
            gateway.gateway.wait_for_event("session.queued", count=3)
            assert gateway.metric("sessions_waiting") == 3
            gateway.reload(upstream={"sessions": 3})
            wait_for(lambda: sum(map(_answered, waiting)) == 2)
            assert gateway.metric("sessions_waiting") == 1
            gateway.reload(upstream={"sessions": 0})
            wait_for(lambda: sum(map(_answered, waiting)) == 3)
            gateway.login().quit()
        first.quit()
        wait_for(lambda: gateway.metric("sessions_open") == 0)
        gateway.reload(upstream={"sessions": 2}, timeouts={"queue": 0})
        sessions = [gateway.login() for _ in range(2)]
        with pytest.raises(ftplib.error_temp, match="no place at the server"):
            gateway.login()
        for ftp in sessions:
            ftp.quit()


def _knock(endpoint: Endpoint) -> socket.socket:
    """A client that is greeted, and waits for the answer to USER."""
    sock = socket.create_connection((endpoint.host, endpoint.port), timeout=PATIENCE)
    assert sock.recv(500).startswith(b"220 ")
    sock.sendall(f"USER {USER}\r\n".encode())
    return sock


def _answered(sock: socket.socket) -> bool:
    sock.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        return sock.recv(3, socket.MSG_PEEK) == b"331"
    return False


@pytest.mark.parametrize("workers", WORKERS)
def test_passive_ports_change(server: Server, certificates: Certificates, workers: int) -> None:
    """Sessions from before keep theirs, and hold none of the ports that the new ones need."""
    low, high = free_range(8)
    with running(server, certificates, workers, listener={"passive_ports": f"{low}-{high}"}) as gateway:
        old = [gateway.login() for _ in range(4)]
        for ftp in old:
            assert works(ftp)
            assert low <= ftp.makepasv()[1] <= high
            assert works(ftp)
        gateway.reload(listener={"passive_ports": f"{low}-{low + 1}"})
        new = [gateway.login() for _ in range(4)]
        for _ in range(3):
            for ftp in new:
                assert low <= ftp.makepasv()[1] <= low + 1
                assert works(ftp)
            for ftp in old:
                assert works(ftp)
        for ftp in old + new:
            ftp.quit()


@pytest.mark.parametrize("workers", WORKERS)
def test_authorities_are_read_anew(server: Server, certificates: Certificates, tmp_path: Path, workers: int) -> None:
    """The file's name stays, as when a mounted secret is renewed."""
    ca_file = tmp_path / "ca.pem"
    shutil.copy(certificates.other_authority.certificate_file, ca_file)
    upstream = {"ca_file": ca_file}
    with running(server, certificates, workers, upstream=upstream) as gateway:
        with pytest.raises(ftplib.error_perm, match="not trusted here"):
            gateway.login()
        shutil.copy(certificates.ca_file, ca_file)
        gateway.reload(upstream=upstream)
        with gateway.login() as ftp:
            assert works(ftp)
        assert gateway.metric("upstream_failures_total", reason="unknown_ca") == 1


@pytest.mark.parametrize("workers", WORKERS)
def test_the_log_changes(server: Server, certificates: Certificates, workers: int) -> None:
    with running(server, certificates, workers) as gateway:
        since = gateway.gateway.mark()
        gateway.gateway.reload_unheard(gateway.config(log={"level": "warning"}))
        wait_for(lambda: gateway.metric("reloads_total") == 1)
        gateway.login().quit()
        wait_for(lambda: gateway.metric("sessions_total") == 1 and gateway.metric("sessions_open") == 0)
        assert gateway.gateway.events(since=since) == []
        gateway.reload()
        gateway.login().quit()
        assert gateway.gateway.wait_for_event("session.command", since=since)


@pytest.mark.parametrize("workers", WORKERS)
def test_admin_comes_and_goes(server: Server, certificates: Certificates, workers: int) -> None:
    port = free_port(HOST)
    with running(server, certificates, workers, admin={}) as gateway:
        assert "admin" not in gateway.gateway.events("gateway.ready")[0]
        gateway.login().quit()
        event = gateway.reload(admin={"listen": f"{HOST}:{port}"})
        assert event["admin"] == f"{HOST}:{port}"
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=PATIENCE) as answer:
            assert b"ftpsproxy_sessions_total" in answer.read()
        gateway.reload(admin={})
        wait_for(lambda: _refused(port))
        assert not gateway.gateway.events("gateway.starved")  # it was closed, and lacks nothing


@pytest.mark.parametrize("workers", WORKERS)
def test_while_it_stops_it_says_so_and_reads_nothing_again(
    server: Server, certificates: Certificates, workers: int
) -> None:
    with running(server, certificates, workers, timeouts={"drain": 60}) as gateway:
        server.put("large", b"x" * (8 << 20))
        ftp = gateway.login()
        ftp.voidcmd("TYPE I")
        with ftp.transfercmd("RETR large") as data:
            assert gateway.page("/readyz") == (200, "ready\n")
            gateway.gateway.signal(signal.SIGTERM)
            gateway.gateway.wait_for_event("gateway.draining")
            gateway.gateway.signal(signal.SIGHUP)
            # Any worker answers, and one has said that it drains: the other hears so in the same moment.
            wait_for(lambda: gateway.page("/readyz") == (503, "stopping\n"))
            assert gateway.page("/healthz") == (200, "alive\n")
            assert gateway.metric("transfers_open") == 1
            size = 0
            while part := data.recv(1 << 20):
                size += len(part)
        assert size == 8 << 20
        assert ftp.getresp().startswith("226")
        ftp.close()
        assert gateway.gateway.wait(PATIENCE) == 0
        assert not gateway.gateway.events("gateway.reloaded")


def _refused(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((HOST, port), timeout=PATIENCE):
        return False
    return True


def test_a_worker_in_place_of_a_lost_one_serves_by_what_holds(
    server: Server, other: Server, certificates: Certificates
) -> None:
    """And no count is lost with it but what it had."""
    with running(server, certificates, 2) as gateway:
        sessions = [gateway.login() for _ in range(12)]
        gateway.reload(other.url)
        for lost in range(1, 3):
            pid = _children(gateway.gateway.pid)[0]
            os.kill(pid, signal.SIGKILL)
            gateway.gateway.wait_for_event("gateway.worker_lost", PATIENCE, count=lost)
            wait_for(lambda: len(_children(gateway.gateway.pid)) == 2)
        wait_for(lambda: gateway.metric("processes") == 3)
        for ftp in sessions:
            ftp.close()
        for _ in range(8):
            with gateway.login() as ftp:
                assert "other" in ftp.nlst()
        assert gateway.metric("sessions_total") == 20
        assert gateway.metric("workers_lost_total") == 2
        wait_for(lambda: gateway.metric("sessions_open") == 0)
        gateway.reload()
        with gateway.login() as ftp:
            assert "other" not in ftp.nlst()


def _children(pid: int) -> list[int]:
    """The oldest first."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_can_not_take_the_settings_is_replaced(
    server: Server, other: Server, certificates: Certificates
) -> None:
    """Old settings may let in whom the new ones do not: nobody is served by them from then on."""
    with running(server, certificates, 2) as gateway:
        sessions = [gateway.login() for _ in range(8)]
        short = _children(gateway.gateway.pid)[1]
        used = len(os.listdir(f"/proc/{short}/fd"))
        resource.prlimit(short, resource.RLIMIT_NOFILE, (used, used))
        more = "".join(f'[[listener]]\nname = "x{n}"\nupstream = "server"\nlisten = "{HOST}:0"\n' for n in range(20))
        gateway.reload(other.url, more=more)
        event = gateway.gateway.wait_for_event("gateway.worker_retired")
        assert event["pid"] == short
        assert "too many open files" in event["detail"]
        wait_for(lambda: short not in _children(gateway.gateway.pid) and len(_children(gateway.gateway.pid)) == 2)
        for _ in range(8):
            with gateway.login() as ftp:
                assert "other" in ftp.nlst()
        ended = [_ended(ftp) for ftp in sessions]
        assert 0 < sum(ended) < 8
        for ftp in sessions:
            ftp.close()
        assert not gateway.gateway.events("gateway.worker_lost")
        assert gateway.metric("reloads_total") == 1


def _ended(ftp: ftplib.FTP) -> bool:
    try:
        ftp.voidcmd("NOOP")
    except (ftplib.error_temp, EOFError, OSError):
        return True
    return False


def test_a_worker_that_does_not_answer_holds_up_neither_settings_nor_end(
    server: Server, certificates: Certificates
) -> None:
    with running(server, certificates, 2) as gateway:
        stuck = _children(gateway.gateway.pid)[0]
        os.kill(stuck, signal.SIGSTOP)
        try:
            gateway.gateway.reload_unheard(gateway.config(limits={"sessions": 7}))
            gateway.gateway.signal(signal.SIGTERM)
            started = time.monotonic()
            wait_for(lambda: stuck in _children(gateway.gateway.pid) and len(_children(gateway.gateway.pid)) == 1)
            assert time.monotonic() - started < 5
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert gateway.gateway.wait(PATIENCE) == 0


def test_a_worker_that_is_lost_meanwhile_does_not_hold_it_up(server: Server, certificates: Certificates) -> None:
    """The one in its place serves by what holds, so nothing has failed."""
    with running(server, certificates, 2) as gateway:
        first, second = _children(gateway.gateway.pid)
        os.kill(first, signal.SIGSTOP)  # so that it has not answered yet
        loss = threading.Timer(0.5, os.kill, (first, signal.SIGKILL))
        loss.start()
        begun = time.monotonic()
        gateway.reload()
        assert time.monotonic() - begun < 5
        loss.join()
        wait_for(lambda: gateway.metric("processes") == 3)
        os.kill(second, signal.SIGKILL)  # and now one that the parent has not missed yet
        gateway.reload()
        gateway.gateway.wait_for_event("gateway.worker_lost", PATIENCE, count=2)
        assert not gateway.gateway.events("gateway.worker_retired")


@pytest.mark.parametrize("workers", WORKERS)
def test_a_large_configuration_can_be_read_again(server: Server, certificates: Certificates, workers: int) -> None:
    """More than a message between processes takes."""
    clients = [HOST, *(f"10.{number >> 8}.{number & 255}.{part}/32" for number in range(1 << 13) for part in range(8))]
    with running(server, certificates, workers) as gateway:
        gateway.reload(listener={"clients": clients})
        with gateway.login() as ftp:
            assert works(ftp)


@pytest.mark.parametrize("workers", WORKERS)
def test_whoever_waits_while_its_listener_changes(
    server: Server, other: Server, certificates: Certificates, workers: int
) -> None:
    """It is served by what holds when its turn comes, or asked to connect again; no limit is forgotten."""
    with running(server, certificates, workers, upstream={"sessions": 1}, timeouts={"queue": 60}) as gateway:
        endpoint = gateway.gateway.endpoint
        first = gateway.login()
        with contextlib.closing(_knock(endpoint)) as second, contextlib.closing(_knock(endpoint)) as third:
            gateway.gateway.wait_for_event("session.queued", count=2)
            gateway.reload(other.url, upstream={"sessions": 1})
            first.quit()
            wait_for(lambda: _answered(second) or _answered(third))
            served, waiting = (second, third) if _answered(second) else (third, second)
            assert "other" in _list(served)
            renamed = gateway.config().replace("[upstream.server]", "[upstream.new]\nsessions = 1")
            renamed = renamed.replace('upstream = "server"', 'upstream = "new"')
            assert gateway.gateway.reload(renamed)["event"] == "gateway.reloaded"
            with gateway.login():
                assert not _answered(waiting)
                served.close()
                waiting.settimeout(PATIENCE)
                assert waiting.recv(500).startswith(b"421 Service not available: the gateway's settings have changed")
        wait_for(lambda: gateway.metric("sessions_open") == gateway.metric("sessions_waiting") == 0)
        assert gateway.gateway.events("session.refused")[-1]["limit"] == "changed"


def _list(sock: socket.socket) -> list[str]:
    """The names that a client sees whose USER was answered."""
    ftp = ftplib.FTP()
    ftp.sock, ftp.af, ftp.file, ftp.timeout = sock, sock.family, sock.makefile("r"), PATIENCE
    sock.settimeout(PATIENCE)
    ftp.host = HOST
    assert ftp.getresp().startswith("331")
    ftp.login(USER, PASSWORD)
    try:
        return ftp.nlst()
    finally:
        assert ftp.file is not None
        ftp.file.close()


def test_an_address_that_was_left_is_free_for_others(server: Server, certificates: Certificates) -> None:
    """No worker holds what its parent has let go; and it may come back."""
    first, second = free_port(HOST), free_port(HOST)
    with running(server, certificates, 2, listen=f"{HOST}:{first}") as gateway:
        gateway.reload(listen=f"{HOST}:{second}")
        with socket.create_server((HOST, first), reuse_port=False):
            with gateway.login() as ftp:
                assert works(ftp)
            event = gateway.gateway.reload(gateway.config(listen=f"{HOST}:{first}"))
            assert "another program has it" in event["detail"]
        gateway.reload(listen=f"{HOST}:{first}")
        with gateway.login() as ftp:
            assert works(ftp)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_hangup_while_it_starts_does_not_end_it(server: Server, certificates: Certificates, workers: int) -> None:
    """It is read again as soon as it is served."""
    path = Path(certificates.ca_file).with_name(f"early-{workers}.toml")
    path.write_text(_config(certificates, server.url, workers))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FTPSPROXY_")}
    with subprocess.Popen(
        [sys.executable, "-c", _EARLY, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            events = [vocabulary.read(process.stdout.readline())["event"] for _ in range(2)]
            assert events == ["gateway.ready", "gateway.reloaded"]
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


_EARLY = """
import os, signal, sys
from ftpsproxy import config
from ftpsproxy.cli.main import main
read, told = config.read, []
def early(*args, **more):
    if not told:
        told.append(os.kill(os.getpid(), signal.SIGHUP))
    return read(*args, **more)
config.read = early
sys.exit(main(["run", "-c", sys.argv[1]]))
"""


def test_as_many_workers_as_cores_is_no_change(server: Server, certificates: Certificates) -> None:
    """However many there are by then."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core is one worker")
    with running(server, certificates, "auto") as gateway:
        os.sched_setaffinity(gateway.gateway.pid, {min(cores)})
        gateway.reload()
        assert gateway.metric("processes") == len(cores) + 1


@pytest.mark.parametrize("workers", WORKERS)
def test_a_server_that_is_no_more_has_no_certificate(
    server: Server, other: Server, certificates: Certificates, workers: int
) -> None:
    with running(server, certificates, workers) as gateway:
        for _ in range(4):
            gateway.login().quit()
        assert gateway.metric("upstream_certificate_expiry_timestamp_seconds", upstream="server") > time.time()
        renamed = gateway.config().replace("[upstream.server]", "[upstream.new]")
        gateway.gateway.reload(renamed.replace('upstream = "server"', 'upstream = "new"'))
        assert gateway.metric("upstream_certificate_expiry_timestamp_seconds") == 0
        gateway.login().quit()
        assert gateway.metric("upstream_certificate_expiry_timestamp_seconds", upstream="new") > time.time()
