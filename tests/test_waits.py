"""Waiting for sockets: who is told when one is closed, and time limits that move."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ftpsproxy import net
from ftpsproxy.net import TimeLimit


@pytest.mark.parametrize("way", [net.readable, net.writable])
async def test_whoever_waits_for_a_socket_that_is_closed_hears_of_it(way: object) -> None:
    ours, far = socket.socketpair()
    ours.setblocking(False)
    while way is net.writable:
        try:
            ours.send(b"x" * 65536)
        except BlockingIOError:
            break
    told: list[str] = []

    async def wait() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            await way(ours)  # type: ignore[operator] # one of the two
        told.append("closed")

    with far, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            net.close(ours)
        await wait()  # and at once, where it was closed before
    assert told == ["closed"] * 2


async def test_a_second_task_does_not_take_the_firsts_place() -> None:
    ours, far = socket.socketpair()
    ours.setblocking(False)
    with ours, far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(net.readable, ours)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await net.readable(ours)
            far.send(b"x")


class Story:
    """An activity that waits for ever, and how often it was begun."""

    def __init__(self) -> None:
        self.begun: list[float] = []

    async def wait(self) -> None:
        self.begun.append(trio.current_time())
        await trio.sleep_forever()


async def test_a_limit_that_moves_on_is_the_one_that_counts(autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    limit, story = TimeLimit(begin + 10), Story()
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            await trio.sleep(5)
            limit.move(begin + 30)

        nursery.start_soon(move)
        assert not await limit.run(story.wait)
    assert trio.current_time() == begin + 30
    assert story.begun == [begin, begin + 10]  # the old deadline is seen once


async def test_a_limit_that_moves_nearer_is_met_then(autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    limit, story = TimeLimit(), Story()
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            await trio.sleep(5)
            limit.move(begin + 7)

        nursery.start_soon(move)
        assert not await limit.run(story.wait)
    assert trio.current_time() == begin + 7


async def test_an_interrupt_is_not_forgotten() -> None:
    """It may come while the activity does not wait, or has just come to its end."""
    limit, story = TimeLimit(), Story()

    async def ends() -> None:
        limit.interrupt()

    assert await limit.run(ends)
    with trio.fail_after(5):
        assert not await limit.run(story.wait)
    assert story.begun == []
    async with trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await wait_all_tasks_blocked()
            limit.interrupt()

        nursery.start_soon(interrupt)
        with trio.fail_after(5):
            assert not await limit.run(story.wait)
    assert len(story.begun) == 1


async def test_a_cancellation_from_outside_is_no_limit() -> None:
    limit, story = TimeLimit(), Story()
    with trio.move_on_after(0.01) as outside:
        await limit.run(story.wait)
    assert outside.cancelled_caught
