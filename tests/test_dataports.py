"""Passive ports shared by client address."""

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio

from ftpsproxy import net
from ftpsproxy.dataports import Contested, DataListeners, Expectation, NoPort, TooManyPending
from ftpsproxy.reactor import now
from tests.support.ports import free_range
from tests.support.reacting import Reacting, reacting

LOCAL = "127.0.0.1"


class Listeners(DataListeners):
    """Those of one test, and a way to wait for an expected connection."""

    def __init__(self, reacting: Reacting, most: int) -> None:
        super().__init__(reacting.reactor, most)
        self._reacting = reacting

    async def taken(self, expectation: Expectation, seconds: float = 20) -> socket.socket:
        """The connection."""
        return await self._reacting.call(expectation.wait(now() + seconds))

    async def take(self, expectation: Expectation) -> str:
        """Who has come."""
        with await self.taken(expectation) as sock:
            return net.plain_address(sock.getpeername())


@contextlib.asynccontextmanager
async def data_listeners(most: int = 1000) -> AsyncIterator[Listeners]:
    """For one test."""
    async with reacting(30) as reactor:
        yield Listeners(reactor, most)


def call(port: int, source: str = LOCAL) -> socket.socket:
    """A connection to a port, from another address of loopback."""
    return socket.create_connection((LOCAL, port), timeout=20, source_address=(source, 0))


async def test_four_ports_serve_any_number_of_clients() -> None:
    ports = free_range(4)
    async with data_listeners() as listeners:
        clients = [f"127.0.1.{number}" for number in range(1, 31)]
        expected = [listeners.expect(LOCAL, ports, client) for client in clients for _ in range(4)]
        assert {one.port for one in expected} == set(range(ports[0], ports[1] + 1))
        for one in reversed(expected):
            with call(one.port, one.host):
                assert await listeners.take(one) == one.host


async def test_one_client_has_as_many_transfers_as_there_are_ports() -> None:
    ports = free_range(2)
    async with data_listeners() as listeners:
        first = listeners.expect(LOCAL, ports, LOCAL)
        listeners.expect(LOCAL, ports, LOCAL)
        with pytest.raises(NoPort, match=f"all ports {ports[0]} to {ports[1]} are in use"):
            listeners.expect(LOCAL, ports, LOCAL)
        first.cancel()
        assert listeners.expect(LOCAL, ports, LOCAL).port == first.port


async def test_pending_connections_have_a_limit() -> None:
    async with data_listeners(most=2) as listeners:
        first, _ = (listeners.expect(LOCAL, None, LOCAL) for _ in range(2))
        with pytest.raises(TooManyPending):
            listeners.expect_once(LOCAL, None, LOCAL)
        first.cancel()
        first.cancel()
        listeners.expect(LOCAL, None, LOCAL)
        with pytest.raises(TooManyPending):
            listeners.expect(LOCAL, None, LOCAL)


async def test_who_is_not_expected_is_reset_and_takes_no_place() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, "127.0.1.1")
        with call(expectation.port, "127.0.1.2") as thief, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(thief.recv, 1)
        with call(expectation.port, "127.0.1.1"):
            assert await listeners.take(expectation) == "127.0.1.1"
        with call(expectation.port, "127.0.1.1") as second, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(second.recv, 1)


async def test_a_connection_nobody_takes_is_reset() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, LOCAL)
        with call(expectation.port) as early:
            while expectation.sock is None:
                await trio.lowlevel.checkpoint()
            expectation.cancel()
            with pytest.raises(ConnectionResetError):
                await trio.to_thread.run_sync(early.recv, 1)


@pytest.mark.parametrize("once", [False, True], ids=["shared", "once"])
async def test_a_listener_that_fails_is_replaced(once: bool) -> None:
    """Whoever waits hears of it at once, whoever waits later too; and the port is open for the next."""
    ports = free_range(1)
    async with data_listeners() as listeners:
        expect = listeners.expect_once if once else listeners.expect
        lost = expect(LOCAL, ports, LOCAL)

        async def wait() -> None:
            with trio.fail_after(5), pytest.raises(TimeoutError):
                await listeners.taken(lost)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.05)
            lost._door.listener.shutdown(socket.SHUT_RDWR)  # accept fails from here on
        await wait()
        found = expect(LOCAL, ports, LOCAL)
        lost.cancel()
        with call(found.port):
            assert await listeners.take(found) == LOCAL


async def test_a_port_of_its_own_closes_behind_its_connection() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect_once(LOCAL, None, LOCAL)
        with call(expectation.port):
            await listeners.take(expectation)
        await trio.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            call(expectation.port)


async def test_a_port_of_its_own_is_closed_though_its_task_had_no_turn_yet() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect_once(LOCAL, None, LOCAL)
        expectation.cancel()
        with pytest.raises(ConnectionRefusedError):
            call(expectation.port)


async def _come(expectation: Expectation) -> None:
    """Until its connection is held."""
    while expectation.sock is None:  # noqa: ASYNC110 - `wait` would take it
        await trio.sleep(0.01)


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_a_renewed_expectation_takes_the_next_connection(when: str) -> None:
    """Netscape 4 closes the connection of a refused transfer, before the refusal or behind it, and comes again."""
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, LOCAL)
        first = call(expectation.port)
        await _come(expectation)
        if when == "before":
            first.close()
            await trio.sleep(0.05)
            expectation.renew()
            assert expectation.sock is None
        else:
            expectation.renew()
            first.close()
            await trio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await listeners.taken(expectation, 0.1)
        with call(expectation.port) as second:
            with await listeners.taken(expectation) as sock:
                assert sock.getpeername() == second.getsockname()
            expectation.cancel()


