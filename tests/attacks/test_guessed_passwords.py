"""Promise: nobody guesses passwords through the gateway: the server would ban the gateway's address, and so everybody.

Attack 1: connect anew for each guess. Refused logins were counted by session only, so there were as many as one liked.
Attack 2: come from another address of one's IPv6 network each time: a host has 2^64 of them, and each counted singly,
for sessions at a time, too.

To be seen: after a number of refused logins (`limits.refused_logins`) the address, or the /64, hears 421 before the
server hears of it, for a time; whoever is logged in already, and every other address, notices nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from ftpsproxy.clients import one_client
from ftpsproxy.serve.limits import RefusedLogins
from tests.support.bad_client import BadClient, Ended
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway
from tests.support.link_local import with_addresses

TOO_MANY = "421 Service not available: too many refused logins from your address."


@contextlib.contextmanager
def _played(
    certificates: Certificates, *, host: str = "127.0.0.1", workers: int = 1, remembered: float = 600, **limits: int
) -> Iterator[tuple[Gateway, BadServer]]:
    pair = certificates.server
    with BadServer(pair.certificate_file, pair.key_file, host=host) as server:
        server.play(Quirks(), {}, certificate=(pair.certificate_file, pair.key_file))
        shown = f"[{host}]" if ":" in host else host
        with start_gateway(
            f"ftpes://{shown}:{server.port}",
            certificates.ca_file,
            listen=f"{shown}:0",
            limits=limits,
            timeouts={"refused_logins": remembered},
            process={"workers": workers},
        ) as gateway:
            yield gateway, server


def _guess(gateway: Gateway, local: str) -> str:
    """One guess in a session of its own → what the client heard last."""
    with BadClient(gateway.endpoint.port, gateway.endpoint.host, local=local) as client:
        if client.greeting.code != 220:
            return client.greeting.text.rstrip()
        assert client.command("USER anna").code == 331
        reply = client.command("PASS wrong")
        assert reply.code == 530
        with contextlib.suppress(Ended):
            if not client.quiet(0.05):
                reply = client.reply()
        return reply.text.rstrip()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_session_does_not_begin_to_count_anew(certificates: Certificates, workers: int) -> None:
    with (
        _played(certificates, workers=workers, refused_logins=8) as (gateway, server),
        BadClient(gateway.endpoint.port, local="127.0.0.66") as before,
    ):
        before.login()
        heard = [_guess(gateway, "127.0.0.66") for _ in range(20)]
        assert heard[8:] == [TOO_MANY] * 12
        assert sum(session.verbs().count("PASS") for session in server.sessions) == 9
        assert before.command("PWD").code == 257
        with BadClient(gateway.endpoint.port, local="127.0.0.2") as other:
            other.login()
        gateway.wait_for_event("session.refused", count=12)
        assert {event["limit"] for event in gateway.events("session.refused")} == {"refused_logins"}
        assert gateway.wait_for_event("session.limit")["limit"] == "refused_logins"


def test_it_is_forgotten_after_a_time(certificates: Certificates) -> None:
    with _played(certificates, remembered=2, refused_logins=1) as (gateway, _):
        _guess(gateway, "127.0.0.66")
        deadline = time.monotonic() + 20
        while (heard := _guess(gateway, "127.0.0.66")) == TOO_MANY:
            assert time.monotonic() < deadline
        assert "wrong" not in heard


def test_one_hosts_ipv6_addresses_are_one_client(certificates: Certificates) -> None:
    """Its passwords, and its sessions at a time; a link-local address is one host's, though its /64 is everybody's."""
    hosts = [f"fd00:0:0:{network}::{host:x}" for network in (1, 2) for host in range(1, 7)]

    def play() -> None:
        with _played(certificates, host="::1", refused_logins=3, sessions_per_client=2) as (gateway, server):
            heard = [_guess(gateway, host) for host in hosts[:6]]
            assert heard[3:] == [TOO_MANY] * 3
            assert sum(session.verbs().count("PASS") for session in server.sessions) == 3
            with contextlib.ExitStack() as stack:
                codes = [
                    stack.enter_context(BadClient(gateway.endpoint.port, "::1", local=host)).greeting.code
                    for host in hosts[6:]
                ]
                assert codes == [220] * 2 + [421] * 4

    with_addresses(hosts, play)


def test_what_counts_as_one_client() -> None:
    assert one_client("192.0.2.1") == "192.0.2.1"
    assert one_client("2001:db8::1") == one_client("2001:db8::ffff:1") != one_client("2001:db8:0:1::1")
    assert one_client("fe80::1%3") != one_client("fe80::2%3")
    assert one_client("2001:db8::1", 128) != one_client("2001:db8::2", 128)
    assert one_client("2001:db8:0:1::1", 48) == one_client("2001:db8:0:2::1", 48)
    assert one_client("no address") == "no address"


def test_the_memory_of_workers_is_one_and_bounded() -> None:
    time = [1000.0]
    logins = RefusedLogins(2, lambda: time[0])
    for worker in (0, 1, 1):
        logins.serve(worker)
        found = logins.add("u", "a", 60)
    assert found == 3
    assert logins.count("v", "a", 60) == logins.count("u", "b", 60) == 0
    time[0] += 29
    assert logins.count("u", "a", 60) == 3
    assert logins.add("u", "a", 60) == 4
    time[0] += 31
    assert logins.count("u", "a", 60) == 1
    time[0] += 31
    assert logins.count("u", "a", 60) == 0
    assert logins.add("u", "a", 60) == 1
