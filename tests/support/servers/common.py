"""What all servers share: their processes, ports and directories, and what a test is given of one."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import KeyPair

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / ".peers"

USER = "ftpsproxytest"
PASSWORD = "Tr0ub4dor-et-3"
CRYPTED = "$5$ftpsproxytests$kDyQ2BRG9RYNiPn2IMa4KfNbz7q67.NtFF61iUEMk77"  # openssl passwd -5

NOBODY, NOGROUP = 65534, 65534
_PORTS = (15000, 31000)  # below Linux's ephemeral ports, so that no outgoing connection takes one from under us
_START_SECONDS = 30.0
_START_TRIES = 6


class ServerFailed(Exception):
    """A server would not start; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client logs in, and as whom."""

    host: str
    port: int
    user: str = USER
    password: str = PASSWORD


@dataclass(frozen=True, slots=True)
class DataPorts:
    """Where a server's passive data connections are told to go: ports, at an address that somebody before it has.

    With it ProFTPD also keeps ``transfers.log``, what it made of each transfer; the others say so in their log.
    """

    first: int
    last: int
    address: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``home`` is the directory its user sees as ``/``; ``log_file`` what it wrote meanwhile."""

    name: str
    host: str
    port: int
    implicit: bool
    home: Path
    log_file: Path
    pid: int

    @property
    def url(self) -> str:
        """As an upstream of the gateway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ftps' if self.implicit else 'ftpes'}://{host}:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, self.port)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def put(self, name: str, content: bytes) -> Path:
        """UpstreamSlots a file in the home directory, as if the user had uploaded it."""
        path = self.home / name
        path.write_bytes(content)
        owner = self.home.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        return path


def own_arguments(folder: Path, host: str, port: int, certificate: KeyPair | None) -> list[str]:
    """What the programs of `tests.support.programs` are told."""
    argv = ["--host", host, "--port", str(port), "--home", f"{folder}/home", "--user", USER, "--password", PASSWORD]
    return argv + (["--certificate", str(certificate.combined_file)] if certificate else [])


def program(path: str) -> str:
    """A server program below ``.peers``; missing is an error, never a skip."""
    found = PEERS / path
    if not found.exists():
        raise ServerFailed(f"{found} is missing: run tests/peers.sh (or tests/run) as root first")
    return str(found)


# Processes


def free_port(host: str) -> int:
    """A port nobody listens on right now, outside the ephemeral range (the caller still copes with a lost race)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randint(*_PORTS)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port


def descendants(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(parents.get(each, ()))
    return found


def end_process(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a moment's patience, then SIGKILL for it and its children (a session may have a process of its own)."""
    family = descendants(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
    for pid in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait(timeout=10)


def _greeting(host: str, port: int, implicit: bool, seconds: float) -> bytes:
    """The first line a server says, after TLS if implicit."""
    with socket.create_connection((host, port), timeout=seconds) as plain:
        if not implicit:
            return plain.recv(512)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(plain) as secured:
            return secured.recv(512)


def _await_greeting(process: subprocess.Popen[bytes], host: str, port: int, implicit: bool) -> bool:
    """Whether the process answers within the start time; False as soon as it has ended."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if _greeting(host, port, implicit, 5).startswith(b"220") and process.poll() is None:
                return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory an unprivileged server can reach (pytest's own is closed to others), with ``home`` for the user."""
    folder = Path(tempfile.mkdtemp(prefix=f"ftpsproxy-{name}-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOGROUP)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(
    name: str,
    folder: Path,
    host: str,
    implicit: bool,
    command: Callable[[int], list[str]],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Starts ``command(port)`` on a port found free, again on another one if it does not come up.

    ``environment`` is added to this process's own.
    """
    log_file = folder / "server.log"
    said = []
    for _ in range(_START_TRIES):
        port = free_port(host)
        argv = command(port)
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        try:
            if _await_greeting(process, host, port, implicit):
                yield Server(name, host, port, implicit, folder / "home", log_file, process.pid)
                return
        finally:
            end_process(process)
        said.append(f"{argv} on port {port} ended with {process.returncode}:\n{log_file.read_text(errors='replace')}")
    raise ServerFailed(f"{name} did not start\n" + "\n".join(said))
