"""Promise: a client that says nothing costs the server little.

Attack: connect, and leave without a word, as fast as it goes: each time the gateway connects to the server, and shakes
hands for TLS, before the client has said anything: hundreds a second for one client.

To be seen: beyond a burst the sessions of one address come no faster than `limits.sessions_per_second`; the others
wait, and hear their greeting then; other addresses notice nothing.
"""

from __future__ import annotations

import contextlib
import time

from ftpsproxy.config import Limits
from ftpsproxy.serve.limits import Arrivals
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway

RATE = 10
BURST = 15


def test_sessions_of_one_address_come_no_faster_than_that(certificates: Certificates) -> None:
    pair = certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            certificates.ca_file,
            listener={"dial": "connect"},
            limits={"sessions_per_client": BURST, "sessions_per_second": RATE},
        ) as gateway,
    ):
        port = gateway.endpoint.port
        started = time.monotonic()
        rounds = 0
        while rounds < 3 * BURST or time.monotonic() - started < 3:
            with BadClient(port, local="127.0.0.66", greeting=False):
                rounds += 1
        crowd = len(gateway.events("session.opened"))
        assert BURST <= crowd <= BURST + (time.monotonic() - started + 1) * RATE
        assert rounds > 2 * crowd
        with BadClient(port) as other:
            other.login()


def test_who_says_nothing_costs_the_server_nothing(certificates: Certificates) -> None:
    """Nor does who leaves with a word of good-bye: probes of a load balancer do so every second."""
    pair = certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(f"ftpes://127.0.0.1:{server.port}", certificates.ca_file) as gateway,
    ):
        for number in range(40):
            with BadClient(gateway.endpoint.port, greeting=number % 2 == 0) as probe:
                if number % 4 == 0:
                    assert probe.command("NOOP").code == 200
                    assert probe.command("QUIT").code == 221
        with BadClient(gateway.endpoint.port) as client:
            client.login()
        gateway.wait_for_event("session.closed")
        assert len(server.sessions) == 1
        shown = (event for event in gateway.events() if event["level"] != "debug")
        (session,) = {event["session"] for event in shown if "session" in event}
        assert session == gateway.events("session.login")[0]["session"]


def test_who_comes_too_fast_waits_and_is_served(certificates: Certificates) -> None:
    """A device that has a session for each file, and many files."""
    pair = certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            certificates.ca_file,
            limits={"sessions_per_client": 2, "sessions_per_second": RATE},
        ) as gateway,
    ):
        started = time.monotonic()
        for _ in range(2 + RATE):
            with contextlib.closing(BadClient(gateway.endpoint.port)) as client:
                client.login()
                assert client.command("QUIT").code == 221
                client.rest()
        assert time.monotonic() - started > 0.9
        assert gateway.wait_for_event("session.opened", count=2 + RATE)["waited_seconds"] > 0
        assert not gateway.events("session.refused")


def test_who_leaves_before_its_turn_keeps_nobody_waiting(certificates: Certificates) -> None:
    """A device that says USER, gives up, and comes again: others of its address wait for their own turn only."""
    pair = certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            certificates.ca_file,
            limits={"sessions_per_client": 4, "sessions_per_second": 1},
        ) as gateway,
    ):
        for _ in range(40):
            with contextlib.suppress(OSError), BadClient(gateway.endpoint.port, patience=1) as client:
                client.send(b"USER anna\r\n")
                client.reset()
        started = time.monotonic()
        while True:
            with BadClient(gateway.endpoint.port) as client:
                if client.greeting.good:
                    client.login()
                    break
            assert time.monotonic() - started < 20
        assert time.monotonic() - started < 12  # 40 without mercy


def test_credit_comes_back_and_what_is_remembered_is_bounded() -> None:
    time = [1000.0]
    arrivals = Arrivals(lambda: time[0])
    limits = Limits(sessions_per_client=3, sessions_per_second=2)
    assert [arrivals.wait("a", limits) for _ in range(6)] == [0, 0, 0, 0.5, 1, 1.5]
    assert arrivals.wait("b", limits) == 0
    time[0] += 2
    assert [arrivals.wait("a", limits) for _ in range(2)] == [0, 0.5]
    time[0] += 1000
    assert [arrivals.wait("a", limits) for _ in range(4)] == [0, 0, 0, 0.5]
    for number in range(2 * Arrivals.CLIENTS):
        arrivals.wait(str(number), limits)
    assert len(arrivals._credit) == Arrivals.CLIENTS
