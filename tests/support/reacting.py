"""A running reactor inside a trio test, and a way to await its tasks from there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import trio

from ftpsproxy.reactor import Reactor

Result = TypeVar("Result")


class Reacting:
    """A reactor that runs. `call` is for tests: a task's result, or what it raised."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor

    async def call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run this in the reactor and wait for its outcome; cancelled with the test's own task."""
        done = trio.Event()
        results: list[Result] = []
        errors: list[BaseException] = []

        async def run() -> None:
            try:
                results.append(await coroutine)
            finally:
                done.set()

        task = self.reactor.start(run(), errors.append)
        try:
            await done.wait()
        finally:
            task.cancel()
        if not results:
            await trio.lowlevel.checkpoint()  # the reactor says what was raised once the task has ended
            raise errors[0]
        return results[0]


@contextlib.asynccontextmanager
async def reacting(seconds: float = 60) -> AsyncIterator[Reacting]:
    """For one test, `seconds` at most."""
    reactor = Reactor()
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            yield Reacting(reactor)
            nursery.cancel_scope.cancel()
