"""Waiting for sockets with a limit, looking after the other side now and then."""

from collections.abc import Callable

import trio

from ftpsproxy.net import Socket
from ftpsproxy.relay.contract import RelayError

# While one side is waited for, the other is looked at this often: a reset or an alert there ends the wait.
_LOOK_SECONDS = 1.0


async def readable(sock: Socket, stall: float, why: str, look: Callable[[], object]) -> None:
    """Until `sock` has something to read. Raises RelayError after `stall` seconds, and what `look` raises."""
    await _wait(trio.lowlevel.wait_readable, sock, stall, why, look)


async def writable(sock: Socket, stall: float, why: str, look: Callable[[], object]) -> None:
    """Until `sock` takes bytes again. Raises RelayError after `stall` seconds, and what `look` raises."""
    await _wait(trio.lowlevel.wait_writable, sock, stall, why, look)


async def _wait(wait: Callable[..., object], sock: Socket, stall: float, why: str, look: Callable[[], object]) -> None:
    until = trio.current_time() + stall
    while True:
        now = trio.current_time()
        if now >= until:
            raise RelayError(426, why)
        with trio.move_on_at(min(until, now + _LOOK_SECONDS)):
            await wait(sock)  # type: ignore[misc] # both are coroutine functions
            return
        look()
