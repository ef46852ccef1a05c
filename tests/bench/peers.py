"""Everything that is started for a measurement: upstream servers, the gateways, the bare relay, and their files."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import certificates
from tests.bench.certificates import Certificates
from tests.bench.packages import MODULES, PROFTPD, STUNNEL, VSFTPD
from tests.bench.process import BenchError, Process, free_port, pss_kib, tree, wait_until

USER, PASSWORD = "bench", "bench"
GIB = 1 << 30
STEADY_BYTES = 1 << 27
"""The file fetched again and again beside a latency reading: long, so that it is bytes that run and not handshakes."""
REPOSITORY = Path(__file__).resolve().parents[2]

# Our limits are for hostile networks; here one address sends commands as fast as it can. mod_proxy has no such limits
# by default.
OUR_ENVIRONMENT = {
    "FTPSPROXY_LIMITS__SESSIONS": "20000",
    "FTPSPROXY_LIMITS__SESSIONS_PER_CLIENT": "20000",
    "FTPSPROXY_LIMITS__SESSIONS_PER_SECOND": "1000000",
    "FTPSPROXY_LIMITS__COMMANDS_PER_SECOND": "1000000",
    "FTPSPROXY_TIMEOUTS__IDLE": "7200",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """One ftpsproxy that can be started: its name, its interpreter, and what it is given besides."""

    name: str
    python: tuple[str, ...]
    """The interpreter and its own arguments, such as those for cProfile."""
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    """More arguments for ``ftpsproxy run``."""


HERE = Installation("ours", (sys.executable,), {**OUR_ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)})


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each work moves: the real thing or the quick look."""

    bulk_bytes: int
    big_bytes: int
    small_files: int
    middle_files: int
    large_files: int
    logins: int
    noops: int
    idle_sessions: int
    idle_seconds: float
    bulk_seconds: float
    tree_files: int
    levels: tuple[int, ...]
    churn: int


