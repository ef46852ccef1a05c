"""The promise: every wait, line, reply, buffer and crowd has a bound, and no peer keeps the others from being served.

The attack: one peer keeps a socket full, with bytes that lead nowhere. What must be seen: other sessions and the probe
are answered all the while, the attacker's session ends by a limit that the log names, and SIGTERM is obeyed.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import Stage
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.records import ALERT, DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED

WATCH = Path(__file__).with_name("watch.py")
# The aim is a quarter of a second; the machine that runs the tests may be busy with others.
_PROMPT_SECONDS = 2.0


class Neighbour:
    """`watch.py`, which asks every moment; `asked` counts its rounds, `slowest` is the longest of its waits [s]."""

    def __init__(self, stage: Stage) -> None:
        admin = stage.gateway.events("gateway.ready")[0]["admin"]
        argv = [sys.executable, str(WATCH), "127.0.0.1", str(stage.port), admin]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.slowest = 0.0
        self.asked = 0
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.slowest = max(self.slowest, *(float(wait) / 1000 for wait in line.split()))
            self.asked += 1

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._thread.join(10)
        with self._process:
            pass

    def was_served(self) -> None:
        """Raises AssertionError if it was not."""
        assert self._process.returncode == -signal.SIGTERM, "it gave up, see its errors"
        assert self.asked > 1
        assert self.slowest < _PROMPT_SECONDS


@pytest.fixture
def watched(stages: Stages) -> Iterator[tuple[Stage, Neighbour]]:
    stage = stages("watched")
    with Neighbour(stage) as neighbour:
        stage.wait(lambda: neighbour.asked > 2, "a neighbour that is served")
        neighbour.slowest = 0.0
        yield stage, neighbour
    neighbour.was_served()


def _flood(sock: socket.socket, data: bytes, seconds: float = 20.0) -> bool:
    """Send this again and again → whether the far side has ended it."""
    sock.settimeout(1.0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            sock.sendall(data)
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize("data", [b"a", b"\xff\xf1", b"\xff\xfb\x01", b"\xff", b"\0", b" "], ids=repr)
def test_a_client_without_a_line(watched: tuple[Stage, Neighbour], data: bytes) -> None:
    stage, _ = watched
    with stage.client() as client:
        assert _flood(client.sock, data * 65536)
    assert stage.event("session.limit")["limit"] in ("line_bytes", "bad_lines")


# The server answers it, one by one: of short ones the kernels hold so many that the session would last for a minute.
NOOP = b"NOOP " + b"x" * 500 + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [b"\r\n", b"\xff\xf1\r\n", b"AUTH TLS\r\n", b"x\ty\r\n", NOOP],
    ids=["empty", "telnet", "refused", "unknown", "NOOP"],
)
def test_a_client_with_too_many_lines(watched: tuple[Stage, Neighbour], data: bytes) -> None:
    """It may go on for as long as it likes; nobody else is to feel it."""
    stage, neighbour = watched
    with stage.client() as client, contextlib.suppress(OSError):
        asked = neighbour.asked
        _flood(client.sock, data * 10_000, 2.0)
        stage.wait(lambda: neighbour.asked > asked + 3, "a neighbour that is served")


@pytest.mark.parametrize(
    "data",
    [b"120-wait\r\n", b"120 wait\r\n", b"hello\r\n", b"\r\n", b"220-", b"220-x\r\n", b"\xff\xf1"],
    ids=repr,
)
def test_a_server_that_is_not_verified(watched: tuple[Stage, Neighbour], data: bytes) -> None:
    stage, _ = watched
    stage.server.quirks = Quirks(greeting=b"", flood={"": data * (65536 // len(data))})
    with BadClient(stage.port) as client:
        assert client.refusal().code == 530
    assert stage.event("upstream.failed")["cause"] in ("protocol_error", "timeout")


@pytest.mark.parametrize("word", [b"a", b"|", b"1 ", b".", b" "], ids=repr)
def test_one_line_that_is_hard_to_read(watched: tuple[Stage, Neighbour], word: bytes) -> None:
    """An address is looked for in it."""
    stage, _ = watched
    line = word * (300_000 // len(word)) + b"\r\n"
    stage.server.quirks = Quirks(replies={"EPSV": b"229 " + line, "PASV": b"227 " + line})
    with stage.logged_in() as client:
        assert client.command("PASV").code == 425
        assert client.command("PWD").code == 257


FLOODS = {
    "unasked replies": b"200 x\r\n" * 5000,
    "replies about to begin": b"150 x\r\n" * 5000,
    "text": b"hello\r\n" * 5000,
    "empty lines": b"\r\n" * 20_000,
    "one line": b"x" * 65536,
    "one reply": b"250-x\r\n" * 5000,
}


@pytest.mark.parametrize("record", [0, 1, 20], ids=["large-records", "records-of-1", "records-of-20"])
@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
def test_a_verified_server(watched: tuple[Stage, Neighbour], data: bytes, record: int) -> None:
    stage, _ = watched
    stage.server.quirks = Quirks(flood={"SITE": data[:2000] if record else data}, flood_record=record)
    with stage.logged_in() as client:
        client.send(b"SITE x\r\n")
        assert client.rest()[1] == "fin"
    closed = stage.event("session.closed")["detail"]
    assert closed


ASIDES = {
    "keys": ((HANDSHAKE, KEY_UPDATE),) * 50,
    "keys asked for": ((HANDSHAKE, KEY_UPDATE_REQUESTED),) * 50,
    "empty records": ((DATA, b""),) * 20,
    "warnings": ((ALERT, bytes([1, 90])),) * 4,
}


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
@pytest.mark.parametrize("asides", ASIDES.values(), ids=ASIDES)
def test_tls_messages_without_end(
    watched: tuple[Stage, Neighbour], verb: str, asides: tuple[tuple[int, bytes], ...]
) -> None:
    stage, _ = watched
    stage.server.quirks = Quirks(asides=asides, asides_at=1000, aside_flood=20.0)
    with stage.logged_in() as client:
        if verb == "RETR":
            assert client.download()[1][-1].code == 426
        else:
            data = client.passive()
            assert client.command("STOR up").code == 150
            with contextlib.suppress(OSError):
                for _ in range(500):
                    data.send(b"x" * 1000)
                    time.sleep(0.01)
            assert client.reply().code == 426
    assert stage.event("transfer.finished")["outcome"] == "torn"


def test_tls_messages_without_end_behind_an_upload(watched: tuple[Stage, Neighbour]) -> None:
    stage, _ = watched
    stage.server.quirks = Quirks(asides=ASIDES["keys"], aside_flood=20.0)
    with stage.logged_in() as client:
        assert client.upload(b"x" * 1000, "up")[-1].code == 426


@pytest.mark.parametrize("data", [b"AUTH TLS\r\n", b"\r\n"], ids=repr)
def test_a_flood_does_not_keep_the_gateway_from_ending(certificates: Certificates, data: bytes) -> None:
    with (
        BadServer(certificates.server.certificate_file, certificates.server.key_file) as server,
        start_gateway(f"ftpes://127.0.0.1:{server.port}", certificates.ca_file, timeouts={"drain": 1}) as gateway,
        BadClient(gateway.endpoint.port) as client,
    ):
        over = threading.Event()

        def flood() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    client.sock.sendall(data * 1000)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            began = time.monotonic()
            gateway.signal(signal.SIGTERM)
            assert gateway.wait(30) == 0
            assert time.monotonic() - began < 1 + 1 + _PROMPT_SECONDS
        finally:
            over.set()
            client.sock.close()
            thread.join(30)
