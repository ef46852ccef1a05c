"""A server that takes only so many sessions from one address: the others wait for their turn (U28)."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import trio

from ftpsproxy.serve.upstream_queue import UpstreamQueue
from ftpsproxy.serve.upstream_slots import UpstreamSlots
from ftpsproxy.session.service import NoPlace
from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, Ended
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway

_USER = b"USER anna\r\n"


@contextlib.contextmanager
def _waiting(stage: Stage, count: int) -> Iterator[list[BadClient]]:
    """So many clients more that have said USER, each in the queue before the next one comes."""
    before = len(stage.events("session.queued"))
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            clients.append(stack.enter_context(stage.client()))
            clients[-1].send(_USER)
            stage.event("session.queued", before + number + 1)
        yield clients


def test_the_next_one_waits_for_a_place(stages: Stages) -> None:
    """For the reply to USER; the server never sees one too many."""
    stage = stages("one_place")
    stage.play(Quirks(max_sessions=1))
    with stage.logged_in() as first, _waiting(stage, 1) as (second,):
        assert second.quiet(0.5)
        assert first.download()[0].data == FILE
        assert first.command("QUIT").code == 221
        assert second.reply().code == 331
        second.login()
        assert second.download()[0].data == FILE
    assert stage.event("session.queued")["ahead"] == 0
    assert stage.event("session.opened", 2)["waited_seconds"] > 0.4
    assert not stage.events("session.refused")
    assert not stage.events("upstream.failed")


def test_the_greeting_waits_where_the_server_is_reached_at_once(stages: Stages) -> None:
    stage = stages("one_place_at_once")
    stage.play(Quirks(max_sessions=1))
    with stage.logged_in() as first, stage.client(greeting=False) as second:
        stage.event("session.queued")
        assert second.quiet(0.5)
        assert first.command("QUIT").code == 221
        assert second.reply().code == 220
        second.login()
        assert second.download()[0].data == FILE
    assert stage.event("session.opened", 2)["waited_seconds"] > 0.4


def test_who_leaves_before_its_greeting_leaves_the_queue(stages: Stages) -> None:
    stage = stages("one_place_at_once")
    with stage.logged_in(), stage.client(greeting=False) as second:
        stage.event("session.queued")
        second.close()
        assert stage.event("session.refused")["limit"] == "left"
    assert len(stage.server.sessions) == 1


def test_who_has_no_place_is_greeted_and_may_leave(stages: Stages) -> None:
    """It holds none, either."""
    stage = stages("one_place")
    with stage.client() as silent, stage.logged_in() as client:
        assert silent.command("NOOP").code == 200
        assert silent.command("QUIT").code == 221
        assert client.download()[0].data == FILE
    assert not stage.events("session.queued")


def test_in_order_of_arrival(stages: Stages) -> None:
    stage = stages("one_place")
    stage.play(Quirks(max_sessions=1))
    with stage.logged_in() as first, _waiting(stage, 4) as clients:
        order: list[BadClient] = []
        current = first
        for _ in range(4):
            assert current.command("QUIT").code == 221
            current.close()
            greeted: list[BadClient] = []
            stage.wait(lambda greeted=greeted: greeted.extend(_greeted(clients, order)) or greeted, "a greeting")  # type: ignore[misc]
            (current,) = greeted
            order.append(current)
        assert order == clients
    assert [event["ahead"] for event in stage.events("session.queued")] == [0, 1, 2, 3]


def _greeted(clients: list[BadClient], before: list[BadClient]) -> list[BadClient]:
    found = []
    for client in clients:
        if client not in before and not client.quiet(0.01):
            assert client.reply().code == 331
            found.append(client)
    return found


def test_whoever_leaves_leaves_the_queue(stages: Stages) -> None:
    """By FIN or by RST; and the session's own end need not be a polite one."""
    stage = stages("one_place")
    stage.play(Quirks(max_sessions=1))
    with stage.logged_in() as first, _waiting(stage, 3) as (second, third, fourth):
        second.close()
        third.reset()
        stage.event("session.refused", 2)
        first.reset()
        assert fourth.reply().code == 331
        fourth.login()
    assert all(event["limit"] == "left" for event in stage.events("session.refused"))
    assert len(stage.server.sessions) == 2


def test_nobody_waits_for_ever(stages: Stages) -> None:
    """timeouts.queue, in plain words."""
    stage = stages("one_place_hasty")
    with stage.logged_in() as first:
        with stage.client() as second:
            assert second.refusal().text.rstrip() == (
                "421 Service not available: no place at the server became free within 1 seconds."
            )
            assert second.rest() == (b"", "fin")
        assert first.command("PWD").code == 257
    assert "no place" in stage.event("session.refused")["detail"]
    assert len(stage.server.sessions) == 1


def test_what_was_sent_meanwhile_is_not_lost(stages: Stages) -> None:
    """A script that pipelines its whole session."""
    stage = stages("one_place")
    with stage.logged_in() as first, _waiting(stage, 1) as (second,):
        second.send(b"PASS x\r\nPWD\r\nQUIT\r\n")
        time.sleep(1.5)  # it is looked at once a second
        first.close()
        assert [second.reply().code for _ in range(4)] == [331, 230, 257, 221]


