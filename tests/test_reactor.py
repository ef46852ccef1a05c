"""The reactor: waiting, deadlines, cancelling, and who hears of a mistake."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import statistics
import struct
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

from ftpsproxy.reactor import NEVER, Flag, Reactor, Task, now, outside, pause, readable, this_task, turn, writable
from tests.support.reacting import reacting

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a TCP connection: ours does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), timeout=20)
        ours, _ = listener.accept()
    ours.setblocking(False)
    with ours, far:
        yield ours, far


async def test_what_comes_wakes_the_reader(pair: Pair) -> None:
    ours, far = pair

    async def read() -> bytes:
        while True:
            try:
                return ours.recv(100)
            except BlockingIOError:
                assert await readable(ours, now() + 20)

    async with reacting() as reactor:
        for word in (b"one", b"two"):
            with trio.move_on_after(0.01):
                await reactor.call(read())  # nobody speaks; its wait is given up
            far.sendall(word)
            assert await reactor.call(read()) == word


async def test_news_that_nobody_waited_for_is_kept(pair: Pair) -> None:
    ours, far = pair

    async def late() -> list[bytes]:
        assert not await readable(ours, now() + 0.01)
        far.sendall(b"early")
        await pause(now() + 0.05)
        assert await readable(ours, now() + 20)
        words = [ours.recv(100)]
        assert not await readable(ours, now() + 0.01)
        return words

    async with reacting() as reactor:
        assert await reactor.call(late()) == [b"early"]


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_an_end_that_comes_with_data_is_not_missed(pair: Pair, how: str) -> None:
    ours, far = pair
    if how == "reset":
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def read() -> list[bytes]:
        assert not await readable(ours, now() + 0.01)
        far.sendall(b"data")
        far.close()
        found = []
        for _ in range(2):
            assert await readable(ours, now() + 20)
            try:
                found.append(ours.recv(100))
            except ConnectionResetError:
                found.append(b"")
        return found

    async with reacting() as reactor:
        found = await reactor.call(read())
        assert found[-1] == b""


async def test_a_read_that_stops_before_urgent_data_is_followed_by_another(pair: Pair) -> None:
    ours, far = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    async def read() -> bytes:
        assert not await readable(ours, now() + 0.01)
        far.sendall(b"before")
        far.send(b"!", socket.MSG_OOB)
        far.sendall(b"behind")
        await pause(now() + 0.05)
        found = b""
        while found != b"before!behind":
            assert await readable(ours, now() + 5), found
            with contextlib.suppress(BlockingIOError):
                found += ours.recv(100)
        return found

    async with reacting() as reactor:
        await reactor.call(read())


async def test_room_wakes_the_writer(pair: Pair) -> None:
    ours, far = pair

    async def fill() -> int:
        sent = 0
        while sent < 8_000_000:
            try:
                sent += ours.send(bytes(65536))
            except BlockingIOError:
                assert await writable(ours, now() + 20)
        return sent

    async def drain() -> None:
        got = 0
        while got < 8_000_000:
            got += len(await trio.to_thread.run_sync(far.recv, 1 << 20))

    async with reacting() as reactor, trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        assert await reactor.call(fill()) >= 8_000_000


async def test_what_comes_while_room_is_waited_for_is_found_afterwards(pair: Pair) -> None:
    # epoll is asked for what somebody waits for, and no more.
    ours, far = pair

    async def talk() -> list[bytes]:
        words = []
        for word in (b"one", b"two", b"three"):
            far.sendall(word)
            assert await writable(ours, now() + 20)
            assert await readable(ours, now() + 20)
            words.append(ours.recv(100))
            assert not await readable(ours, now() + 0.01)
        far.close()
        assert await writable(ours, now() + 20)
        assert await readable(ours, now() + 20)
        return [*words, ours.recv(100)]

    async with reacting() as reactor:
        assert await reactor.call(talk()) == [b"one", b"two", b"three", b""]


async def test_a_reader_and_a_writer_wait_for_one_socket(pair: Pair) -> None:
    ours, far = pair
    full, heard = trio.Event(), trio.Event()
    sent = 0

    async def hear() -> None:
        assert await readable(ours, now() + 20)
        assert ours.recv(100) == b"word"
        heard.set()

    async def fill() -> None:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += ours.send(bytes(65536))
        full.set()
        assert await writable(ours, now() + 20)

    def take() -> None:
        left = sent
        while left:
            left -= len(far.recv(min(left, 1 << 20)))

    async with reacting() as reactor, trio.open_nursery() as nursery:
        nursery.start_soon(reactor.call, hear())
        nursery.start_soon(reactor.call, fill())
        await full.wait()
        far.sendall(b"word")
        await heard.wait()
        nursery.start_soon(trio.to_thread.run_sync, take)


async def test_deadlines(autojump_clock: trio.testing.MockClock) -> None:
    async def wait(seconds: float) -> float:
        assert not await Flag().wait(now() + seconds)
        return now()

    async with reacting(10_000) as reactor:
        start = trio.current_time()
        assert await reactor.call(wait(900)) == pytest.approx(start + 900)
        assert await reactor.call(wait(0)) == pytest.approx(start + 900)


@pytest.mark.parametrize(("first", "moved"), [(100, 30), (30, 100), (NEVER, 50)])
async def test_a_deadline_moves(autojump_clock: trio.testing.MockClock, first: float, moved: float) -> None:
    tasks: list[Task] = []

    async def wait() -> float:
        tasks.append(await this_task())
        start = now()
        assert not await Flag().wait(start + first)
        return now() - start

    async def move() -> None:
        tasks[0].deadline(now() + moved)

    async with reacting(10_000) as reactor:
        found: list[float] = []

        async def call() -> None:
            found.append(await reactor.call(wait()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.sleep(1)
            await reactor.call(move())
        assert found == [pytest.approx(moved + 1)]


async def test_old_timers_do_not_gather() -> None:
    async def wait_often() -> None:
        flag = Flag()
        for number in range(20_000):
            flag.clear()
            task = await this_task()
            reactor.reactor.start(_set(flag))
            assert await flag.wait(now() + 1000 - number % 7)
            assert not task.over

    async def _set(flag: Flag) -> None:
        flag.set()

    async with reacting() as reactor:
        await reactor.call(wait_often())
        assert len(reactor.reactor._timers) < 2000


async def test_turns() -> None:
    seen: list[int] = []

    async def take_turns(number: int) -> None:
        for _ in range(3):
            seen.append(number)
            await turn()

    async with reacting() as reactor:
        reactor.reactor.start(take_turns(1))
        reactor.reactor.start(take_turns(2))
        await reactor.call(pause(now() + 0.01))
    assert seen == [1, 2, 1, 2, 1, 2]


async def test_cancelling_runs_what_must_be_run() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await Flag().wait()
        finally:
            ended.append("work")

    async def cancels_itself() -> None:
        (await this_task()).cancel()
        ended.append("still here")
        await Flag().wait()
        ended.append("not here")

    async with reacting() as reactor:
        task = reactor.reactor.start(work())
        unborn = reactor.reactor.start(work())
        unborn.cancel()
        await reactor.call(pause(now() + 0.01))
        task.cancel()
        task.cancel()
        itself = reactor.reactor.start(cancels_itself())
        await reactor.call(pause(now() + 0.01))
        assert task.over
        assert unborn.over
        assert itself.over
        task.cancel()
    assert ended == ["work", "still here"]


async def test_a_mistake_is_its_owners_and_nobody_elses() -> None:
    heard: list[BaseException] = []

    async def fail() -> None:
        await turn()
        raise LookupError("a mistake")

    async with reacting() as reactor:
        reactor.reactor.start(fail(), heard.append)
        await reactor.call(pause(now() + 0.01))
        assert [str(error) for error in heard] == ["a mistake"]


async def test_a_mistake_without_an_owner_ends_the_loop() -> None:
    async def fail() -> None:
        await pause(now() + 0.05)
        raise LookupError("a mistake")

    reactor = Reactor()
    reactor.start(fail())
    with trio.fail_after(20), pytest.raises(ExceptionGroup) as caught:
        await reactor.run()
    assert caught.group_contains(LookupError, match="a mistake")


async def test_the_end_of_the_loop_ends_all_tasks() -> None:
    ended: list[str] = []

    async def reluctant() -> None:
        try:
            await Flag().wait()
        finally:
            try:
                await pause(now() + 1000)
            finally:
                ended.append("in the end")

    async with reacting() as reactor:
        reactor.reactor.start(reluctant())
        await reactor.call(pause(now() + 0.01))
    assert ended == ["in the end"]


async def test_a_socket_that_was_closed_is_an_error_for_who_waits_next(pair: Pair) -> None:
    ours, _ = pair

    async def wait() -> None:
        ours.close()
        await readable(ours)

    async with reacting() as reactor:
        with pytest.raises(OSError, match="file descriptor"):
            await reactor.call(wait())


async def test_a_descriptor_that_is_used_again_is_a_new_socket() -> None:
    async def round_trip() -> None:
        for _ in range(3):
            one, other = socket.socketpair()
            with one, other:
                one.setblocking(False)
                assert not await readable(one, now() + 0.01)
                other.send(b"x")
                assert await readable(one, now() + 20)
                assert one.recv(10) == b"x"

    async with reacting() as reactor:
        await reactor.call(round_trip())


async def test_work_outside() -> None:
    async def add(one: int, other: int) -> int:
        await trio.sleep(0.01)
        return one + other

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("not there")

    async def slow() -> None:
        await trio.sleep_forever()

    async def ask() -> object:
        with pytest.raises(LookupError):
            await outside(NEVER, fail)
        with pytest.raises(TimeoutError):
            await outside(now() + 0.01, slow)
        return await outside(now() + 20, add, 1, 2)

    async with reacting() as reactor:
        assert await reactor.call(ask()) == 3


async def test_others_of_trios_run_beside_work_without_end() -> None:
    async def spin() -> None:
        while True:
            await turn()

    async with reacting() as reactor:
        task = reactor.reactor.start(spin())
        for _ in range(5):
            await trio.sleep(0.001)
        task.cancel()


async def test_idle_costs_nothing() -> None:
    """Waiting tasks, deadlines far away: the loop sleeps."""

    async def wait() -> None:
        await Flag().wait(now() + 1000)

    async with reacting() as reactor:
        for _ in range(500):
            reactor.reactor.start(wait())
        await trio.sleep(0.1)
        before = os.times()
        await trio.sleep(0.5)
        after = os.times()
        assert after.user + after.system - before.user - before.system < 0.1


async def test_limits_of_waits_that_are_over_wake_nobody(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        said = Flag()
        said.set()
        for _ in range(2):
            assert await said.wait(now() + seconds)
            said.clear()
            reactor.reactor.start(say(said))
        assert await said.wait(now() + seconds)
        if seconds > 40:
            assert not await Flag().wait(now() + 200)
            ended.append(now())

    async def say(said: Flag) -> None:
        said.set()

    async with reacting(seconds=1000) as reactor:
        for seconds in range(1, 51):
            reactor.reactor.start(wait(seconds))
        await trio.sleep(0.1)  # of the test's clock, as all here
        looks = reactor.reactor._looks
        await trio.sleep(100)
        assert reactor.reactor._looks == looks
        await trio.sleep(110)
        assert len(ended) == 10


async def _tick(pair: Pair) -> None:
    """Something comes, and is read: the loop has work."""
    ours, far = pair
    far.send(b"x")
    await readable(ours)
    ours.recv(10)


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[tuple[Reactor, trio.Event]]:
    """A reactor that takes nobody else of trio's to have work, and what ends the test."""
    reactor, done = Reactor(), trio.Event()
    reactor.share(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        yield reactor, done
        with trio.fail_after(20):
            await done.wait()
        nursery.cancel_scope.cancel()


async def test_a_limit_ends_a_rest(pair: Pair) -> None:
    # After work the loop rests by itself for a while, but no longer than until somebody's time is up.
    late: list[float] = []

    async def work() -> None:
        for _ in range(30):
            await _tick(pair)
            due = now() + 0.003
            await pause(due)
            late.append(now() - due)
        done.set()

    async with _alone() as (reactor, done):
        reactor.start(work())
    assert statistics.median(late) < 0.02


async def test_work_outside_is_not_kept_waiting(pair: Pair) -> None:
    times: list[float] = []

    async def hop() -> None:
        for _ in range(30):
            await trio.lowlevel.checkpoint()

    async def ask() -> None:
        for _ in range(3):
            start = now()
            await outside(now() + 20, hop)
            times.append(now() - start)
        done.set()

    async def work() -> None:
        while True:
            await _tick(pair)
            await pause(now() + 0.005)

    async with _alone() as (reactor, done):
        reactor.start(ask())
        reactor.start(work())
    assert statistics.median(times) < 0.5, "each turn took as long as the loop likes to rest"


async def test_old_news_is_not_taken_for_that_of_a_new_socket_with_the_same_descriptor() -> None:
    """Two sockets become ready at once; the first one's task closes the other and has a new one in its place."""
    one, far_one = socket.socketpair()
    old, far_old = socket.socketpair()
    found: list[bool] = []

    async def wait(sock: socket.socket) -> None:
        await readable(sock)

    async def replace() -> None:
        await readable(one)
        descriptor = old.fileno()
        old.close()
        new, far_new = socket.socketpair()
        with new, far_new:
            assert descriptor in (new.fileno(), far_new.fileno())
            again = new if new.fileno() == descriptor else far_new
            found.append(await readable(again, now() + 0.1))

    with one, far_one, old, far_old:
        async with reacting() as reactor:
            reactor.reactor.start(replace())
            reactor.reactor.start(wait(old))
            await reactor.call(pause(now() + 0.05))
            far_one.send(b"x")
            far_old.send(b"x")
            await reactor.call(pause(now() + 0.3))
    assert found == [False]


async def test_a_task_that_is_over_keeps_nothing_alive() -> None:
    """Its timer is due in a quarter of an hour; what it worked on is gone at once."""

    class Work:
        async def do(self) -> None:
            await turn()

        def crashed(self, error: BaseException) -> None:
            raise error

    async with reacting() as reactor:
        work = Work()
        task = reactor.reactor.start(work.do(), work.crashed)
        reactor.reactor.arm(task, now() + 900)
        gone = weakref.ref(work)
        del work
        await reactor.call(pause(now() + 0.05))
        assert task.over
        gc.collect()
        assert gone() is None
