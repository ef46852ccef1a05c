"""Listening sockets that are passed by the service manager (LISTEN_FDS): by systemd-socket-activate, and by hand."""

from __future__ import annotations

import contextlib
import ftplib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import systemd
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, configuration, run_gateway
from tests.support.servers import PASSWORD, ROOT, USER, Server, free_port, pyftpdlib
from tests.test_reload import login, works
from tests.test_workers import children

PATIENCE = 30.0
WORKERS = [1, 2]
# Puts descriptors where they belong, says so, and becomes the command behind.
_LAUNCH = """
import os, sys
given, names, *command = sys.argv[1:]
numbers = [os.dup(int(one)) for one in given.split(",")]
high = [os.dup2(one, 200 + index) for index, one in enumerate(numbers)]
for index, one in enumerate(high):
    os.dup2(one, 3 + index)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """An FTPS server for all tests here."""
    with pyftpdlib(certificates) as running:
        yield running


def listening(host: str, port: int = 0, *, v6_alone: bool = False) -> socket.socket:
    """A socket as systemd makes one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_alone)
    sock.bind((host, port))
    sock.listen()
    return sock


def launcher(sockets: Sequence[socket.socket], names: str = "") -> list[str]:
    """The command that passes them."""
    numbers = ",".join(str(sock.fileno()) for sock in sockets)
    return [sys.executable, "-c", _LAUNCH, numbers, names]


@contextlib.contextmanager
def running(config: str, *sockets: socket.socket) -> Iterator[Gateway]:
    """A gateway that is passed these."""
    with run_gateway(config, launcher=launcher(sockets), pass_fds=[sock.fileno() for sock in sockets]) as gateway:
        yield gateway


def started(config: Path, *sockets: socket.socket, names: str = "") -> subprocess.CompletedProcess[str]:
    """One that is to refuse to."""
    command = [*launcher(sockets, names), sys.executable, "-m", "ftpsproxy", "run", "-c", str(config)]
    return subprocess.run(
        command,
        pass_fds=[sock.fileno() for sock in sockets],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def _has(pid: int, sock: socket.socket) -> bool:
    """Whether a process has this very socket open."""
    wanted = f"socket:[{_inode(sock)}]"
    return any(os.readlink(one) == wanted for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink())


@pytest.mark.parametrize("workers", WORKERS)
def test_systemd_socket_activate_starts_it_with_the_first_client(
    server: Server, certificates: Certificates, workers: int
) -> None:
    tool = systemd.tool(systemd.SOCKET_ACTIVATE)
    port, admin = free_port("127.0.0.1"), free_port("127.0.0.1")
    config = configuration(
        server.url,
        certificates.ca_file,
        listen=f"127.0.0.1:{port}",
        process={"workers": workers},
        admin={"listen": f"[::1]:{admin}"},
    )
    greeted = []

    def first() -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(ConnectionRefusedError), ftplib.FTP(timeout=PATIENCE) as ftp:
                ftp.connect("127.0.0.1", port)
                greeted.append(ftp.login(USER, PASSWORD))
                return
            time.sleep(0.02)  # the tool is not there yet

    client = threading.Thread(target=first)
    client.start()
    command = [tool, "-l", f"127.0.0.1:{port}", "-l", f"[::1]:{admin}", "--fdname=ftp:admin"]
    with run_gateway(config, launcher=command) as gateway:
        client.join(PATIENCE)
        assert greeted
        with login(gateway.endpoint) as ftp:
            assert works(ftp)
        with urllib.request.urlopen(f"http://[::1]:{admin}/readyz", timeout=PATIENCE) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("workers", [1, 3])
def test_a_reload_keeps_what_was_passed_and_opens_what_is_new(
    server: Server, certificates: Certificates, workers: int
) -> None:
    """Written otherwise it is the same address."""
    with listening("::1") as passed:
        port = passed.getsockname()[1]
        config = configuration(server.url, certificates.ca_file, listen=f"[::1]:{port}", process={"workers": workers})
        with running(config, passed) as gateway:
            other = free_port("127.0.0.1")
            more = f'[[listener]]\nname = "more"\nlisten = "127.0.0.1:{other}"\nupstream = "server"\n'
            for text in (config, config + more, config.replace("[::1]", "[0:0::1]") + more, config):
                assert gateway.reload(text)["event"] == "gateway.reloaded"
                for endpoint in gateway.endpoints.values():
                    with login(endpoint) as ftp:
                        assert works(ftp)
                for pid in children(gateway.pid) or {gateway.pid}:
                    assert _has(pid, passed)
            elsewhere = config.replace(f"[::1]:{port}", f"127.0.0.1:{free_port('127.0.0.1')}")
            failed = gateway.reload(elsewhere)
            assert failed["event"] == "gateway.reload_failed"
            assert f"[::1]:{port} (unknown)" in failed["detail"]
            with login(gateway.endpoint) as ftp:
                assert works(ftp)


def test_one_socket_may_be_for_ipv4_and_ipv6(server: Server, certificates: Certificates) -> None:
    with listening("::") as passed:
        port = passed.getsockname()[1]
        config = configuration(server.url, certificates.ca_file, listen=f"[::]:{port}")
        with running(config, passed) as gateway:
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, port), timeout=PATIENCE) as client:
                    assert client.recv(4) == b"220 "
            assert _has(gateway.pid, passed)


