"""Passive ports shared by client address."""

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio

from ftpsproxy import net
from ftpsproxy.data.passive import NoPort, PassivePorts, TooManyPending
from ftpsproxy.data.pending import Contested, PendingConnection, Unreachable
from tests.support.ports import free_range

LOCAL = "127.0.0.1"


class Ports(PassivePorts):
    """Those of one test, and a way to wait for an expected connection."""

    async def taken(self, pending: PendingConnection, seconds: float = 20) -> socket.socket:
        """The connection."""
        with trio.fail_after(seconds):
            return await pending.wait()

    async def take(self, pending: PendingConnection) -> str:
        """Who has come."""
        with await self.taken(pending) as sock:
            return net.plain_address(sock.getpeername())


@contextlib.asynccontextmanager
async def passive_ports(most: int = 1000) -> AsyncIterator[Ports]:
    """For one test."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield Ports(nursery, most)
            nursery.cancel_scope.cancel()


def call(port: int, source: str = LOCAL) -> socket.socket:
    """A connection to a port, from another address of loopback."""
    return socket.create_connection((LOCAL, port), timeout=20, source_address=(source, 0))


async def test_four_ports_serve_any_number_of_clients() -> None:
    ports = free_range(4)
    async with passive_ports() as passive:
        clients = [f"127.0.1.{number}" for number in range(1, 31)]
        expected = [passive.expect(LOCAL, ports, client) for client in clients for _ in range(4)]
        assert {one.port for one in expected} == set(range(ports[0], ports[1] + 1))
        for one in reversed(expected):
            with call(one.port, one.host):
                assert await passive.take(one) == one.host


async def test_who_has_come_is_there_before_anybody_had_a_turn_to_accept() -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        assert not pending.has_come()
        with call(pending.port, "127.0.1.2") as stranger, call(pending.port):
            assert pending.sock is None
            assert pending.has_come()
            assert await passive.take(pending) == LOCAL
            with pytest.raises(ConnectionResetError):
                stranger.recv(1)


async def test_one_client_has_as_many_transfers_as_there_are_ports() -> None:
    ports = free_range(2)
    async with passive_ports() as passive:
        first = passive.expect(LOCAL, ports, LOCAL)
        passive.expect(LOCAL, ports, LOCAL)
        with pytest.raises(NoPort, match=f"all ports {ports[0]} to {ports[1]} are in use"):
            passive.expect(LOCAL, ports, LOCAL)
        first.cancel()
        assert passive.expect(LOCAL, ports, LOCAL).port == first.port


async def test_pending_connections_have_a_limit() -> None:
    async with passive_ports(most=2) as passive:
        first, _ = (passive.expect(LOCAL, None, LOCAL) for _ in range(2))
        with pytest.raises(TooManyPending):
            passive.expect_once(LOCAL, None, LOCAL)
        first.cancel()
        first.cancel()
        passive.expect(LOCAL, None, LOCAL)
        with pytest.raises(TooManyPending):
            passive.expect(LOCAL, None, LOCAL)


async def test_who_is_not_expected_is_reset_and_takes_no_place() -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, "127.0.1.1")
        with call(pending.port, "127.0.1.2") as thief, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(thief.recv, 1)
        with call(pending.port, "127.0.1.1"):
            assert await passive.take(pending) == "127.0.1.1"
        with call(pending.port, "127.0.1.1") as second, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(second.recv, 1)


async def test_a_connection_nobody_takes_is_reset() -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        with call(pending.port) as early:
            while pending.sock is None:
                await trio.lowlevel.checkpoint()
            pending.cancel()
            with pytest.raises(ConnectionResetError):
                await trio.to_thread.run_sync(early.recv, 1)


@pytest.mark.parametrize("once", [False, True], ids=["shared", "once"])
async def test_a_listener_that_fails_is_replaced(once: bool) -> None:
    """Whoever waits hears of it at once, whoever waits later too; and the port is open for the next."""
    ports = free_range(1)
    async with passive_ports() as passive:
        expect = passive.expect_once if once else passive.expect
        lost = expect(LOCAL, ports, LOCAL)

        async def wait() -> None:
            with trio.fail_after(5), pytest.raises(Unreachable):
                await passive.taken(lost)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.05)
            lost._listener.sock.shutdown(socket.SHUT_RDWR)  # accept fails from here on
        await wait()
        found = expect(LOCAL, ports, LOCAL)
        lost.cancel()
        with call(found.port):
            assert await passive.take(found) == LOCAL


async def test_a_port_of_its_own_closes_behind_its_connection() -> None:
    async with passive_ports() as passive:
        pending = passive.expect_once(LOCAL, None, LOCAL)
        with call(pending.port):
            await passive.take(pending)
        await trio.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            call(pending.port)


async def test_a_port_of_its_own_is_closed_though_its_task_had_no_turn_yet() -> None:
    async with passive_ports() as passive:
        pending = passive.expect_once(LOCAL, None, LOCAL)
        pending.cancel()
        with pytest.raises(ConnectionRefusedError):
            call(pending.port)


async def _come(pending: PendingConnection) -> None:
    """Until its connection is held."""
    while pending.sock is None:  # noqa: ASYNC110 - `wait` would take it
        await trio.sleep(0.01)


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_a_renewed_port_takes_the_next_connection(when: str) -> None:
    """Netscape 4 closes the connection of a refused transfer, before the refusal or behind it, and comes again."""
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        first = call(pending.port)
        await _come(pending)
        if when == "before":
            first.close()
            await trio.sleep(0.05)
            pending.renew()
            assert pending.sock is None
        else:
            pending.renew()
            first.close()
            await trio.sleep(0.05)
        with pytest.raises(trio.TooSlowError):
            await passive.taken(pending, 0.1)
        with call(pending.port) as second:
            with await passive.taken(pending) as sock:
                assert sock.getpeername() == second.getsockname()
            pending.cancel()


async def test_a_renewed_port_keeps_what_is_open_and_silent() -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        with call(pending.port) as first:
            await _come(pending)
            pending.renew()
            first.sendall(b"for the second command")
            first.shutdown(socket.SHUT_WR)
            await trio.sleep(0.05)
            with await passive.taken(pending) as sock:
                assert sock.recv(100) == b"for the second command"
            pending.cancel()


async def test_a_new_connection_replaces_the_one_left_over() -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        with call(pending.port) as first:
            await _come(pending)
            pending.renew()
            with call(pending.port) as second:
                with pytest.raises(ConnectionResetError):
                    await trio.to_thread.run_sync(first.recv, 1)
                with await passive.taken(pending) as sock:
                    assert sock.getpeername() == second.getsockname()
                pending.cancel()


async def test_a_port_is_one_transfers_until_that_is_over() -> None:
    ports = free_range(1)
    async with passive_ports() as passive:
        first = passive.expect(LOCAL, ports, LOCAL)
        with call(first.port):
            assert await passive.take(first) == LOCAL
            with pytest.raises(NoPort):
                passive.expect(LOCAL, ports, LOCAL)
        first.cancel()
        assert passive.expect(LOCAL, ports, LOCAL).port == first.port


@pytest.mark.parametrize("when", ["before it is taken", "behind that"])
async def test_a_second_connection_makes_both_worthless(when: str) -> None:
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        told: list[str] = []
        pending.on_contest(lambda: told.append("contested"))
        with call(pending.port) as first:
            await _come(pending)
            if when == "behind that":
                (await passive.taken(pending)).close()
            with call(pending.port) as second:
                with pytest.raises(ConnectionResetError):
                    await trio.to_thread.run_sync(second.recv, 1)
                if when == "before it is taken":
                    with pytest.raises(ConnectionResetError):
                        await trio.to_thread.run_sync(first.recv, 1)
                    with pytest.raises(Contested, match=f"came from {LOCAL}"):
                        await passive.taken(pending)
        assert told == ["contested"]
        pending.cancel()


async def test_the_port_of_the_next_transfer_can_not_be_guessed() -> None:
    ports = free_range(16)
    for which in (ports, None):
        async with passive_ports() as passive:
            seen = []
            for _ in range(100):
                pending = passive.expect(LOCAL, which, LOCAL)
                seen.append(pending.port)
                pending.cancel()
            assert len(set(seen)) > 8
            assert max(seen.count(port) for port in set(seen)) < 40


async def test_a_listener_of_no_use_is_closed() -> None:
    """Not where somebody is expected, or still moves bytes; and it is opened again when it is needed."""
    ports = free_range(2)
    async with passive_ports() as passive:
        waiting = passive.expect(LOCAL, ports, LOCAL)
        unused = passive.expect(LOCAL, ports, LOCAL)
        with call(unused.port):
            assert await passive.take(unused) == LOCAL
            passive.close_unused(0)  # its transfer goes on
        unused.cancel()
        passive.close_unused(300)
        with call(unused.port) as stranger, pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(stranger.recv, 1)
        passive.close_unused(0)
        with pytest.raises(ConnectionRefusedError):
            call(unused.port)
        with call(waiting.port):
            assert await passive.take(waiting) == LOCAL
        again = passive.expect(LOCAL, ports, "127.0.0.2")
        other = passive.expect(LOCAL, ports, "127.0.0.2")
        assert {again.port, other.port} == {waiting.port, unused.port}
        for one in (again, other):
            with call(one.port, one.host):
                assert await passive.take(one) == one.host


async def test_ports_of_another_configuration_are_not_held() -> None:
    """Listeners of a range that is no more close at once, or when the last that is expected there has come."""
    ports = free_range(2)
    async with passive_ports() as passive:
        passive.expect(LOCAL, ports, "127.0.0.2").cancel()
        idle = passive.expect(LOCAL, ports, "127.0.0.2")
        busy = passive.expect(LOCAL, ports, "127.0.0.2")
        idle.cancel()
        narrow = (idle.port, idle.port)
        passive.change(1000, [narrow])
        held = passive.expect(LOCAL, narrow, "127.0.0.3")
        assert held.port == idle.port
        with call(busy.port, "127.0.0.2"):
            assert await passive.take(busy) == "127.0.0.2"
        busy.cancel()
        passive.change(1000, [ports])
        late = passive.expect(LOCAL, narrow, "127.0.0.4")  # of a session from before
        assert late.port == idle.port
        held.cancel()
        with call(late.port, "127.0.0.4"):
            assert await passive.take(late) == "127.0.0.4"
        late.cancel()
        with pytest.raises(ConnectionRefusedError):
            call(late.port)


async def test_who_comes_again_and_again_to_one_port_keeps_nobody_from_being_heard() -> None:
    """The port is contested from the second connection on; each is accepted, reset, and the others' turn."""
    async with passive_ports() as passive:
        pending = passive.expect(LOCAL, None, LOCAL)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            crowd = [call(pending.port) for _ in range(100)]  # all of them in the backlog before the first is accepted
            nursery.start_soon(others)
            with trio.fail_after(10), pytest.raises(ConnectionResetError):
                await trio.to_thread.run_sync(crowd[-1].recv, 1)
            nursery.cancel_scope.cancel()
        for one in crowd:
            one.close()
        assert turns > 90
        pending.cancel()
