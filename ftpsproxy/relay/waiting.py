"""Waiting for a data connection with a limit, looking after the other one now and then."""

from collections.abc import Callable

from ftpsproxy import net, reactor
from ftpsproxy.net import Socket
from ftpsproxy.reactor import now
from ftpsproxy.relay.contract import RelayError

# While one side is waited for, the other is looked at this often: a reset or an alert there ends the wait.
LOOK_SECONDS = 1.0
# What comes within a moment at some 30 MB/s, and how much then is worth waking up for.
_GATHER_SECONDS = 0.002
_MUCH = 64 * 1024
_GATHER = 512 * 1024


Look = Callable[[], object]
"""A look at the other side; true when there is something to do for it, which ends a wait for bytes."""


async def readable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` has something to read, or `look` something to do. Raises RelayError after `stall` seconds, and what
    `look` raises."""
    await _readable(sock, now() + stall, why, look, LOOK_SECONDS)


async def _readable(sock: Socket, until: float, why: str, look: Look, every: float) -> None:
    time = now()
    while time < until:
        if await reactor.readable(sock, min(until, time + every)) or look():
            return
        time = now()
    raise RelayError(426, why)


class Source:
    """A socket that is read until it has no more, then waited for.

    One that brings much is let gather. Woken for each little that comes, a relay spends more on waking up than on TLS:
    1.0 s of CPU for a GiB over loopback against 0.5. So the kernel is asked to speak only when half a MiB has come
    (SO_RCVLOWAT), and what has come after 2 ms is read in any case.
    """

    __slots__ = ("_came", "_gathers", "_patient", "_silent_since", "_since", "_sock")

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._came = 0
        self._since = now()
        self._silent_since: float | None = None
        self._gathers = self._patient = False

    def took(self, count: int) -> None:
        """So many bytes have been read."""
        self._came += count
        self._silent_since = None
        self._patient = self._gathers

    async def wait(self, stall: float, why: str, look: Look, *, every: float = LOOK_SECONDS) -> None:
        """As `readable`, after a read that found nothing. Where it is let gather, there may be nothing again.

        `stall` counts from the last byte; `every` so many seconds the other side is looked at.
        """
        time = now()
        if self._patient:
            self._patient = await reactor.readable(self._sock, time + _GATHER_SECONDS)
            return
        if self._gathers:
            self._gathers = False  # nothing at all has come
            net.wake_for(self._sock, 1)
        elif time - self._since >= _GATHER_SECONDS:
            if self._came >= _MUCH:
                self._gathers = self._patient = True
                net.wake_for(self._sock, _GATHER)
                await self.wait(stall, why, look)
                return
            self._came, self._since = 0, time
        if self._silent_since is None:
            self._silent_since = time
        await _readable(self._sock, self._silent_since + stall, why, look, every)


async def writable(sock: Socket, stall: float, why: str, look: Look) -> None:
    """Until `sock` takes bytes again. Raises RelayError after `stall` seconds, and what `look` raises.

    The kernel calls a socket writable only when a third of its buffer is free, which takes a slow peer minutes; it has
    not stalled as long as it acknowledges what was sent.
    """
    time = now()
    until = time + stall
    taken = net.acknowledged(sock)
    while time < until:
        if await reactor.writable(sock, min(until, time + LOOK_SECONDS)):
            return
        look()
        time = now()
        if (more := net.acknowledged(sock)) != taken:
            taken = more
            until = time + stall
    raise RelayError(426, why)
