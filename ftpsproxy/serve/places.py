"""When a session may reach its upstream: not too many of one client a second, no more than the upstream takes."""

import contextlib
from collections.abc import Callable

import trio

from ftpsproxy.observe import log, metrics
from ftpsproxy.serve.limits import Arrivals
from ftpsproxy.serve.upstream_queue import UpstreamQueue
from ftpsproxy.serve.upstream_slots import UpstreamSlots
from ftpsproxy.session.service import Service

Current = Callable[[Service, str], Service]
"""What is now in place of a service, for a client that may have waited over a change. Raises NoPlace."""


class Places:
    """The places of one process; nobody waits for one longer than `seconds`."""

    def __init__(self, slots: UpstreamSlots, seconds: float, current: Current) -> None:
        self.queue = UpstreamQueue(slots, seconds)
        self.arrivals = Arrivals()
        self.current = current
        self.closed = trio.Event()

    def close(self, why: str) -> None:
        """Nobody gets one any more: all who wait are turned away."""
        self.queue.close(why)
        self.closed.set()

    def of(self, service: Service, client: str, who: str) -> "Place":
        """The place of one session, not taken yet; `who` stands for the client where clients are counted."""
        return Place(self, service, client, who)


class Place:
    """See session.service.Place."""

    def __init__(self, places: Places, service: Service, client: str, who: str) -> None:
        self._places = places
        self._service = service
        self._client = client
        self._who = who
        self._taken = contextlib.ExitStack()

    async def take(self) -> tuple[Service, float | None]:
        """Once."""
        places, service, who = self._places, self._service, self._who
        listener, upstream = service.listener.name, service.upstream.name

        def queued(ahead: int) -> None:
            log.session_queued(client=self._client, listener=listener, upstream=upstream, ahead=ahead)

        early = await self._not_too_fast()
        waited = await places.queue.take(upstream, who, queued)
        self._taken.callback(places.queue.leave, upstream, who)
        metrics.SESSIONS_OPEN.add(listener, upstream)
        self._taken.callback(metrics.SESSIONS_OPEN.add, listener, upstream, by=-1)
        return places.current(service, self._client), early + (waited or 0.0) if early else waited

    async def _not_too_fast(self) -> float:
        places, who = self._places, self._who
        early = places.arrivals.wait(who, self._service.limits)
        if early:
            try:
                with trio.move_on_after(early):
                    await places.closed.wait()
            except trio.Cancelled:
                places.arrivals.forgive(who)  # who leaves before its turn costs the server nothing
                raise
        return early

    def give_back(self) -> None:
        """Nothing where it was not taken."""
        self._taken.close()
