"""Real FTP servers, each a process of its own on a loopback port, with its own configuration and home directory.

``peers.sh`` unpacks the programs into ``.peers/``. Every server is strict: TLS is required for login and data; vsftpd
and ProFTPD refuse a data connection that does not resume the control connection's TLS session. Each context manager
yields a `Server` that has answered already, and ends the process with all its children.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Certificates, KeyPair

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers"

USER = "ftpsproxytest"
PASSWORD = "Tr0ub4dor-et-3"
_CRYPTED = "$5$ftpsproxytests$kDyQ2BRG9RYNiPn2IMa4KfNbz7q67.NtFF61iUEMk77"  # openssl passwd -5

_NOBODY, _NOGROUP = 65534, 65534
_GUEST = "daemon"  # whom vsftpd turns its guests into: unprivileged, and with a home directory that exists
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
        """Places a file in the home directory, as if the user had uploaded it."""
        path = self.home / name
        path.write_bytes(content)
        owner = self.home.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        return path


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
def _scratch(name: str) -> Iterator[Path]:
    """A directory an unprivileged server can reach (pytest's own is closed to others), with ``home`` for the user."""
    folder = Path(tempfile.mkdtemp(prefix=f"ftpsproxy-{name}-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        os.chown(home, _NOBODY, _NOGROUP)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(
    name: str,
    folder: Path,
    host: str,
    implicit: bool,
    command: Callable[[int], list[str]],
) -> Iterator[Server]:
    """Starts ``command(port)`` on a port found free, again on another one if it does not come up."""
    log_file = folder / "server.log"
    said = []
    for _ in range(_START_TRIES):
        port = free_port(host)
        argv = command(port)
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, start_new_session=True
            )
        try:
            if _await_greeting(process, host, port, implicit):
                yield Server(name, host, port, implicit, folder / "home", log_file, process.pid)
                return
        finally:
            end_process(process)
        said.append(f"{argv} on port {port} ended with {process.returncode}:\n{log_file.read_text(errors='replace')}")
    raise ServerFailed(f"{name} did not start\n" + "\n".join(said))


# vsftpd


def _vsftpd_settings(
    folder: Path, host: str, port: int, certificate: KeyPair, implicit: bool, reuse: bool, data: DataPorts | None
) -> str:
    ipv6 = ":" in host
    settings = {
        "listen": "NO" if ipv6 else "YES",
        "listen_ipv6": "YES" if ipv6 else "NO",
        "listen_address6" if ipv6 else "listen_address": host,
        "listen_port": port,
        "background": "NO",
        "isolate": "NO",
        "isolate_network": "NO",
        "seccomp_sandbox": "NO",
        "secure_chroot_dir": folder / "empty",
        "anonymous_enable": "NO",
        "local_enable": "YES",
        "pam_service_name": "ftpsproxy-tests",
        "guest_enable": "YES",
        "guest_username": _GUEST,
        "nopriv_user": "nobody",
        "virtual_use_local_privs": "YES",
        "local_root": folder / "home",
        "chroot_local_user": "YES",
        "allow_writeable_chroot": "YES",
        "write_enable": "YES",
        "local_umask": "022",
        "connect_from_port_20": "NO",
        "max_clients": 0,
        "max_per_ip": 0,
        "max_login_fails": 50,
        "delay_failed_login": 0,
        "use_localtime": "NO",
        "xferlog_enable": "YES",
        "xferlog_std_format": "NO",
        "log_ftp_protocol": "YES",
        "vsftpd_log_file": folder / "server.log",
        "ssl_enable": "YES",
        "implicit_ssl": "YES" if implicit else "NO",
        "force_local_logins_ssl": "YES",
        "force_local_data_ssl": "YES",
        "require_ssl_reuse": "YES" if reuse else "NO",
        "strict_ssl_read_eof": "YES",
        "ssl_ciphers": "HIGH",
        "rsa_cert_file": certificate.certificate_file,
        "rsa_private_key_file": certificate.key_file,
        "debug_ssl": "YES",
    }
    if data is not None:
        settings |= {"pasv_min_port": data.first, "pasv_max_port": data.last, "pasv_address": data.address}
    return "".join(f"{key}={value}\n" for key, value in settings.items())


@contextlib.contextmanager
def vsftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    implicit: bool = False,
    session_reuse: bool = True,
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """vsftpd with ``require_ssl_reuse`` and ``strict_ssl_read_eof``. It takes any user and password."""
    if not Path("/etc/pam.d/ftpsproxy-tests").exists():
        raise ServerFailed("vsftpd's PAM service is missing: run tests/peers.sh (or tests/run) as root first")
    binary = program("usr/sbin/vsftpd")
    with _scratch("vsftpd") as folder:
        (folder / "empty").mkdir(mode=0o755)
        shutil.chown(folder / "home", _GUEST)

        def command(port: int) -> list[str]:
            config = folder / "vsftpd.conf"
            pair = certificate or certificates.server
            config.write_text(_vsftpd_settings(folder, host, port, pair, implicit, session_reuse, data))
            return [binary, str(config)]

        with _running("vsftpd", folder, host, implicit, command) as server:
            yield server


# ProFTPD


def _proftpd_settings(
    folder: Path,
    host: str,
    port: int,
    certificate: KeyPair,
    protocols: str,
    implicit: bool,
    client_ca: Path | None,
    data: DataPorts | None,
) -> str:
    options = ["UseImplicitSSL"] if implicit else []
    lines = [
        f"ModulePath {PEERS}/usr/lib/proftpd",
        "LoadModule mod_tls.c",
        'ServerName "ProFTPD for tests"',
        "ServerType standalone",
        "DefaultServer on",
        f"DefaultAddress {host}",
        "SocketBindTight on",
        f"UseIPv6 {'on' if ':' in host else 'off'}",
        f"Port {port}",
        "User nobody",
        "Group nogroup",
        "Umask 022",
        "MaxInstances none",
        "UseReverseDNS off",
        "WtmpLog off",
        f"TransferLog {'none' if data is None else folder / 'transfers.log'}",
        "AuthPAM off",
        "AuthOrder mod_auth_file.c",
        f"AuthUserFile {folder}/passwd",
        f"AuthGroupFile {folder}/group",
        "RequireValidShell off",
        "DefaultRoot ~",
        "AllowOverwrite on",
        "AllowStoreRestart on",
        "AllowRetrieveRestart on",
        f"PidFile {folder}/proftpd.pid",
        f"ScoreboardFile {folder}/scoreboard",
        f"SystemLog {folder}/server.log",
        f"DelayTable {folder}/delay",
        "DelayEngine off",
        "TimeoutLinger 10",
        "TLSEngine on",
        f"TLSLog {folder}/server.log",
        "TLSRequired on",
        f"TLSProtocol {protocols}",
        f"TLSRSACertificateFile {certificate.certificate_file}",
        f"TLSRSACertificateKeyFile {certificate.key_file}",
        "TLSVerifyClient off" if client_ca is None else "TLSVerifyClient on",
    ]
    if data is not None:
        lines += [f"PassivePorts {data.first} {data.last}", f"MasqueradeAddress {data.address}"]
    if client_ca is not None:
        lines.append(f"TLSCACertificateFile {client_ca}")
    if options:
        lines.append(f"TLSOptions {' '.join(options)}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def proftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    protocols: str = "TLSv1.3",
    implicit: bool = False,
    client_ca: Path | None = None,
    inetd: bool = False,
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """ProFTPD with mod_tls: ``TLSRequired on``, session reuse required as is its default.

    ``protocols`` is TLSProtocol's value (``TLSv1.2``, ``TLSv1.3`` or both); with ``client_ca`` it demands a certificate
    of that authority from its clients; with ``inetd`` each session is started by `tests.support.inetd`.
    """
    binary = program("usr/sbin/proftpd")
    with _scratch("proftpd") as folder:
        # name:password:uid:gid:gecos:home:shell
        (folder / "passwd").write_text(f"{USER}:{_CRYPTED}:{_NOBODY}:{_NOGROUP}::{folder}/home:/bin/false\n")
        (folder / "group").write_text(f"nogroup:x:{_NOGROUP}:\n")
        for each in ("passwd", "group"):
            (folder / each).chmod(0o600)

        def command(port: int) -> list[str]:
            config = folder / "proftpd.conf"
            pair = certificate or certificates.server
            settings = _proftpd_settings(folder, host, port, pair, protocols, implicit, client_ca, data)
            if inetd:
                config.write_text(settings.replace("ServerType standalone", "ServerType inetd"))
                return [sys.executable, "-m", "tests.support.inetd", host, str(port), binary, "--config", str(config)]
            config.write_text(settings)
            return [binary, "--nodaemon", "--config", str(config)]

        with _running("proftpd", folder, host, implicit, command) as server:
            yield server


# Pure-FTPd


@contextlib.contextmanager
def pureftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """Pure-FTPd with ``-Y 3``: TLS or nothing, on both channels."""
    binary, make_users = program("usr/sbin/pure-ftpd"), program("usr/bin/pure-pw")
    with _scratch("pureftpd") as folder:
        fields = [USER, _CRYPTED, str(_NOBODY), str(_NOGROUP), "", f"{folder}/home/./"] + [""] * 12
        (folder / "passwd").write_text(":".join(fields) + "\n")
        subprocess.run(
            [make_users, "mkdb", f"{folder}/users.pdb", "-f", f"{folder}/passwd"],
            check=True,
            capture_output=True,
            timeout=30,
        )

        def command(port: int) -> list[str]:
            pair = certificate or certificates.server
            ports = (
                ["--passiveportrange", f"{data.first}:{data.last}", "--forcepassiveip", data.address] if data else []
            )
            return [
                binary,
                *ports,
                *("--bind", f"{host},{port}"),
                *("--login", f"puredb:{folder}/users.pdb"),
                *("--tls", "3"),
                *("--certfile", str(pair.combined_file)),
                *("--maxclientsnumber", "1000"),
                *("--maxclientsperip", "1000"),
                *("--minuid", "1"),
                "--chrooteveryone",
                "--noanonymous",
                "--dontresolve",
                *("--umask", "133:022"),
                *("--pidfile", f"{folder}/pure-ftpd.pid"),
                *("--syslogfacility", "none"),
            ]

        with _running("pureftpd", folder, host, False, command) as server:
            yield server


# pyftpdlib


@contextlib.contextmanager
def pyftpdlib(
    certificates: Certificates | None,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """pyftpdlib; TLS required on both channels, or a plaintext server if there are no certificates at all."""
    with _scratch("pyftpdlib") as folder:
        os.chown(folder / "home", 0, 0)
        pair = certificate or (certificates.server if certificates else None)

        def command(port: int) -> list[str]:
            argv = [sys.executable, "-m", "tests.support.pyftpd"]
            argv += ["--host", host, "--port", str(port), "--home", f"{folder}/home"]
            argv += ["--user", USER, "--password", PASSWORD]
            if data is not None:
                argv += ["--passive-ports", f"{data.first}-{data.last}", "--passive-address", data.address]
            return argv + (["--certificate", str(pair.combined_file)] if pair else [])

        with _running("pyftpdlib", folder, host, False, command) as server:
            yield server


def plaintext(*, host: str = "127.0.0.1") -> contextlib.AbstractContextManager[Server]:
    """A server without TLS, to prove the client scripts themselves."""
    return pyftpdlib(None, host=host)