def test_who_comes_between_two_gateways_waits(server: Server, certificates: Certificates) -> None:
    with listening("127.0.0.1") as passed:
        port = passed.getsockname()[1]
        config = configuration(server.url, certificates.ca_file, listen=f"127.0.0.1:{port}")
        with running(config, passed):
            pass
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client, running(config, passed):
            assert client.recv(4) == b"220 "


def test_a_low_port_takes_no_right_of_ours() -> None:
    """Of the capabilities of root it has none."""
    arguments = ["-m", "ftpsproxy", "run", "--listen", "127.0.0.1:921", "--upstream", "ftpes://localhost"]
    unable = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*unable, sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "ports below 1024 need CAP_NET_BIND_SERVICE" in done.stderr
    with (
        listening("127.0.0.1", 921) as passed,
        subprocess.Popen(
            [*unable, *launcher([passed]), sys.executable, *arguments],
            pass_fds=[passed.fileno()],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            with socket.create_connection(("127.0.0.1", 921), timeout=PATIENCE) as client:
                assert client.recv(4) == b"220 "
        finally:
            process.terminate()


@pytest.mark.parametrize("workers", WORKERS)
def test_a_socket_that_is_nobodys_is_named(tmp_path: Path, workers: int) -> None:
    """Nobody would hear who comes there. It is no use to try again: exit code 2."""
    config = tmp_path / "gateway.toml"
    config.write_text(configuration("ftpes://localhost", None, process={"workers": workers}))
    with listening("127.0.0.1") as one, listening("::", v6_alone=True) as two:
        done = started(config, one, two, names="ftpsproxy.socket:other")
        ports = [sock.getsockname()[1] for sock in (one, two)]
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"ftpsproxy: passed by the service manager, and no listener's: 127.0.0.1:{ports[0]} (ftpsproxy.socket), "
            f"[::]:{ports[1]} for IPv6 alone (other); there are listener tests: 127.0.0.1:0\n"
        )
        config.write_text(configuration("ftpes://localhost", None, listen=f"[::]:{ports[1]}"))
        done = started(config, two, names="two")
        assert done.returncode == 2
        assert f"[::]:{ports[1]} for IPv6 alone (two); there are listener tests: [::]:{ports[1]}" in done.stderr


def test_what_is_no_listening_socket_is_named(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(configuration("ftpes://localhost", None))
    with socket.socket() as deaf, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for sock in (deaf, datagrams):
            done = started(config, sock, names="odd")
            assert done.returncode == 2
            assert "3 (odd): no TCP socket that listens" in done.stderr
    with open(os.devnull) as null:
        done = started(config, null, names="odd")  # type: ignore[arg-type]  # it has a fileno, as all that is asked for
        assert done.returncode == 2
        assert "3 (odd): socket operation on non-socket" in done.stderr.lower()


@pytest.mark.parametrize(
    ("whose", "count", "code"), [("1", "1", 0), ("", "1", 0), ("own", "x", 2), ("own", "3", 2), ("own", "0", 0)]
)
def test_what_is_said_of_them_is_read_with_care(
    server: Server, certificates: Certificates, whose: str, count: str, code: int
) -> None:
    """What is for another process is none of ours; a number that is none is an error."""
    program = (
        "import os, sys; os.environ['LISTEN_PID'] = os.environ['LISTEN_PID'].replace('own', str(os.getpid()));"
        "from ftpsproxy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    environ = {**os.environ, "LISTEN_PID": whose, "LISTEN_FDS": count}
    arguments = ["run", "--listen", "127.0.0.1:0", "--upstream", server.url, "--ca-file", str(certificates.ca_file)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if code == 0:
            assert b"gateway.ready" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        else:
            assert process.wait(PATIENCE) == code
            told = process.stderr.read()
            assert b"LISTEN_FDS=x" in told or b"passed by the service manager: 3 (unknown)" in told
