"""Promise: the log says what happened, and neither who reads it nor what it is about can stop or drown the gateway.

Attack 1: nobody reads standard output. A pipe holds 64 KiB; the next line waited for room, and with it the process.
Attack 2: a client without a login repeats what is refused: PORT to third hosts (10,000 lines a second), AUTH, malformed
EPRT; or it connects again and again where it may not.

To be seen: all others are served meanwhile; what is lost or left out is counted, and said later; a client that names
illegal addresses is sent away as one that sends bad lines.
"""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, start_gateway

PROMPT = 10.0


@pytest.fixture
def server(certificates: Certificates) -> Iterator[BadServer]:
    pair = certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        server.play(Quirks(), {}, certificate=(pair.certificate_file, pair.key_file))
        yield server


def _told(events: list[Event]) -> int:
    """How many events these lines tell of."""
    return sum(1 + int(event.get("suppressed", 0)) for event in events)


def _lost(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PROMPT) as page:
        text: str = page.read().decode()
        for line in text.splitlines():
            if line.startswith("ftpsproxy_log_lines_lost_total "):
                return int(float(line.split()[1]))
    return 0


def _wait_until_said(gateway: Gateway, admin: int) -> None:
    """Each process says how many lines it has lost, once there is room: as many as were counted."""
    deadline = time.monotonic() + 30
    while (said := sum(event["count"] for event in gateway.events("gateway.log_lost"))) != (lost := _lost(admin)):
        assert time.monotonic() < deadline, f"{lost} lines were lost, {said} are said to be"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_reads_the_log(server: BadServer, certificates: Certificates, workers: int) -> None:
    url = f"ftpes://127.0.0.1:{server.port}"
    with (
        start_gateway(
            url,
            certificates.ca_file,
            log={"level": "debug"},
            limits={"commands_per_second": 1_000_000},
            admin={"listen": "127.0.0.1:0"},
            process={"workers": workers},
        ) as gateway,
        contextlib.ExitStack() as stack,
    ):
        admin = gateway.admin_port
        clients = [stack.enter_context(BadClient(gateway.endpoint.port, patience=PROMPT)) for _ in range(4)]
        with gateway.unread():
            for client in clients:
                for _ in range(20):
                    client.send(b"AUTH TLS\r\n" * 400)
                    for _ in range(400):
                        assert client.reply().code == 502
                with BadClient(gateway.endpoint.port, patience=PROMPT) as other:
                    other.login()
            assert _lost(admin) > 0
        gateway.wait_for_event("gateway.log_lost")
        with BadClient(gateway.endpoint.port, patience=PROMPT) as client:
            since = gateway.mark()
            client.login()
            assert gateway.wait_for_event("session.login", since=since)["ok"]
        _wait_until_said(gateway, admin)
        lines = [line for line in gateway.text.splitlines() if line and not line.startswith("ftpsproxy: ")]
        assert all(line.startswith("{") and line.endswith("}") for line in lines)


def test_the_end_comes_though_nobody_reads_the_log(server: BadServer, certificates: Certificates) -> None:
    with (
        start_gateway(f"ftpes://127.0.0.1:{server.port}", certificates.ca_file, log={"level": "debug"}) as gateway,
        gateway.unread(),
        BadClient(gateway.endpoint.port, patience=PROMPT) as client,
    ):
        for _ in range(10):
            client.send(b"AUTH TLS\r\n" * 400)
            for _ in range(400):
                assert client.reply().code == 502
        gateway.signal()
        assert client.reply().code == 421
        gateway._process.wait(timeout=PROMPT)


@pytest.fixture
def gateway(server: BadServer, certificates: Certificates) -> Iterator[Gateway]:
    with start_gateway(f"ftpes://127.0.0.1:{server.port}", certificates.ca_file, log={"level": "info"}) as gateway:
        yield gateway


@pytest.mark.parametrize("command", ["PORT 192,0,2,1,200,1", "PORT 127,0,0,1,0,22", "PORT 1,2,3", "EPRT |1|x|y|"])
def test_illegal_addresses_are_bad_lines(gateway: Gateway, command: str) -> None:
    with BadClient(gateway.endpoint.port) as client:
        client.send(f"{command}\r\n".encode() * 1000)
        for _ in range(9):
            assert client.reply().code in (500, 501)
        assert client.rest()[0].startswith(b"421 ")
    closed = gateway.wait_for_event("session.closed")
    assert closed["cause"] == "bad_lines"
    assert gateway.events("session.limit")[-1]["limit"] == "bad_lines"


def test_what_is_refused_again_and_again_is_summed_up(gateway: Gateway) -> None:
    with BadClient(gateway.endpoint.port) as client:
        for _ in range(10):
            client.send(b"AUTH TLS\r\n" * 300)
            for _ in range(300):
                assert client.reply().code == 502
    closed = gateway.wait_for_event("session.closed")
    events = gateway.events()
    refused = gateway.events("command.refused")
    assert _told(refused) == 3000
    assert len(refused) < 400
    assert events.index(refused[-1]) < events.index(closed)


def test_who_is_turned_away_again_and_again_is_summed_up(server: BadServer, certificates: Certificates) -> None:
    url = f"ftpes://127.0.0.1:{server.port}"
    with start_gateway(url, certificates.ca_file, listener={"clients": ["10.0.0.0/8"]}) as gateway:
        address = ("127.0.0.1", gateway.endpoint.port)
        for _ in range(1500):
            with socket.create_connection(address, timeout=PROMPT) as sock:
                while sock.recv(1000):
                    pass
        gateway.signal()
        gateway.wait()
        refused = gateway.events("session.refused")
        assert _told(refused) == 1500
        assert len(refused) < 500
        assert refused[-1]["limit"] == "clients"
