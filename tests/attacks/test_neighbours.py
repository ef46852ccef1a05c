"""The promise: a data connection is the client's own; nobody gets its file or slips another into its place.

The attack: somebody at the client's own address (behind the same NAT, in the same pod, a user of the same host) hammers
the passive ports, so as to be there first. What must be seen: no file of the neighbour's is kept as whole, none of the
client's is handed out as whole to two; what is contested is 425, in the log, and counted.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import Stage
from tests.support.ports import free_range

MINE, THEIRS = b"mine" * 1000, b"theirs" * 1000


@pytest.fixture
def few_ports(fresh_stages: Stages) -> Stage:
    """Four passive ports, as in the README's example."""
    first, last = free_range(4)
    return fresh_stages("ports", facts={"ports": f"{first}-{last}"})


class Neighbour:
    """Connects to each of these ports again and again, and sends a file of its own."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.tried = 0

    def _run(self) -> None:
        while not self._over.is_set():
            for port in self._ports:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
                    self.tried += 1
                    sock.sendall(THEIRS)
            self._over.wait(0.002)

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


@pytest.fixture
def hammered(few_ports: Stage) -> Iterator[Stage]:
    first, last = (int(port) for port in few_ports.facts["ports"].split("-"))
    with Neighbour(range(first, last + 1)) as neighbour:
        yield few_ports
    assert neighbour.tried > 8


def test_uploads_are_nobody_elses(hammered: Stage) -> None:
    with hammered.logged_in() as client:
        for number in range(40):
            with contextlib.suppress(ConnectionError):
                code = client.upload(MINE, f"up{number}")[-1].code
                kept = hammered.server.files.get(b"up%d" % number, b"")
                # The server keeps what it has got of a torn one; the client knows that it is torn.
                assert code >= 400 or kept == MINE, (code, kept[:10])
    assert hammered.event("data.contested")
    assert all(
        event["outcome"] == "torn" or event["bytes"] == len(MINE) for event in hammered.events("transfer.finished")
    )


def test_a_second_connection_in_mid_transfer_tears_it(few_ports: Stage) -> None:
    few_ports.play(few_ports.server.quirks, {b"file": MINE * 2000})
    with few_ports.logged_in(receive_buffer=4096) as client:
        address = client.passive_address("EPSV")
        data = client.dial(address)
        assert client.command("RETR file").code == 150
        assert data.read(100)
        with contextlib.suppress(OSError):
            client.dial(address)
        assert data.read_to_end().ended == "reset"
        assert client.reply().code in (425, 426)  # ours, or the server's word for the reset
        assert client.command("PWD").code == 257
    finished = few_ports.event("transfer.finished")
    assert finished["outcome"] == "torn"
    assert "a second data connection came from 127.0.0.1" in finished["detail"]
    failed = few_ports.event("data.failed")
    assert (failed["cause"], failed["session"]) == ("contested", finished["session"])
