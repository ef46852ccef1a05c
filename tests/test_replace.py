"""SIGUSR2: a new process takes the place of the gateway; no client is refused, no transfer torn."""

from __future__ import annotations

import contextlib
import ftplib
import io
import json
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, configuration, run_gateway
from tests.support.manager import manager
from tests.support.servers import Server, free_port, pyftpdlib
from tests.test_reload import login, works
from tests.test_service_manager import tell
from tests.test_socket_activation import launcher, listening
from tests.test_workers import children, wait_for

PATIENCE = 30.0
WORKERS = [1, 2]


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


def alive(pid: int) -> bool:
    """Whether the process runs."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def replaceable(config: str, **how: Any) -> Iterator[Gateway]:
    """A gateway that may be replaced, again and again: the last one is ended, too. `how`: see run_gateway."""
    with run_gateway(config, **how) as gateway:
        try:
            yield gateway
        finally:
            pids = [event["pid"] for event in gateway.events("gateway.ready")]
            for pid in reversed(pids):
                if alive(pid):
                    os.kill(pid, signal.SIGTERM)
            try:
                wait_for(lambda: not any(alive(pid) for pid in pids))
            finally:
                for pid in filter(alive, pids):
                    os.kill(pid, signal.SIGKILL)


def replace(gateway: Gateway, pid: int) -> Event:
    """Have process `pid` replaced → the `gateway.ready` of the new one."""
    count = len(gateway.events("gateway.ready")) + 1
    done = tell("replace", pid)
    assert (done.returncode, done.stdout, done.stderr) == (0, "replaced\n", "")
    event = gateway.wait_for_event("gateway.ready", count=count)
    assert event["replaces"] == pid
    assert event["pid"] != pid
    return event


class Clients(threading.Thread):
    """Clients that come one after the other, each with a file, until told to stop; whatever goes wrong is kept."""

    def __init__(self, gateway: Gateway, number: int) -> None:
        super().__init__(daemon=True)  # of a test that has failed nobody says that it is over
        self.endpoint = gateway.endpoint
        self.name = f"client{number}"
        self.over = threading.Event()
        self.sessions = 0
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """One after the other."""
        while not self.over.is_set():
            try:
                with login(self.endpoint) as ftp:
                    content = os.urandom(30_000)
                    sent: list[bytes] = []
                    ftp.storbinary(f"STOR {self.name}", io.BytesIO(content))
                    ftp.retrbinary(f"RETR {self.name}", sent.append)
                    assert b"".join(sent) == content
                    ftp.quit()
                self.sessions += 1
            except BaseException as error:
                self.errors.append(error)
                return


@pytest.mark.parametrize("workers", WORKERS)
def test_a_large_upload_and_a_stream_of_clients_go_on_through_it(
    server: Server, certificates: Certificates, workers: int
) -> None:
    config = configuration(
        server.url, certificates.ca_file, process={"workers": workers}, admin={"listen": "127.0.0.1:0"}
    )
    block = os.urandom(65536)
    with replaceable(config) as gateway:
        with login(gateway.endpoint) as ftp:
            ftp.voidcmd("TYPE I")
            data = ftp.transfercmd("STOR large")
            data.sendall(block)
            clients = [Clients(gateway, number) for number in range(3)]
            for client in clients:
                client.start()
            pid = gateway.pid
            for _ in range(3):  # again while the ones before still have the upload, or their clients
                enough = sum(client.sessions for client in clients) + 6
                pid = replace(gateway, pid)["pid"]
                data.sendall(block)
                while sum(client.sessions for client in clients) < enough and not _wrong(clients):
                    clients[0].join(0.05)
            assert alive(gateway.pid), "it has the upload still"
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(PATIENCE)
            assert not _wrong(clients), [repr(error) for client in clients for error in client.errors]
            data.sendall(block)
            data.close()
            assert ftp.voidresp().startswith("226")
            ftp.quit()
        assert (server.home / "large").read_bytes() == block * 5
        assert gateway.wait() == 0, "the first one has ended as soon as the upload had"
        wait_for(lambda: [alive(event["pid"]) for event in gateway.events("gateway.ready")] == [False] * 3 + [True])
        assert not gateway.events("gateway.replace_failed")
        assert len(gateway.events("gateway.replaced")) >= 3
        assert not [one for one in gateway.events("transfer.finished") if one["outcome"] != "complete"]
        with login(gateway.endpoint) as ftp:
            assert works(ftp)
            _shows_itself(gateway, pid, workers)


def _shows_itself(gateway: Gateway, pid: int, workers: int) -> None:
    """Counts and page are those of the process that is there now."""
    ready = gateway.events("gateway.ready")
    assert len({event["admin"] for event in ready}) == 1
    counts, status = (
        urllib.request.urlopen(f"http://{ready[-1]['admin']}{path}", timeout=PATIENCE).read().decode()
        for path in ("/metrics", "/status.json")
    )
    assert 'ftpsproxy_replacements_total{result="ok"} 1.0\n' in counts
    assert 'ftpsproxy_replacements_total{result="failed"} 0.0\n' in counts
    shown = json.loads(status)
    assert shown["ready"]
    assert len(shown["sessions"]) == 1
    assert len(shown["workers"]) == workers
    assert (shown["workers"][0]["pid"] == pid) == (workers == 1), "the parent of several serves nobody"


def _wrong(clients: list[Clients]) -> bool:
    return any(client.errors for client in clients)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_new_process_that_can_not_begin_changes_nothing(
    server: Server, certificates: Certificates, workers: int
) -> None:
    """Whatever is wrong with it is said by the one that goes on: a wrong file, a taken port, a program that fails."""
    config = configuration(server.url, certificates.ca_file, process={"workers": workers})
    with (
        replaceable(config) as gateway,
        login(gateway.endpoint) as ftp,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        listening = f'[[listener]]\nname = "more"\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\nupstream = "server"\n'
        for text, why in [
            (config.replace("[timeouts]", "[timeouts]\nidle = 0"), "timeouts.idle"),
            (config.replace(str(certificates.ca_file), "/nowhere"), "ca_file"),
            (config + listening, "another program has it"),
        ]:
            gateway._config_file.write_text(text)
            count = len(gateway.events("gateway.replace_failed")) + 1
            done = tell("replace", gateway.pid)
            event = gateway.wait_for_event("gateway.replace_failed", count=count)
            assert why in event["detail"]
            assert (done.returncode, done.stderr) == (1, f"ftpsproxy: not replaced: {event['detail']}\n")
            assert works(ftp)
            with login(gateway.endpoint) as other:
                assert works(other)
        gateway._config_file.write_text(config)
        pid = replace(gateway, gateway.pid)["pid"]
        assert works(ftp)
        assert tell("reload", pid).returncode == 0


@pytest.mark.parametrize("workers", WORKERS)
def test_two_replacements_at_once_are_one(server: Server, certificates: Certificates, workers: int) -> None:
    """A reload meanwhile is refused, too: the new process reads the configuration itself."""
    config = configuration(server.url, certificates.ca_file, process={"workers": workers})
    with replaceable(config) as gateway, login(gateway.endpoint) as ftp:
        gateway.signal(signal.SIGUSR2)
        done = tell("replace", gateway.pid)
        assert "not replaced: another process " in done.stderr
        assert done.returncode == 1
        event = gateway.wait_for_event("gateway.ready", count=2)
        done = tell("reload", gateway.pid)
        assert (done.returncode, done.stderr) == (1, "ftpsproxy: not reloaded: another process has taken over\n")
        assert len(gateway.events("gateway.ready")) == 2
        assert alive(event["pid"])
        assert works(ftp)


@pytest.mark.parametrize("workers", WORKERS)
def test_ports_and_workers_may_change(server: Server, certificates: Certificates, workers: int) -> None:
    first, second, admin = (free_port("127.0.0.1") for _ in range(3))
    config = configuration(
        server.url,
        certificates.ca_file,
        listen=f"127.0.0.1:{first}",
        process={"workers": workers},
        admin={"listen": f"127.0.0.1:{admin}"},
    )
    with replaceable(config) as gateway, login(gateway.endpoint) as ftp:
        changed = config.replace(f":{first}", f":{second}").replace(f"workers = {workers}", f"workers = {3 - workers}")
        gateway._config_file.write_text(changed.replace(f"127.0.0.1:{admin}", f"[::1]:{admin}"))
        event = replace(gateway, gateway.pid)
        assert [one["port"] for one in event["listening"]] == [second]
        assert event["admin"] == f"[::1]:{admin}"
        assert len(children(event["pid"])) == (0 if workers == 2 else 2)
        for host, port in (("127.0.0.1", first), ("127.0.0.1", admin)):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), timeout=PATIENCE)
        for host, port in (("127.0.0.1", second), ("::1", admin)):
            socket.create_connection((host, port), timeout=PATIENCE).close()
        assert works(ftp)
        # And back again, with as many workers as before: nothing of the sockets in between is in the way.
        gateway._config_file.write_text(config)
        again = replace(gateway, event["pid"])
        assert [one["port"] for one in again["listening"]] == [first]
        with login(gateway.endpoint) as other:
            assert works(other)


@pytest.mark.parametrize("workers", WORKERS)
def test_an_old_process_that_is_killed_leaves_the_new_one(
    server: Server, certificates: Certificates, workers: int
) -> None:
    config = configuration(server.url, certificates.ca_file, process={"workers": workers})
    with replaceable(config) as gateway:
        with login(gateway.endpoint):
            pid = replace(gateway, gateway.pid)["pid"]
            os.kill(gateway.pid, signal.SIGKILL)
        with login(gateway.endpoint) as ftp:
            assert works(ftp)
        assert tell("reload", pid).returncode == 0
        gateway._process.returncode = 0  # that it was killed is our own doing


@pytest.mark.parametrize("workers", WORKERS)
def test_the_service_manager_hears_who_the_main_process_is(
    server: Server, certificates: Certificates, tmp_path: Path, workers: int
) -> None:
    """From the old one that there is a new one, and from then on from that alone; sockets that it has passed stay."""
    with listening("127.0.0.1") as passed, manager(tmp_path) as systemd:
        port = passed.getsockname()[1]
        config = configuration(
            server.url, certificates.ca_file, listen=f"127.0.0.1:{port}", process={"workers": workers}
        )
        environ = systemd.environ | {"WATCHDOG_USEC": "3000000"}
        command = launcher([passed], "ftpsproxy.socket")
        with replaceable(config, env=environ, launcher=command, pass_fds=[passed.fileno()]) as gateway:
            systemd.wait_for("READY")
            with login(gateway.endpoint) as ftp:
                pid = gateway.pid
                for _ in range(2):
                    new = replace(gateway, pid)["pid"]
                    assert systemd.wait_for("MAINPID", str(new)).pid == pid
                    assert systemd.wait_for("READY").pid == new
                    assert systemd.wait_for("WATCHDOG").pid == new
                    pid = new
                systemd.told.clear()
                os.kill(gateway.pid, signal.SIGTERM)
                assert ftp.getline().startswith("421 ")
            assert gateway.wait() == 0
            assert {told.pid for told in systemd.rest()} <= {pid}, "the old ones have nothing more to say"
            assert not any("STOPPING" in told.fields for told in systemd.told), "it would end the service"
            with login(gateway.endpoint) as ftp:
                assert works(ftp)
            gateway._config_file.write_text(config.replace(f":{port}", ":0"))
            done = tell("replace", pid)
            assert f"127.0.0.1:{port} (ftpsproxy.socket)" in done.stderr
            assert done.returncode == 1


def _new_processes(gateway: Gateway) -> list[int]:
    """Those that run the same file, and are not ready, nor workers of the first one, nor what that has just forked."""
    wanted = str(gateway._config_file).encode()
    found = set()
    for one in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if one.name.isdecimal() and wanted in (one / "cmdline").read_bytes():
                found.add(int(one.name))
    return sorted(found - {event["pid"] for event in gateway.events("gateway.ready")} - children(gateway.pid))


@pytest.mark.parametrize("workers", WORKERS)
def test_a_new_process_that_is_killed_leaves_the_old_one(
    server: Server, certificates: Certificates, workers: int
) -> None:
    """And nothing of it: no descriptor, no zombie."""
    config = configuration(server.url, certificates.ca_file, process={"workers": workers})
    with replaceable(config) as gateway, login(gateway.endpoint) as ftp:
        workers_of = children(gateway.pid)
        before = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        for count in (1, 2, 3):
            gateway.signal(signal.SIGUSR2)
            wait_for(lambda: bool(_new_processes(gateway)))
            for pid in _new_processes(gateway):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            event = gateway.wait_for_event("gateway.replace_failed", count=count)
            assert event["detail"] == "the new process has ended; see standard error"
        wait_for(lambda: len(os.listdir(f"/proc/{gateway.pid}/fd")) <= before)
        assert children(gateway.pid) == workers_of
        assert works(ftp)
        with login(gateway.endpoint) as other:
            assert works(other)
        replace(gateway, gateway.pid)
        assert works(ftp)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_gateway_told_to_stop_meanwhile_stops(server: Server, certificates: Certificates, workers: int) -> None:
    """And the new process with it: nobody has asked for one that goes on."""
    config = configuration(server.url, certificates.ca_file, process={"workers": workers})
    with replaceable(config) as gateway:
        gateway.signal(signal.SIGUSR2)
        wait_for(lambda: bool(_new_processes(gateway)))
        new = _new_processes(gateway)[0]
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert gateway.wait_for_event("gateway.replace_failed")["detail"] == "it was told to stop"
        wait_for(lambda: not alive(new))
        assert len(gateway.events("gateway.ready")) == 1


@pytest.mark.parametrize("workers", WORKERS)
def test_both_together_have_no_more_sessions_than_the_server_takes(
    server: Server, certificates: Certificates, workers: int
) -> None:
    config = configuration(
        server.url,
        certificates.ca_file,
        upstream={"sessions": 2},
        timeouts={"queue": 1},
        process={"workers": workers},
    )
    with replaceable(config) as gateway:
        first, second = login(gateway.endpoint), login(gateway.endpoint)
        replace(gateway, gateway.pid)
        with pytest.raises(ftplib.error_temp, match="no place at the server became free within 1 seconds"):
            login(gateway.endpoint)
        assert works(first)
        first.quit()
        first.close()

        def one_more() -> bool:
            with contextlib.suppress(ftplib.error_temp, EOFError, ConnectionError), login(gateway.endpoint) as ftp:
                return works(ftp)
            return False

        wait_for(one_more)
        assert works(second)
        second.close()


@pytest.mark.parametrize("workers", WORKERS)
def test_an_old_process_has_patience_but_not_for_ever(server: Server, certificates: Certificates, workers: int) -> None:
    """Who says nothing hears 421 once it has lasted long enough; SIGTERM is heard as by any other gateway."""
    config = configuration(server.url, certificates.ca_file, timeouts={"replaced": 1}, process={"workers": workers})
    with replaceable(config) as gateway:
        with login(gateway.endpoint) as ftp:
            event = replace(gateway, gateway.pid)
            assert ftp.getline().startswith("421 ")
        assert gateway.wait() == 0
        gateway._config_file.write_text(config.replace("replaced = 1", "replaced = 1000"))
        with login(gateway.endpoint) as ftp:
            patient = replace(gateway, event["pid"])["pid"]
            with login(gateway.endpoint) as other:
                replace(gateway, patient)
                os.kill(patient, signal.SIGTERM)
                assert other.getline().startswith("421 ")
            wait_for(lambda: not alive(patient))
            assert ftp.getline().startswith("421 "), "it was the second one's, which had still the old patience"
