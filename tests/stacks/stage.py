"""The stage of a test: the server of one stack, and the gateway in front of it, one listener for each TLS version."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.stacks.programs import ready
from tests.stacks.stacks import STACKS, Stack
from tests.support.bad_client import BadClient, Reply
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, run_gateway
from tests.support.servers import ServerFailed, end_process

PATIENCE = 30.0
BIGGEST = 8 << 20
CHUNK = 16384
SIZES = (0, 1, 16384, BIGGEST)
CONTENT = b"".join(b"%07d\n" % line for line in range(BIGGEST // 8))
"""What the servers' files begin with."""

# Shorter than PATIENCE, so that who hangs says what it waits for.
_TIMEOUTS = {"server_stall": 20, "client_stall": 20, "final_reply": 20, "data_connect": 20, "linger": 5}


class StackServer:
    """A running server; `lines` is what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], errors_file: Path) -> None:
        self._process = process
        self._errors_file = errors_file
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="server's lines", daemon=True)
        self._reader.start()
        self.ports: dict[str, int] = {}
        self.name = ""

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for raw in stream:
                with self._news:
                    self._lines.append(raw.decode().rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def text(self) -> str:
        with self._news:
            return "\n".join(self._lines) + "\n" + self._errors_file.read_text(errors="replace")

    def mark(self) -> int:
        with self._news:
            return len(self._lines)

    def lines(self, start: str, *, since: int = 0) -> list[str]:
        """Lines that start so, in order."""
        with self._news:
            return [line for line in self._lines[since:] if line.startswith(start)]

    def wait_for(self, start: str, *, count: int = 1, since: int = 0) -> str:
        """The `count`-th line that starts so, waited for. Raises AssertionError."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                found = [line for line in self._lines[since:] if line.startswith(start)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    break
                self._news.wait(left)
        raise AssertionError(f"{len(found)} of {count} lines {start!r} from {self.name}:\n{self.text}")

    def wait_until_ready(self) -> None:
        try:
            line = self.wait_for("ready ")
        except AssertionError as error:
            raise ServerFailed(str(error)) from None
        _, port_1_2, port_1_3, self.name = line.split(" ", 3)
        self.ports = {"1.2": int(port_1_2), "1.3": int(port_1_3)}

    def join(self) -> None:
        self._reader.join(timeout=10)


@contextlib.contextmanager
def running(stack: Stack, certificates: Certificates) -> Iterator[StackServer]:
    """The stack's server, once it is ready; ended at the end."""
    command = ready(stack.program)
    key_file = certificates.folder / "server.pkcs8"  # the one form of a key that all of them read
    key_file.write_bytes(
        certificates.server.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    errors_file = certificates.folder / f"{stack.name.strip().replace('/', ' ')}.errors"
    with errors_file.open("wb") as errors:
        process = subprocess.Popen(
            [*command, str(certificates.server.certificate_file), str(key_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    server = StackServer(process, errors_file)
    try:
        server.wait_until_ready()
        yield server
    finally:
        end_process(process)
        server.join()


@dataclass(slots=True)
class Stage:
    """One stack and one version of TLS, and what was logged since the test began."""

    stack: Stack
    version: str
    server: StackServer
    gateway: Gateway
    _log: int = 0
    _said: int = 0

    def begin(self) -> None:
        self._log = self.gateway.mark()
        self._said = self.server.mark()

    @property
    def port(self) -> int:
        return self.gateway.endpoints[f"tls-{self.version}"].port

    def logged_in(self, site: str = "", *, receive_buffer: int | None = None) -> BadClient:
        """A client that has logged in, and has had the server play `site`."""
        client = BadClient(self.port, patience=PATIENCE, receive_buffer=receive_buffer)
        try:
            client.login()
            if site:
                self.site(client, site)
        except BaseException:
            client.close()
            raise
        return client

    @staticmethod
    def site(client: BadClient, what: str) -> None:
        reply = client.command(f"SITE {what}")
        assert reply.code == 200, reply

    def said(self, start: str, count: int = 1) -> list[str]:
        """The server's lines in this test that start so, once there are `count` of them."""
        self.wait_for(start, count=count)
        return self.server.lines(start, since=self._said)

    def wait_for(self, start: str, *, count: int = 1) -> str:
        """The server's `count`-th line in this test that starts so."""
        return self.server.wait_for(start, count=count, since=self._said)

    def finished(self, count: int = 1) -> Event:
        """`transfer.finished` of this test's `count`-th transfer."""
        return self.gateway.wait_for_event("transfer.finished", PATIENCE, count=count, since=self._log)

    def end(self) -> None:
        """Every session of the test is closed by now or soon, and none has crashed."""
        opened = len(self.gateway.events("session.opened", since=self._log))
        if opened:
            self.gateway.wait_for_event("session.closed", PATIENCE, count=opened, since=self._log)
        assert not self.gateway.events("session.crashed")
        assert "Traceback" not in self.gateway.text
        assert "ResourceWarning" not in self.gateway.text


class Stages:
    """Servers and gateways by the name of their stack, started on first use and kept until `close`."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._running: dict[str, tuple[StackServer, Gateway]] = {}
        self._failed: dict[str, ServerFailed] = {}
        self._exits = contextlib.ExitStack()

    def __call__(self, name: str, version: str) -> Stage:
        """Raises ServerFailed, at once where it has failed before."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._running:
            try:
                self._running[name] = self._start(STACKS[name])
            except ServerFailed as error:
                self._failed[name] = error
                raise
        server, gateway = self._running[name]
        return Stage(STACKS[name], version, server, gateway)

    def _start(self, stack: Stack) -> tuple[StackServer, Gateway]:
        server = self._exits.enter_context(running(stack, self._certificates))
        config = "".join(
            f'[[listener]]\nname = "tls-{version}"\nlisten = "127.0.0.1:0"\nupstream = "tls-{version}"\n'
            f'[upstream."tls-{version}"]\nurl = "ftpes://127.0.0.1:{server.ports[version]}"\n'
            f'ca_file = "{self._certificates.ca_file}"\ndata_mode = "{"pasv" if version == "1.2" else "epsv"}"\n'
            for version in stack.versions
        )
        config += '[limits]\nsessions_per_client = 1000\n[log]\nformat = "json"\nlevel = "info"\n[timeouts]\n'
        config += "".join(f"{name} = {seconds}\n" for name, seconds in _TIMEOUTS.items())
        environment = {"PYTHONWARNINGS": "always::ResourceWarning"}
        return server, self._exits.enter_context(run_gateway(config, env=environment))

    def close(self) -> None:
        self._exits.close()


def assert_whole_upload(reply: Reply, content: bytes) -> None:
    """The server says that it has stored just that."""
    assert reply.code == 226, reply
    match = re.search(r"bytes=(\d+) sha256=([0-9a-f]{64})", reply.text)
    assert match, reply
    assert int(match[1]) == len(content)
    assert match[2] == hashlib.sha256(content).hexdigest()
