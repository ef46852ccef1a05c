"""Promise: a server that takes few sessions is there for all clients.

Attack: one address takes all places (`upstream.sessions`) and all the queue, and never logs in; or it says one command
that the server never answers; or it logs in and is silent. Whoever came then waited behind the crowd, and heard 421.

To be seen: a client of another address has its turn soon, every time; nobody who does what a client does loses a place:
neither one that is silent with a single place, nor one that works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway

CROWD = "127.0.0.66"


@pytest.fixture
def server(certificates: Certificates) -> Iterator[BadServer]:
    pair = certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        server.play(
            Quirks(replies={"SITE": b""}), {b"file": b"12345"}, certificate=(pair.certificate_file, pair.key_file)
        )
        yield server


@contextlib.contextmanager
def _gateway(
    server: BadServer,
    certificates: Certificates,
    *,
    places: int,
    workers: int = 1,
    queue: float = 20,
    share: int = 0,
    dial: str = "connect",  # where a place is taken before a word is said
) -> Iterator[Gateway]:
    with start_gateway(
        f"ftpes://127.0.0.1:{server.port}",
        certificates.ca_file,
        upstream={"sessions": places, "sessions_per_client": share},
        listener={"dial": dial},
        timeouts={"queue": queue, "others_wait": 2, "login": 60},
        process={"workers": workers},
    ) as gateway:
        yield gateway


@contextlib.contextmanager
def _crowd(gateway: Gateway, says: bytes, *, places: int, size: int = 60) -> Iterator[list[BadClient]]:
    """So many connections of one address; those that have a place say something."""
    with contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(size):
            crowd.append(stack.enter_context(BadClient(gateway.endpoint.port, local=CROWD, greeting=False)))
            crowd[-1].send(says)
        gateway.wait_for_event("session.opened", count=places)
        if size > places:
            gateway.wait_for_event("session.queued", count=size - places)
        yield crowd


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("says", [b"", b"USER anna\r\nPASS", b"SITE x\r\nSITE y\r\n"], ids=["nothing", "half", "stuck"])
def test_who_never_logs_in_starves_nobody(
    server: BadServer, certificates: Certificates, says: bytes, workers: int
) -> None:
    with _gateway(server, certificates, places=2, workers=workers) as gateway, _crowd(gateway, says, places=2):
        for number in range(3):
            with BadClient(gateway.endpoint.port, local=f"127.0.0.{number + 2}") as client:
                assert client.greeting.code == 220
                client.login()
                assert client.download()[0].data == b"12345"
        refused = [event for event in gateway.events("session.refused") if event["client"] != CROWD]
        assert not refused
        limits = gateway.events("session.limit")
        assert {event["limit"] for event in limits} == {"others_wait"}
        assert {event["client"] for event in limits} == {CROWD}
        server.release()


def test_who_is_silent_with_all_places_gives_one_back(server: BadServer, certificates: Certificates) -> None:
    """And no more than one for one."""
    says = b"USER anna\r\nPASS open-sesame\r\n"
    with (
        _gateway(server, certificates, places=4) as gateway,
        _crowd(gateway, says, places=4, size=4),
        BadClient(gateway.endpoint.port) as client,
    ):
        assert client.greeting.code == 220
        client.login()
        (limit,) = gateway.events("session.limit")
        assert (limit["limit"], limit["client"]) == ("others_wait", CROWD)


def test_who_does_what_a_client_does_loses_nothing(server: BadServer, certificates: Certificates) -> None:
    """One is silent, and has one place; one has two, and works: a third one waits in vain."""
    with _gateway(server, certificates, places=3, queue=5) as gateway, contextlib.ExitStack() as stack:
        silent = stack.enter_context(BadClient(gateway.endpoint.port, local="127.0.0.2"))
        silent.login()
        busy = [stack.enter_context(BadClient(gateway.endpoint.port, local="127.0.0.3")) for _ in range(2)]
        for client in busy:
            client.login()
        third = stack.enter_context(BadClient(gateway.endpoint.port, greeting=False))
        gateway.wait_for_event("session.queued")
        while third.quiet(0.3):
            for client in busy:
                assert client.command("NOOP").code == 200
        assert third.reply().code == 421
        assert silent.command("PWD").code == 257
        assert not gateway.events("session.limit")


def test_turns_go_round(server: BadServer, certificates: Certificates) -> None:
    """One place, and a crowd that waits for it: who comes last has the next turn."""
    with _gateway(server, certificates, places=1) as gateway, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(BadClient(gateway.endpoint.port, local=CROWD, greeting=False)) for _ in range(21)]
        crowd[0].reply()
        crowd[0].login()
        gateway.wait_for_event("session.queued", count=20)
        client = stack.enter_context(BadClient(gateway.endpoint.port, greeting=False))
        assert gateway.wait_for_event("session.queued", count=21)["ahead"] == 1
        assert crowd[0].command("QUIT").code == 221
        crowd[0].close()
        assert client.reply().code == 220
        assert all(other.quiet(0.01) for other in crowd[1:])


@pytest.mark.parametrize("workers", [1, 2])
def test_one_client_has_no_more_than_its_share(server: BadServer, certificates: Certificates, workers: int) -> None:
    """Sessions that work can't be taken back: where others must never wait for them, there is a bound."""
    with (
        _gateway(server, certificates, places=3, workers=workers, share=2) as gateway,
        contextlib.ExitStack() as stack,
    ):
        busy = [stack.enter_context(BadClient(gateway.endpoint.port, local=CROWD)) for _ in range(2)]
        for client in busy:
            client.login()
        third = stack.enter_context(BadClient(gateway.endpoint.port, local=CROWD, greeting=False))
        gateway.wait_for_event("session.queued")
        for number in range(2):
            with BadClient(gateway.endpoint.port, local=f"127.0.0.{number + 2}") as other:
                other.login()
                assert other.command("QUIT").code == 221
        assert third.quiet(0.5)
        assert busy[0].command("QUIT").code == 221
        assert third.reply().code == 220
        assert busy[1].command("NOOP").code == 200
