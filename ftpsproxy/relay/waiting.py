"""Waiting for sockets with a limit, looking after the other side now and then."""

from collections.abc import Callable

import trio

from ftpsproxy import net
from ftpsproxy.net import Socket
from ftpsproxy.relay.contract import RelayError

# While one side is waited for, the other is looked at this often: a reset or an alert there ends the wait.
_LOOK_SECONDS = 1.0


Look = Callable[[], object]


async def readable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` has something to read. Raises RelayError after `stall` seconds, and what `look` raises."""
    until = trio.current_time() + stall
    while (now := trio.current_time()) < until:
        with trio.move_on_at(min(until, now + _LOOK_SECONDS)):
            await trio.lowlevel.wait_readable(sock)
            return
        look()
    raise RelayError(426, why)


async def writable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` takes bytes again. Raises RelayError after `stall` seconds, and what `look` raises.

    The kernel calls a socket writable only when a third of its buffer is free, which takes a slow peer minutes; it has
    not stalled as long as it acknowledges what was sent.
    """
    until = trio.current_time() + stall
    taken = net.acknowledged(sock)
    while (now := trio.current_time()) < until:
        with trio.move_on_at(min(until, now + _LOOK_SECONDS)):
            await trio.lowlevel.wait_writable(sock)
            return
        look()
        if (more := net.acknowledged(sock)) != taken:
            taken = more
            until = trio.current_time() + stall
    raise RelayError(426, why)
