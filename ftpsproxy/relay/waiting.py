"""Waiting for a data connection with a limit, looking after the other one now and then."""

from collections.abc import Callable

from ftpsproxy import net, reactor
from ftpsproxy.net import Socket
from ftpsproxy.reactor import now
from ftpsproxy.relay.contract import RelayError

# While one side is waited for, the other is looked at this often: a reset or an alert there ends the wait.
_LOOK_SECONDS = 1.0


Look = Callable[[], object]


async def readable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` has something to read. Raises RelayError after `stall` seconds, and what `look` raises."""
    time = now()
    until = time + stall
    while time < until:
        if await reactor.readable(sock, min(until, time + _LOOK_SECONDS)):
            return
        look()
        time = now()
    raise RelayError(426, why)


async def writable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` takes bytes again. Raises RelayError after `stall` seconds, and what `look` raises.

    The kernel calls a socket writable only when a third of its buffer is free, which takes a slow peer minutes; it has
    not stalled as long as it acknowledges what was sent.
    """
    time = now()
    until = time + stall
    taken = net.acknowledged(sock)
    while time < until:
        if await reactor.writable(sock, min(until, time + _LOOK_SECONDS)):
            return
        look()
        time = now()
        if (more := net.acknowledged(sock)) != taken:
            taken = more
            until = time + stall
    raise RelayError(426, why)
