"""Who waits for a place at an upstream that takes so many sessions at a time, and in which order they get one.

The gateway is one address to the server, which may allow an address only a few sessions (421, too many connections).
A client over the limit is kept connected, without a greeting, until a place is free; `limits` bound this crowd, too.
The order is that of arrival, across all workers.
"""

import time
from collections import deque
from collections.abc import Callable

from ftpsproxy import metrics, net
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Flag, now
from ftpsproxy.seats import Places, Refusal

# How often a waiting client is looked at: has it gone?
_LOOK_SECONDS = 1.0
# How often the first in line looks for a place that another process may have given back; nobody there can wake it.
_OTHERS_SECONDS = 0.05


class NoTurn(Exception):
    """There is no place."""

    def __init__(self, limit: str, text: str) -> None:
        super().__init__(text)
        self.refusal = Refusal(limit, text)


class _Waiter:
    __slots__ = ("since", "woken")

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.woken = Flag()


class Turns:
    """The queues of one process, one for each upstream with a limit; nobody waits longer than `seconds`.

    Limits may change: whoever waits is counted by those that hold when it gets its place.
    """

    def __init__(self, places: Places, seconds: float) -> None:
        self._places = places
        self._seconds = seconds
        self._closed = ""
        self._queues: dict[str, deque[_Waiter]] = {}

    def change(self, seconds: float) -> None:
        """The limits of the places have changed, and how long those that come may wait."""
        self._seconds = seconds
        for queue in self._queues.values():
            self._wake_next(queue)

    async def take(self, upstream: str, sock: Socket, queued: Callable[[int], None]) -> float | None:
        """A place for the client on `sock` → seconds it waited, None for an upstream without limit. Raises NoTurn.

        Nobody gets one once `close` was called: whoever begins a session then would never be told to end it.

        `queued` is called once, when there is none at once, with the number of clients before it in this process.
        """
        if self._closed:
            raise NoTurn("shutdown", self._closed)
        if upstream not in self._places.limits:
            self._places.take(upstream, 0.0)
            return None
        queue = self._queues.setdefault(upstream, deque())
        waiter = _Waiter()
        if not queue and self._places.take(upstream, waiter.since):
            return 0.0
        queued(len(queue))
        queue.append(waiter)
        metrics.SESSIONS_WAITING.add(upstream)
        self._tell_others(upstream, queue)
        try:
            seconds = self._seconds
            until = now() + seconds
            while self._closed or not (queue[0] is waiter and self._places.take(upstream, waiter.since)):
                if self._closed:
                    raise NoTurn("shutdown", self._closed)
                if net.is_broken(sock) or (net.has_ended(sock) and not net.unread(sock)):
                    raise NoTurn("left", "the client left while it waited for a place")
                if (time_now := now()) >= until:
                    raise NoTurn("queue", f"no place at the server became free within {seconds:g} seconds")
                alone = queue[0] is not waiter or self._places.workers == 1
                waiter.woken.clear()
                await waiter.woken.wait(min(until, time_now + (_LOOK_SECONDS if alone else _OTHERS_SECONDS)))
            return time.monotonic() - waiter.since
        finally:
            queue.remove(waiter)
            metrics.SESSIONS_WAITING.add(upstream, by=-1)
            self._tell_others(upstream, queue)
            self._wake_next(queue)

    def leave(self, upstream: str) -> None:
        """Give back a place that `take` gave."""
        self._places.leave(upstream)
        if queue := self._queues.get(upstream):
            self._wake_next(queue)

    def close(self, why: str) -> None:
        """Nobody gets a place any more: all who wait are turned away."""
        self._closed = why
        for queue in self._queues.values():
            for waiter in queue:
                waiter.woken.set()

    def _tell_others(self, upstream: str, queue: deque[_Waiter]) -> None:
        self._places.waits(upstream, queue[0].since if queue else None)

    def _wake_next(self, queue: deque[_Waiter]) -> None:
        if queue:
            queue[0].woken.set()
