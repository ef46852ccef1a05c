"""Promise: four passive ports serve any number of clients, as one address needs only as many as it has transfers.

Attack: sessions that ask for a port and let it be, before or behind a transfer that the server refuses (behind one the
same port may be used again, which Netscape 4 does). Four of them kept four ports for `timeouts.idle`, 15 minutes, and
whoever else came from their address (NAT, a pod) heard 425. The same with the ports that servers call (`active_ports`).

To be seen: a port is given up once no transfer has come for it in time (`timeouts.data_unused`), and at once with its
client's connection; until then it may be used again behind a refusal; a transfer that comes too late is refused here,
so that no server empties a file for it; and a REST for that one does not fall to the next one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway
from tests.support.ports import free_range

FILE = b"0123456789" * 1000
REFUSING = Quirks(replies={"RETR nothing": b"550 no such thing\r\n"}, closes_port_on_refusal=True)
LIFETIME = 2.0


@pytest.fixture
def server(certificates: Certificates) -> Iterator[BadServer]:
    pair = certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        server.play(REFUSING, {b"file": FILE}, certificate=(pair.certificate_file, pair.key_file))
        yield server


@contextlib.contextmanager
def _gateway(
    server: BadServer, certificates: Certificates, *, lifetime: float = LIFETIME, active: bool = False
) -> Iterator[Gateway]:
    low, high = free_range(4)
    ports = f"{low}-{high}"
    with start_gateway(
        f"ftpes://127.0.0.1:{server.port}",
        certificates.ca_file,
        listener={} if active else {"passive_ports": ports},
        upstream={"data_mode": "eprt", "active_ports": ports} if active else {},
        timeouts={"data_unused": lifetime},
    ) as gateway:
        yield gateway


def _hoard(stack: contextlib.ExitStack, gateway: Gateway, how: str) -> list[BadClient]:
    """Four sessions that have a port each, and do nothing."""
    clients = []
    for _ in range(4):
        client = stack.enter_context(BadClient(gateway.endpoint.port))
        client.login()
        if how == "PORT":
            client.active()
        else:
            address = client.passive_address()
            if how == "refused":
                assert client.command("RETR nothing").code == 550
            if how == "connected":
                client.dial(address)
        clients.append(client)
    return clients


def _wait_for_a_port(client: BadClient) -> None:
    """Ask until there is one; the time the others have is over by then."""
    deadline = time.monotonic() + 20
    while (reply := client.command("EPSV")).code != 229:
        assert reply.code == 425
        assert time.monotonic() < deadline
        assert client.quiet(0.05)
    downloaded, replies = client.download()
    assert (downloaded.data, replies[-1].code) == (FILE, 226)


@pytest.mark.parametrize(
    ("how", "active"),
    [("asked", False), ("refused", False), ("asked", True), ("refused", True), ("connected", True), ("PORT", True)],
)
def test_a_port_that_nothing_comes_for_is_given_up(
    server: BadServer, certificates: Certificates, how: str, active: bool
) -> None:
    with _gateway(server, certificates, active=active) as gateway, contextlib.ExitStack() as stack:
        _hoard(stack, gateway, how)
        fifth = stack.enter_context(BadClient(gateway.endpoint.port))
        fifth.login()
        _wait_for_a_port(fifth)


def test_a_port_ends_with_its_clients_connection(server: BadServer, certificates: Certificates) -> None:
    with _gateway(server, certificates, lifetime=600) as gateway, contextlib.ExitStack() as stack:
        for client in _hoard(stack, gateway, "refused"):
            client.reset()
        fifth = stack.enter_context(BadClient(gateway.endpoint.port))
        fifth.login()
        gateway.wait_for_event("session.closed", count=4)
        downloaded, replies = fifth.download()
        assert (downloaded.data, replies[-1].code) == (FILE, 226)


@pytest.fixture
def late(server: BadServer, certificates: Certificates) -> Iterator[BadClient]:
    """A client whose passive port was given up and is another session's by now."""
    with _gateway(server, certificates, lifetime=1) as gateway, contextlib.ExitStack() as stack:
        client, *_ = _hoard(stack, gateway, "asked")
        fifth = stack.enter_context(BadClient(gateway.endpoint.port))
        fifth.login()
        _wait_for_a_port(fifth)
        yield client


def test_a_transfer_that_comes_too_late_empties_no_file(server: BadServer, late: BadClient) -> None:
    reply = late.command("STOR file")
    assert reply.text.rstrip() == "425 Nobody came to the passive port in time, ask for another one."
    assert server.files[b"file"] == FILE
    assert all("STOR" not in session.verbs() for session in server.sessions)
    assert late.upload(b"new")[-1].code == 226
    assert server.files[b"file"] == b"new"


def test_a_rest_that_came_too_late_is_taken_back(server: BadServer, late: BadClient) -> None:
    assert late.command("REST 100").code == 350
    assert late.command("RETR file").code == 425
    assert [line for session in server.sessions for line in session.commands if line == b"REST 0"] == [b"REST 0"]
    downloaded, replies = late.download()
    assert (downloaded.data, replies[-1].code) == (FILE, 226)


@pytest.mark.parametrize("active", [False, True])
def test_a_client_that_has_come_may_take_its_time(server: BadServer, certificates: Certificates, active: bool) -> None:
    """It holds no port: only the server's end is closed, and asked for anew."""
    with (
        _gateway(server, certificates, lifetime=0.5, active=active) as gateway,
        BadClient(gateway.endpoint.port) as client,
    ):
        client.login()
        data = client.passive()
        assert client.quiet(1.5)
        assert client.command("REST 10").code == 350
        assert client.command("RETR file").code == 150
        assert data.read_to_end().data == FILE[10:]
        assert client.reply().code == 226
