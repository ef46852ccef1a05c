"""The one place that waits for sockets and closes them, so that a close wakes whoever waits.

trio's own waits. One task at a time may wait to read a socket, and one to write it; trio refuses a second one. To wait
costs some 10 µs, so one reads or writes until the kernel has no more, and only then waits. A cancel scope for each wait
would cost as much again: an activity has one, whose deadline is moved (TimeLimit).
"""

import contextlib
import errno
import math
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import trio

Socket = socket.socket
NEVER = math.inf

_wait_readable, _wait_writable = trio.lowlevel.wait_readable, trio.lowlevel.wait_writable

now = trio.current_time
"""The time that deadlines are in: seconds of trio's clock."""


async def readable(sock: Socket) -> None:
    """Wait for something to read: bytes, an end, an error. Raises OSError for a closed socket, now or meanwhile."""
    fd = sock.fileno()
    if fd < 0:
        raise _closed()
    try:
        await _wait_readable(fd)
    except trio.ClosedResourceError:
        raise _closed() from None


async def writable(sock: Socket) -> None:
    """The same for room to send, or for a connection to come about."""
    fd = sock.fileno()
    if fd < 0:
        raise _closed()
    try:
        await _wait_writable(fd)
    except trio.ClosedResourceError:
        raise _closed() from None


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def close(sock: Socket) -> None:
    """Close at once, and tell those who wait for it. Nothing for one that is closed."""
    if sock.fileno() >= 0:
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(sock)
        sock.close()


def reset(sock: Socket) -> None:
    """The same so that the far side gets RST: what it has must not pass for whole."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    close(sock)


async def turn() -> None:
    """Let all others that can run do so first."""
    await trio.lowlevel.checkpoint()


class TimeLimit:
    """Until when the waits of one activity may last, all together in one cancel scope. To move `due` is cheap.

    `shield`: nothing else ends the activity, neither a crash beside it nor the end of the gateway.
    """

    __slots__ = ("_armed", "_interrupted", "_scope", "_shield", "due")

    def __init__(self, due: float = NEVER, *, shield: bool = False) -> None:
        self.due = due
        self._scope: trio.CancelScope | None = None
        self._armed = -NEVER  # the scope's deadline
        self._shield = shield
        self._interrupted = False

    def move(self, due: float) -> None:
        """From now on this is the limit. A later one leaves the scope alone: at the old deadline `run` sees it."""
        self.due = due
        if due < self._armed:
            self._arm(due)

    def put_off(self, due: float) -> None:
        """The same at once, for a limit that was near: else it would be seen soon, and for nothing."""
        self.due = due
        if due != self._armed:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._scope is not None:
            self._scope.deadline = self._armed = due

    def interrupt(self) -> None:
        """End the activity where it waits, or is to wait next."""
        self._interrupted = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self, activity: Callable[[], Awaitable[None]]) -> bool:
        """Run this → whether it came to its end; else it was cancelled where it waited, by time or `interrupt`, and may
        be run again."""
        try:
            while not self._interrupted:
                self._armed = self.due
                with trio.CancelScope(deadline=self.due, shield=self._shield) as self._scope:
                    await activity()
                    return True
                if now() >= self.due:
                    break
            self._interrupted = False  # one that came when the activity was over is for the next run
            return False
        finally:
            self._scope, self._armed = None, -NEVER
