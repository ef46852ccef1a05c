"""Promise: whoever is not expected finds no open port.

Attack: look for passive ports. Each that was opened once stayed open for as long as the gateway ran: a burst of
transfers left hundreds, each of them somewhere to knock at.

To be seen: ports that were of no use for some minutes (here: half a second) are closed, and opened again when needed.
"""

from __future__ import annotations

import functools
import socket
import time

import pytest
import trio

from ftpsproxy.config import Listener, Settings, Upstream
from ftpsproxy.serve import gateway, process
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates


def _burst(port: int, count: int) -> list[tuple[str, int]]:
    """The passive ports of so many sessions at a time, used or not."""
    clients = [BadClient(port) for _ in range(count)]
    try:
        addresses = []
        for client in clients:
            client.login()
            addresses.append(client.passive_address())
        for client, address in zip(clients[::2], addresses[::2], strict=False):
            data = client.dial(address)
            assert client.command("RETR file").code == 150
            assert data.read_to_end().data == b"12345"
        return addresses
    finally:
        for client in clients:
            client.close()


def _closed(address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, timeout=20).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"port {address[1]} is open still")


async def test_ports_of_no_use_are_closed(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    monkeypatch.setattr(gateway, "_UNUSED_SECONDS", 0.5)
    pair = certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        server.play(Quirks(), {b"file": b"12345"}, certificate=(pair.certificate_file, pair.key_file))
        settings = Settings(
            (Listener("tests", "127.0.0.1", 0, "server"),),
            {"server": Upstream("server", "127.0.0.1", server.port, ca_file=certificates.ca_file)},
        )
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            _, real = await nursery.start(functools.partial(process.serve, settings, stop=stop))
            for _ in range(2):
                found = await trio.to_thread.run_sync(_burst, real.listeners[0].port, 10)
                assert len(set(found)) > 1
                for address in found:
                    await trio.to_thread.run_sync(_closed, address)
            stop.set()
