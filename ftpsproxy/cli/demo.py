"""The gateway at work, on this machine alone: an FTPS server made for the occasion, the gateway in front of it, and a
client that knows only plaintext FTP. A file goes up and comes back; what happened is read from the gateway's own log.

Needs the extra `ftpsproxy[demo]`. Certificates, files and password are made anew each time and deleted at the end.
"""

import contextlib
import datetime
import ftplib
import hashlib
import ipaddress
import json
import logging
import secrets
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from ftpsproxy.config import Listener, Settings, Upstream
from ftpsproxy.observe import log, rows, telling
from ftpsproxy.serve import process

with warnings.catch_warnings():  # what these two use of each other is no news to anyone here
    warnings.simplefilter("ignore")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

HOST = "127.0.0.1"
USER = "demo"
FILE_BYTES = 16 * 1024 * 1024
PATIENCE_SECONDS = 30.0


class DemoError(Exception):
    """The demo did not go as it should; the text is one line."""


def run(*, keep: bool) -> int:
    """Run the demo and return the exit code: 0 when the file came back as it went, over TLS."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False)
    journal = Journal()
    password = secrets.token_urlsafe(9)
    done = False
    try:
        with tempfile.TemporaryDirectory(prefix="ftpsproxy-demo-") as folder, contextlib.ExitStack() as stack:
            base = Path(folder)
            authority, certificate = make_certificates(base)
            files = base / "files"
            files.mkdir()
            server_port = stack.enter_context(ftps_server(certificate, files, password))
            log.configure("json", "info", journal)
            port = stack.enter_context(running_gateway(server_port, authority))
            console.print(f"FTPS server  {HOST}:{server_port}  pyftpdlib, takes nothing without TLS", soft_wrap=True)
            console.print(f"gateway      {HOST}:{port}  plaintext FTP in, verified FTPS out\n", soft_wrap=True)
            sums = send_and_fetch(port, password, files, console)
            verdict = report(console, sums, journal.of_session())
            done = True
            if keep:
                _stay(console, port, password)
        return 0 if verdict else 1
    except KeyboardInterrupt:
        return 0 if done else 130
    except (DemoError, ftplib.Error, OSError, EOFError) as error:
        with contextlib.suppress(OSError):
            for line in journal.lines:
                console.print(line, markup=False, soft_wrap=True)
        print("ftpsproxy: demo:", " ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stay(console: Console, port: int, password: str) -> None:
    """Log to the terminal until told to stop."""
    console.print("\nBoth keep running until Ctrl-C. Try it with your own client:\n")
    console.print(f"  curl --user {USER}:{password} ftp://{HOST}:{port}/", markup=False, soft_wrap=True)
    console.print(f"  lftp -u {USER},{password} ftp://{HOST}:{port}\n", markup=False, soft_wrap=True)
    sys.stdout.flush()
    log.configure("auto", "info")
    threading.Event().wait()


# --- the parts --------------------------------------------------------------------------------------------------------


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate authority and a server certificate for the loopback address, good for thirty days. Gives the PEM
    file of the authority, and that of the server's certificate and key."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _name("ftpsproxy demo authority")

    def begin(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    signing = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = (
        begin(issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        begin(_name("ftpsproxy demo server"), server_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority_file, server_file = folder / "authority.pem", folder / "server.pem"
    authority_file.write_bytes(authority.public_bytes(pem))
    server_file.touch(mode=0o600)
    server_file.write_bytes(key_pem + server.public_bytes(pem))
    return authority_file, server_file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@contextlib.contextmanager
def ftps_server(certificate: Path, files: Path, password: str) -> Iterator[int]:
    """An FTPS server in a thread that takes nothing in clear, neither a login nor a file; gives its port."""
    logger = logging.getLogger("pyftpdlib")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, password, str(files), perm="elradfmwMT")
    attributes = {
        "authorizer": authorizer,
        "certfile": str(certificate),
        "tls_control_required": True,
        "tls_data_required": True,
    }
    server = FTPServer((HOST, 0), type("Handler", (TLS_FTPHandler,), attributes))
    stopping = threading.Event()

    def serve() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while not stopping.is_set():
                server.ioloop.loop(timeout=0.1, blocking=False)
            server.close_all()

    thread = threading.Thread(target=serve, name="ftps-server", daemon=True)
    thread.start()
    try:
        yield server.address[1]
    finally:
        stopping.set()
        thread.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def running_gateway(server_port: int, authority: Path) -> Iterator[int]:
    """The gateway in a thread, in front of the server; gives the port for plaintext clients."""
    upstream = Upstream("demo", HOST, server_port, server_name="localhost", ca_file=authority)
    settings = Settings((Listener("demo", HOST, 0, "demo"),), {"demo": upstream})
    ready = threading.Event()
    stop: list[Callable[[], None]] = []
    outcome: list[int | BaseException] = []

    async def serve() -> None:
        token, event = trio.lowlevel.current_trio_token(), trio.Event()
        stop.append(lambda: token.run_sync_soon(event.set))
        async with trio.open_nursery() as nursery:

            async def start() -> Settings:
                real: Settings = (
                    await nursery.start(
                        lambda task_status: process.serve(settings, stop=event, task_status=task_status)
                    )
                )[1]
                return real

            outcome.append((await start()).listeners[0].port)
            ready.set()

    def main() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            outcome.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=main, name="gateway", daemon=True)
    thread.start()
    try:
        if not ready.wait(PATIENCE_SECONDS) or not outcome or not isinstance(outcome[0], int):
            raise DemoError(f"the gateway did not start: {outcome[0] if outcome else 'no answer'}")
        yield outcome[0]
    finally:
        if stop:
            with contextlib.suppress(trio.RunFinishedError):
                stop[0]()
        thread.join(PATIENCE_SECONDS)


class Journal(StringIO):
    """The gateway's log, kept in memory. Lines arrive from its thread, one write each."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = threading.Condition()

    def write(self, text: str) -> int:
        with self._news:
            self.lines.append(text.rstrip("\n"))
            self._news.notify_all()
        return len(text)

    def of_session(self) -> list[dict[str, Any]]:
        """The events of the session, once it is over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while not any('"event":"session.closed"' in line for line in self.lines):
                if not self._news.wait(deadline - time.monotonic()):
                    raise DemoError("the gateway's log did not tell the end of the session")
            events = [json.loads(line) for line in self.lines]
        return [event for event in events if "session" in event]


def send_and_fetch(port: int, password: str, files: Path, console: Console) -> tuple[str, str, str]:
    """Send a file through the gateway and fetch it again with a plaintext FTP client: the SHA-256 of what was sent, of
    what lies on the server, and of what came back."""
    content = secrets.token_bytes(FILE_BYTES)
    fetched = hashlib.sha256()
    columns = (TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        ftplib.FTP(timeout=PATIENCE_SECONDS) as client,  # noqa: S321 - plaintext is the point of it
        Progress(*columns, console=console) as progress,
    ):
        client.connect(HOST, port)
        client.login(USER, password)
        up = progress.add_task("upload", total=FILE_BYTES)
        client.storbinary("STOR parcel.bin", BytesIO(content), 65536, lambda data: progress.advance(up, len(data)))
        down = progress.add_task("download", total=FILE_BYTES)

        def take(data: bytes) -> None:
            fetched.update(data)
            progress.advance(down, len(data))

        client.retrbinary("RETR parcel.bin", take, 65536)
    stored = hashlib.sha256((files / "parcel.bin").read_bytes())
    return hashlib.sha256(content).hexdigest(), stored.hexdigest(), fetched.hexdigest()


# --- the account ------------------------------------------------------------------------------------------------------


def report(console: Console, sums: tuple[str, str, str], events: list[dict[str, Any]]) -> bool:
    """Say what went over which leg, whether the bytes are the same, and what the log has of it. True if all is well."""
    secured = next((event for event in events if event["event"] == "upstream.secured"), None)
    transfers = [event for event in events if event["event"] == "transfer.finished"]
    legs = Table(
        title="\nWhat went over which leg", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for heading in ("leg", "protection", "cipher", "TLS session"):
        legs.add_column(heading, justify="left", overflow="fold")
    legs.add_row("client, all of it", "plaintext")
    if secured is not None:
        legs.add_row("server, control", secured["tls_version"], secured["cipher"], "new")
    for one in transfers:
        session = "resumed" if one.get("resumed") else "not resumed"
        legs.add_row(f"server, {one['verb']}", one.get("tls_version", "none"), one.get("cipher", ""), session)
    console.print(legs)
    if secured is not None:
        console.print(f"\ncertificate  {secured['subject']}, verified against the demo's authority", markup=False)
        console.print(f"             sha256 {secured['certificate_sha256']}", soft_wrap=True)
    same = len(set(sums)) == 1
    for where, digest in zip(("sent", "on server", "came back"), sums, strict=True):
        console.print(f"{where:<12} sha256 {digest}", soft_wrap=True)
    console.print("\n[bold]The session in the log[/bold]")
    width = console.width if console.is_terminal else None
    for event in events:
        text = rows.shown(telling.row(event), width=width, colour=console.is_terminal and not console.no_color)
        console.print(Text.from_ansi(text), soft_wrap=True)
    protected = secured is not None and all(one.get("tls_version") for one in transfers)
    whole = [one["outcome"] for one in transfers] == ["complete", "complete"]
    if same and protected and whole:
        console.print(
            f"\n[green]All well:[/green] {FILE_BYTES >> 20} MiB each way, the same bytes, TLS all the way up."
        )
        return True
    what = "the bytes differ" if not same else "a transfer was not complete" if not whole else "a leg was not protected"
    print(f"ftpsproxy: demo: {what}", file=sys.stderr)
    return False
