"""What a task awaits."""

import types
from collections.abc import Awaitable, Callable, Generator
from socket import socket as Socket
from typing import Any

from ftpsproxy.reactor.tasks import LEND, NEVER, READABLE, SELF, TURN, WRITABLE, Flag, Task, Wait


@types.coroutine
def readable(sock: Socket, until: float = NEVER) -> Wait:
    """Wait for something to come, an end or an error included → False when `until` has passed first.

    True may be old news: read, and wait again when there was nothing. Read until the kernel has no more before waiting.
    """
    answer: bool = yield READABLE, sock, until
    return answer


@types.coroutine
def writable(sock: Socket, until: float = NEVER) -> Wait:
    """The same for room to send, after a send that found none; or for a connection to come about."""
    answer: bool = yield WRITABLE, sock, until
    return answer


@types.coroutine
def turn() -> Generator[Any, Any, None]:
    """Let all others that can run do so first."""
    yield TURN, None, NEVER


@types.coroutine
def this_task() -> Generator[Any, Any, Task]:
    """The task that asks. Does not wait."""
    task: Task = yield SELF, None, NEVER
    return task


async def pause(until: float) -> None:
    """Wait for nothing but the time."""
    await Flag().wait(until)


async def outside(until: float, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run an async function of trio's in a task of trio's → its result; raises what it raises, TimeoutError at `until`
    (then it goes on, unheard)."""
    done = Flag()
    outcome: list[Any] = []

    async def run() -> None:
        try:
            outcome.append(await function(*arguments))
        except Exception as error:
            outcome.append(error)
        done.set()

    await _lend(run)
    if not await done.wait(until):
        raise TimeoutError
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


@types.coroutine
def _lend(function: Callable[[], Awaitable[None]]) -> Generator[Any, Any, None]:
    yield LEND, function, NEVER