async def test_a_renewed_expectation_keeps_what_is_open_and_silent() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, LOCAL)
        with call(expectation.port) as first:
            await _come(expectation)
            expectation.renew()
            first.sendall(b"for the second command")
            first.shutdown(socket.SHUT_WR)
            await trio.sleep(0.05)
            with await listeners.taken(expectation) as sock:
                assert sock.recv(100) == b"for the second command"
            expectation.cancel()


async def test_a_new_connection_replaces_the_one_left_over() -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, LOCAL)
        with call(expectation.port) as first:
            await _come(expectation)
            expectation.renew()
            with call(expectation.port) as second:
                with pytest.raises(ConnectionResetError):
                    await trio.to_thread.run_sync(first.recv, 1)
                with await listeners.taken(expectation) as sock:
                    assert sock.getpeername() == second.getsockname()
                expectation.cancel()


async def test_a_port_is_one_transfers_until_that_is_over() -> None:
    ports = free_range(1)
    async with data_listeners() as listeners:
        first = listeners.expect(LOCAL, ports, LOCAL)
        with call(first.port):
            assert await listeners.take(first) == LOCAL
            with pytest.raises(NoPort):
                listeners.expect(LOCAL, ports, LOCAL)
        first.cancel()
        assert listeners.expect(LOCAL, ports, LOCAL).port == first.port


@pytest.mark.parametrize("when", ["before it is taken", "behind that"])
async def test_a_second_connection_makes_both_worthless(when: str) -> None:
    async with data_listeners() as listeners:
        expectation = listeners.expect(LOCAL, None, LOCAL)
        told: list[str] = []
        expectation.on_contest(lambda: told.append("contested"))
        with call(expectation.port) as first:
            await _come(expectation)
            if when == "behind that":
                (await listeners.taken(expectation)).close()
            with call(expectation.port) as second:
                with pytest.raises(ConnectionResetError):
                    await trio.to_thread.run_sync(second.recv, 1)
                if when == "before it is taken":
                    with pytest.raises(ConnectionResetError):
                        await trio.to_thread.run_sync(first.recv, 1)
                    with pytest.raises(Contested, match=f"came from {LOCAL}"):
                        await listeners.taken(expectation)
        assert told == ["contested"]
        expectation.cancel()


async def test_the_port_of_the_next_transfer_can_not_be_guessed() -> None:
    ports = free_range(16)
    for which in (ports, None):
        async with data_listeners() as listeners:
            seen = []
            for _ in range(100):
                expectation = listeners.expect(LOCAL, which, LOCAL)
                seen.append(expectation.port)
                expectation.cancel()
            assert len(set(seen)) > 8
            assert max(seen.count(port) for port in set(seen)) < 40


async def test_a_door_of_no_use_is_closed() -> None:
    """Not where somebody is expected, or still moves bytes; and it is opened again when it is needed."""
    ports = free_range(2)
    async with data_listeners() as listeners:
        waiting = listeners.expect(LOCAL, ports, LOCAL)
        unused = listeners.expect(LOCAL, ports, LOCAL)
        with call(unused.port):
            assert await listeners.take(unused) == LOCAL
            listeners.close_unused(0)  # its transfer goes on
        unused.cancel()
        listeners.close_unused(300)
        with call(unused.port) as stranger, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(stranger.recv, 1)
        listeners.close_unused(0)
        with pytest.raises(ConnectionRefusedError):
            call(unused.port)
        with call(waiting.port):
            assert await listeners.take(waiting) == LOCAL
        again = listeners.expect(LOCAL, ports, "127.0.0.2")
        other = listeners.expect(LOCAL, ports, "127.0.0.2")
        assert {again.port, other.port} == {waiting.port, unused.port}
        for one in (again, other):
            with call(one.port, one.host):
                assert await listeners.take(one) == one.host


async def test_ports_of_another_configuration_are_not_held() -> None:
    """Doors of a range that is no more close at once, or when the last that is expected there has come."""
    ports = free_range(2)
    async with data_listeners() as listeners:
        listeners.expect(LOCAL, ports, "127.0.0.2").cancel()
        idle = listeners.expect(LOCAL, ports, "127.0.0.2")
        busy = listeners.expect(LOCAL, ports, "127.0.0.2")
        idle.cancel()
        narrow = (idle.port, idle.port)
        listeners.change(1000, [narrow])
        held = listeners.expect(LOCAL, narrow, "127.0.0.3")
        assert held.port == idle.port
        with call(busy.port, "127.0.0.2"):
            assert await listeners.take(busy) == "127.0.0.2"
        busy.cancel()
        listeners.change(1000, [ports])
        late = listeners.expect(LOCAL, narrow, "127.0.0.4")  # of a session from before
        assert late.port == idle.port
        held.cancel()
        with call(late.port, "127.0.0.4"):
            assert await listeners.take(late) == "127.0.0.4"
        late.cancel()
        with pytest.raises(ConnectionRefusedError):
            call(late.port)