def test_places_come_back_however_a_session_ends(stages: Stages) -> None:
    stage = stages("two_places")
    stage.play(Quirks(max_sessions=2))
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            clients = [stack.enter_context(stage.logged_in()) for _ in range(2)]
            clients[0].reset()
            clients[1].close()
    stage.play(Quirks(greeting=b"530 not today\r\n"))
    for _ in range(3):
        with stage.client() as client:
            assert client.refusal().code == 530
    stage.play(Quirks())
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE


def test_limits_bound_the_queue(fault_certificates: Certificates) -> None:
    """sessions_per_client counts those who wait; SIGTERM turns them away with words."""
    pair = fault_certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            fault_certificates.ca_file,
            upstream={"sessions": 1},
            limits={"sessions_per_client": 2},
            timeouts={"drain": 5},
        ) as gateway,
        BadClient(gateway.endpoint.port) as first,
        BadClient(gateway.endpoint.port) as second,
    ):
        first.login()
        second.send(_USER)
        gateway.wait_for_event("session.queued")
        with BadClient(gateway.endpoint.port) as third:
            assert "too many sessions from your address" in third.greeting.text
        gateway.signal(signal.SIGTERM)
        assert first.reply().code == 421
        assert second.reply().text.rstrip() == "421 Service not available: gateway is shutting down."


def test_who_waits_at_a_worker_without_sessions_hears_that_it_ends(fault_certificates: Certificates) -> None:
    """One place, two processes: one of them has clients that wait and no session, so nothing else to wait for."""
    pair = fault_certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            fault_certificates.ca_file,
            env={"FTPSPROXY_WORKERS": "2"},
            upstream={"sessions": 1},
        ) as gateway,
        contextlib.ExitStack() as stack,
    ):
        first = stack.enter_context(BadClient(gateway.endpoint.port))
        first.login()
        waiting = [stack.enter_context(BadClient(gateway.endpoint.port)) for _ in range(12)]
        for client in waiting:
            client.send(_USER)
        gateway.wait_for_event("session.queued", count=12)
        gateway.signal(signal.SIGTERM)
        assert first.reply().code == 421
        for client in waiting:
            assert client.reply().text.rstrip() == "421 Service not available: gateway is shutting down."


async def test_no_place_once_closed() -> None:
    """Not even a free one: the session would begin behind the drain's back."""
    turns = UpstreamQueue(UpstreamSlots({"few": 1, "many": 0}), 20)
    assert await turns.take("few", "a", lambda ahead: None) == 0.0
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(NoPlace, match="closing"):
                await turns.take("few", "a", lambda ahead: waits.set())

        waits = trio.Event()
        nursery.start_soon(wait)
        await waits.wait()
        turns.close("closing")
        turns.leave("few", "a")
    for upstream in ("few", "many"):
        with pytest.raises(NoPlace, match="closing"):
            await turns.take(upstream, "a", lambda ahead: None)


def test_workers_share_the_places(fault_certificates: Certificates) -> None:
    """Twelve clients, two processes, two places: never three sessions, and everybody gets one."""
    pair = fault_certificates.server
    with (
        BadServer(pair.certificate_file, pair.key_file, Quirks(max_sessions=2)) as server,
        start_gateway(
            f"ftpes://127.0.0.1:{server.port}",
            fault_certificates.ca_file,
            env={"FTPSPROXY_WORKERS": "2"},
            upstream={"sessions": 2},
        ) as gateway,
    ):
        codes: list[int] = []

        def session() -> None:
            with contextlib.suppress(Ended), BadClient(gateway.endpoint.port) as client:
                codes.append(client.greeting.code)
                client.login()
                codes.append(client.command("QUIT").code)

        threads = [threading.Thread(target=session) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(codes) == [220] * 12 + [221] * 12
        assert gateway.events("session.queued")


def test_the_place_of_a_lost_worker_is_free() -> None:
    places = UpstreamSlots({"a": 1, "b": 0}, 2)
    assert list(places.limits) == ["a"]
    places.serve(1)
    places.waits("a", "x", 5.0)
    places.serve(0)
    assert not places.take("a", "y", 7.0)  # somebody waits longer over there
    assert places.take("a", "y", 4.0)
    assert not places.take("a", "y", 3.0)
    places.leave("a", "y")
    places.clear(1)
    assert places.take("a", "y", 7.0)


def test_turns_go_round_across_workers() -> None:
    """Who has the fewest places is next, then whose last turn is longest ago, and only then who came first."""
    places = UpstreamSlots({"a": 3}, 2)
    places.serve(1)
    assert places.take("a", "many", 1.0)
    places.waits("a", "many", 2.0)
    assert places.wanted("a") == 1
    places.serve(0)
    assert places.take("a", "one", 9.0)
    assert not places.take("a", "one", 9.5)  # as many, and its turn was later
    assert places.take("a", "new", 10.0)
    places.leave("a", "new")
    places.waits("a", "new", 11.0)
    assert (places.wanted("a"), places.has("a", "new"), places.has("a", "one")) == (0, 0, 1)
    places.serve(1)
    assert places.has("a", "many") == 0
    assert not places.take("a", "new", 12.0)  # the same client's, who waits since 11 over there


@pytest.mark.parametrize("workers", [1, 3])
def test_an_upstream_without_limit_has_no_queue(workers: int) -> None:
    assert UpstreamSlots({"a": 0}, workers).limits == {}
