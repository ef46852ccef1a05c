"""Who waits for a slot at an upstream that takes so many sessions at a time, and in which order they get one.

The gateway is one address to the server, which may allow an address only a few sessions (421, too many connections).
The session of a client over the limit waits until a slot is free; `limits` bound this crowd, too. Its own task finds
out when the client leaves.
Turns go round among client addresses, across all workers (`UpstreamSlots`); one address's own keep their order.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

import trio

from ftpsproxy.net import now
from ftpsproxy.observe import metrics
from ftpsproxy.serve.upstream_slots import UpstreamSlots
from ftpsproxy.session.service import NoPlace

# How often the first in line looks for a slot that another process may have given back; nobody there can wake it.
_OTHERS_SECONDS = 0.05


class _Waiter:
    __slots__ = ("client", "since", "woken")

    def __init__(self, client: str) -> None:
        self.client = client
        self.since = time.monotonic()
        self.woken = trio.Event()


class _Queue:
    """Who waits for one upstream in this process: the clients, and each one's own line. `next` is whose turn it is."""

    __slots__ = ("_lines", "next")

    def __init__(self) -> None:
        self._lines: dict[str, deque[_Waiter]] = {}
        self.next: _Waiter | None = None

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[_Waiter]:
        for line in self._lines.values():
            yield from line

    @property
    def firsts(self) -> list[_Waiter]:
        """The first of each client."""
        return [line[0] for line in self._lines.values()]

    def ahead(self, client: str) -> int:
        """How many have their turn before one more of this client's, if they go round."""
        own = len(self._lines.get(client, ()))
        return sum(min(len(line), own + 1) for name, line in self._lines.items() if name != client) + own

    def add(self, waiter: _Waiter) -> None:
        self._lines.setdefault(waiter.client, deque()).append(waiter)

    def remove(self, waiter: _Waiter) -> None:
        line = self._lines[waiter.client]
        line.remove(waiter)
        if not line:
            del self._lines[waiter.client]


class UpstreamQueue:
    """The queues of one process, one for each upstream with a limit; nobody waits longer than `seconds`.

    Limits may change: whoever waits is counted by those that hold when it gets its slot.
    """

    def __init__(self, slots: UpstreamSlots, seconds: float) -> None:
        self._slots = slots
        self._seconds = seconds
        self._closed = ""
        self._queues: dict[str, _Queue] = {}

    def change(self, seconds: float) -> None:
        """The limits of the slots have changed, and how long those that come may wait."""
        self._seconds = seconds
        for upstream, queue in self._queues.items():
            self._choose(upstream, queue)

    async def take(self, upstream: str, client: str, queued: Callable[[int], None]) -> float | None:
        """A slot for the client → seconds it waited, None for an upstream without limit. Raises NoPlace.

        Nobody gets one once `close` was called: whoever begins a session then would never be told to end it.

        `queued` is called once, when there is none at once, with the number of clients before it in this process.
        """
        if self._closed:
            raise NoPlace("shutdown", self._closed)
        slots = self._slots
        if upstream not in slots.limits:
            slots.take(upstream, client, 0.0)
            return None
        queue = self._queues.setdefault(upstream, _Queue())
        waiter = _Waiter(client)
        if not queue and slots.take(upstream, client, waiter.since):
            return 0.0
        ahead = queue.ahead(client)
        queue.add(waiter)
        metrics.SESSIONS_WAITING.add(upstream)
        self._choose(upstream, queue)
        try:
            queued(ahead)
            seconds = self._seconds
            until = now() + seconds
            while self._closed or not (queue.next is waiter and slots.take(upstream, client, waiter.since)):
                if self._closed:
                    raise NoPlace("shutdown", self._closed)
                if (time_now := now()) >= until:
                    raise NoPlace("queue", f"no place at the server became free within {seconds:g} seconds")
                looks = queue.next is waiter and slots.may_change_elsewhere
                waiter.woken = trio.Event()
                with trio.move_on_at(min(until, time_now + _OTHERS_SECONDS) if looks else until):
                    await waiter.woken.wait()
                if looks:
                    self._choose(upstream, queue)  # who has how many elsewhere may have changed
            return time.monotonic() - waiter.since
        finally:
            queue.remove(waiter)
            metrics.SESSIONS_WAITING.add(upstream, by=-1)
            self._choose(upstream, queue)

    def leave(self, upstream: str, client: str) -> None:
        """Give back a slot that `take` gave."""
        self._slots.leave(upstream, client)
        if queue := self._queues.get(upstream):
            self._choose(upstream, queue)

    def close(self, why: str) -> None:
        """Nobody gets a slot any more: all who wait are turned away."""
        self._closed = why
        for queue in self._queues.values():
            for waiter in queue:
                waiter.woken.set()

    def _choose(self, upstream: str, queue: _Queue) -> None:
        """Find out, and tell all, whose turn it is: if not here, another process has the one that has."""
        slots = self._slots
        best = min(queue.firsts, key=lambda waiter: slots.rank(upstream, waiter.client, waiter.since), default=None)
        queue.next = best
        if best is None:
            slots.waits(upstream, "", 0.0)
        else:
            slots.waits(upstream, best.client, best.since)
            best.woken.set()