# ProFTPD waits 0.4 s before the next accept when a session of it has just ended: many logins would only be many waits.
FULL = Sizes(GIB, 20 * GIB, 1000, 500, 100, 50, 5000, 200, 10.0, 15.0, 5000, (1, 100, 1000, 5000), 20000)
QUICK = Sizes(GIB // 16, GIB // 4, 100, 50, 10, 20, 500, 20, 2.0, 2.0, 100, (1, 20, 100), 200)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is up: where clients connect, and its process."""

    name: str
    port: int
    process: Process
    resting_processes: int
    admin_port: int | None = None
    """Where ours answers probes, if it was told to."""

    def wait_at_rest(self) -> None:
        """Wait until the processes of ended sessions have been reaped, so that their CPU time is with the parent."""
        wait_until(
            lambda: len(tree(self.process.pid)) <= self.resting_processes, seconds=30, what=f"{self.name} at rest"
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """The directory of one run of the benchmark: certificates, served files, logs."""

    directory: Path
    data: Path
    tls: Certificates
    sizes: Sizes

    def path(self, name: str) -> Path:
        """A fresh path under the directory."""
        return self.directory / name


@contextlib.contextmanager
def ground(sizes: Sizes) -> Iterator[Ground]:
    """Make the directory, in memory when there is room: a disk would measure itself."""
    memory = Path("/dev/shm")  # sparse files read as zeros and take no room, uploads do
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 3 * sizes.bulk_bytes
    with tempfile.TemporaryDirectory(prefix="ftpsproxy-bench-", dir=memory if roomy else None) as name:
        directory = Path(name)
        directory.chmod(0o755)
        data = directory / "data"
        data.mkdir()
        made = Ground(directory, data, certificates.make(directory), sizes)
        _make_files(made)
        yield made


def _make_files(made: Ground) -> None:
    def sparse(name: str, size: int) -> None:
        with (made.data / name).open("wb") as file:
            file.truncate(size)

    for streams in (1, 4, 16):
        sparse(f"bulk-{streams}", made.sizes.bulk_bytes // streams)
    sparse("steady", STEADY_BYTES)
    sparse("big", made.sizes.big_bytes)
    for name, size in (("1KiB", 1 << 10), ("64KiB", 1 << 16), ("1MiB", 1 << 20)):
        (made.data / name).write_bytes(os.urandom(size))
    (made.data / "up").mkdir()
    for number in range(made.sizes.tree_files):
        folder = made.data / "tree" / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 100:02}.dat").write_bytes(b"0123456789abcdef" * 64)
    (made.data / "up").chmod(0o777)  # each server writes as another user


def _proftpd_common(made: Ground, name: str, port: int, host: str) -> str:
    account = ("nobody", "nogroup") if os.geteuid() == 0 else (str(os.geteuid()), str(os.getegid()))
    return f"""
ServerName "{name}"
ServerType standalone
DefaultAddress {host}
Port {port}
User {account[0]}
Group {account[1]}
ModulePath {MODULES}
LoadModule mod_tls.c
ScoreboardFile {made.path(name + ".scoreboard")}
PidFile {made.path(name + ".pid")}
SystemLog {made.path(name + ".system.log")}
TransferLog {made.path(name + ".transfer.log")}
WtmpLog off
UseReverseDNS off
TimesGMT on
TimeoutIdle 7200
TimeoutNoTransfer 7200
TimeoutLogin 7200
TimeoutStalled 600
RequireValidShell off
AuthPAM off
AllowOverwrite on
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
<IfModule mod_ident.c>
IdentLookups off
</IfModule>
"""


def _start_proftpd(made: Ground, name: str, port: int, extra: str, host: str = "127.0.0.1") -> Process:
    config = made.path(f"{name}.conf")
    config.write_text(_proftpd_common(made, name, port, host) + extra)
    return Process(name, (PROFTPD, "--nodaemon", "--config", config), made.path(f"{name}.log"))


@contextlib.contextmanager
def proftpd(
    made: Ground,
    *,
    name: str = "upstream",
    host: str = "127.0.0.1",
    passive_port: int | None = None,
    any_session: bool = False,
) -> Iterator[int]:
    """The upstream: TLS required on both connections, session reuse required (its default) unless `any_session`. Yields
    the port.

    With ``passive_port`` (see :func:`lone_port`) every data connection comes to that port and need not resume: so
    stunnel, which knows no FTP, can carry the bytes of the very same server.
    """
    hashed = subprocess.run(("openssl", "passwd", "-1", PASSWORD), capture_output=True, text=True, check=True)
    uid, gid = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    users = made.path("passwd")
    users.write_text(f"{USER}:{hashed.stdout.strip()}:{uid}:{gid}::{made.data}:/bin/false\n")
    users.chmod(0o640)
    port = free_port()
    extra = f"""
AuthOrder mod_auth_file.c
AuthUserFile {users}
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSRSACertificateFile {made.tls.certificate}
TLSRSACertificateKeyFile {made.tls.key}
TLSCACertificateFile {made.tls.authority}
TLSVerifyClient off
"""
    if passive_port is not None:
        # ProFTPD wants a range of at least two: lone_port() keeps the other one taken.
        extra += f"PassivePorts {passive_port} {passive_port + 1}\nTLSOptions NoSessionReuseRequired\n"
    elif any_session:  # ftplib resumes none
        extra += "TLSOptions NoSessionReuseRequired\n"
    with _start_proftpd(made, name, port, extra, host) as process:
        process.wait_listening(port, host)
        yield port


@contextlib.contextmanager
def lone_port() -> Iterator[int]:
    """A free port whose successor is held by us meanwhile."""
    for _ in range(100):
        port = free_port()
        with socket.socket() as holder:
            try:
                holder.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            holder.listen(1)
            yield port
            return
    raise BenchError("no two free ports in a row")


@contextlib.contextmanager
def vsftpd(made: Ground) -> Iterator[int]:
    """The other upstream: anonymous only (others need PAM), session reuse required. Yields the port.

    Its user must have a home directory that exists, which nobody's does not.
    """
    port = free_port()
    empty = made.path("empty")
    empty.mkdir(exist_ok=True)
    config = made.path("vsftpd.conf")
    config.write_text(f"""listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
ftp_username=daemon
nopriv_user=nobody
anon_root={made.data}
secure_chroot_dir={empty}
no_anon_password=NO
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_umask=022
connect_from_port_20=NO
idle_session_timeout=7200
data_connection_timeout=600
max_clients=0
max_per_ip=0
seccomp_sandbox=NO
ssl_enable=YES
allow_anon_ssl=YES
force_anon_data_ssl=YES
force_anon_logins_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={made.tls.certificate}
rsa_private_key_file={made.tls.key}
""")
    with Process("vsftpd", (VSFTPD, config), made.path("vsftpd.log")) as process:
        process.wait_listening(port)
        yield port


@contextlib.contextmanager
def light(made: Ground) -> Iterator[int]:
    """An upstream that holds thousands of sessions in one process (tests/bench/light_server.py). Yields the port."""
    port = free_port()
    arguments = (sys.executable, "-m", "tests.bench.light_server", str(port), made.tls.certificate, made.tls.key)
    with Process("light", arguments, made.path("light.log"), {"PYTHONPATH": str(REPOSITORY)}) as process:
        process.wait_listening(port)
        yield port


def _gateway(name: str, port: int, process: Process, admin_port: int | None = None) -> Gateway:
    process.wait_listening(port)
    if admin_port is not None:
        process.wait_listening(admin_port)
    settled = 0
    last = -1
    # Our readiness probe was a session of its own; it must be gone before the first reading.
    while settled < 5:
        wait_until(lambda: len(tree(process.pid)) > 0, seconds=5, what=name)
        now = len(tree(process.pid)), pss_kib(process.pid)
        settled = settled + 1 if now[0] == last else 0
        last = now[0]
        wait_a_tick()
    return Gateway(name, port, process, last, admin_port)


def wait_a_tick() -> None:
    """Long enough for a finished session to be cleaned up and for the kernel to count its last tick."""
    deadline = os.times().elapsed + 0.1
    wait_until(lambda: os.times().elapsed >= deadline, seconds=5, what="the clock")


@contextlib.contextmanager
def ours(
    made: Ground, upstream: int, which: Installation = HERE, *, admin: bool = False, host: str = "localhost"
) -> Iterator[Gateway]:
    """ftpsproxy as it ships, logging JSON to a file; with ``admin`` it also answers probes, which costs memory."""
    port = free_port()
    admin_port = free_port() if admin else None
    arguments = (
        *which.python,
        "-m",
        "ftpsproxy",
        "run",
        "--listen",
        f"127.0.0.1:{port}",
        "--upstream",
        f"ftpes://{host}:{upstream}",
        "--ca-file",
        str(made.tls.authority),
        *which.options,
    )
    environment = dict(which.environment)
    if admin:
        environment["FTPSPROXY_ADMIN__LISTEN"] = f"127.0.0.1:{admin_port}"
    with Process(which.name, arguments, made.path(f"{which.name}-{port}.log"), environment) as process:
        yield _gateway(which.name, port, process, admin_port)


@contextlib.contextmanager
def mod_proxy(made: Ground, upstream: int, *, host: str = "localhost", source: str = "127.0.0.1") -> Iterator[Gateway]:
    """ProFTPD mod_proxy as a reverse proxy, TLS to the server required and verified; it connects from `source`."""
    port = free_port()
    tables = made.path(f"tables-{port}")
    tables.mkdir()
    if os.geteuid() == 0:
        shutil.chown(tables, "nobody", "nogroup")
    extra = f"""
LoadModule mod_proxy.c
ProxyEngine on
ProxyLog {made.path(f"proxy-{port}.log")}
ProxyTables {tables}
ProxyRole reverse
ProxySourceAddress {source}
ProxyReverseServers ftp://{host}:{upstream}
ProxyTLSEngine on
ProxyTLSVerifyServer on
ProxyTLSCACertificateFile {made.tls.authority}
"""
    with _start_proftpd(made, f"mod_proxy-{port}", port, extra) as process:
        yield _gateway("mod_proxy", port, process)


@contextlib.contextmanager
def stunnel(made: Ground, data_port: int) -> Iterator[Gateway]:
    """stunnel in client mode in front of the upstream's one passive port: a relay of bytes and nothing else."""
    port = free_port()
    config = made.path(f"stunnel-{port}.conf")
    config.write_text(f"""foreground = yes
pid =
syslog = no
debug = warning
output = {made.path(f"stunnel-{port}.out")}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
client = yes
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{data_port}
CAfile = {made.tls.authority}
verifyChain = yes
checkHost = localhost
""")
    with Process("stunnel", (STUNNEL, config), made.path(f"stunnel-{port}.log")) as process:
        yield _gateway("stunnel", port, process)


@contextlib.contextmanager
def upstream(made: Ground, kind: str) -> Iterator[int]:
    """Start the upstream called ``kind`` and yield its port."""
    starters = {"proftpd": proftpd, "vsftpd": vsftpd, "light": light}
    if kind not in starters:
        raise BenchError(f"unknown upstream {kind!r}: one of {', '.join(starters)}")
    with starters[kind](made) as port:
        yield port
