"""How many sessions each upstream has that takes so many at a time, across all workers, and whose turn it is."""

import contextlib
import fcntl
import mmap
import os
import secrets
import time
import zlib
from collections.abc import Collection, Iterator, Mapping


class TooManyUpstreams(Exception):
    """There were more upstreams since the start than there is room for; `str()` is one plain line."""


class UpstreamSlots:
    """The sessions with each upstream, across all workers, against the limits of those that have one (`limits`).

    A free slot goes to the waiting client that has the fewest there; of those with as many to the one whose last turn
    is longest ago; of one client's own to the first that came. So one client may have all slots that nobody else
    wants, but keeps nobody waiting with a crowd.

    Each worker writes its own row: for each upstream the slots it has, and who of those that wait here is next:
    since when (CLOCK_MONOTONIC, one for all processes; 0 for nobody), and which bucket it counts in; and the clients it
    has, with a slot or without. One row more is for the process before this one, whose sessions go on (handover.py).
    Clients of each upstream fall into buckets by a secret number: two in one take their turns as one. A slot is taken
    under a lock, as a server that bans who comes once too often leaves no room for one too many; the kernel takes the
    lock back from a worker that is lost.
    """

    UPSTREAMS = 4096
    BUCKETS = 65536
    _CELLS = 4

    def __init__(self, limits: Mapping[str, int] | None = None, workers: int = 1) -> None:
        self.limits: dict[str, int] = {}
        self._shares: dict[str, int] = {}
        self.workers = workers
        self._columns: dict[str, int] = {}
        self._row = self._CELLS * self.UPSTREAMS
        self._table = memoryview(mmap.mmap(-1, (workers + 1) * self._row * 8)).cast("d")
        self._counts = memoryview(mmap.mmap(-1, workers * self.BUCKETS * 4)).cast("I")  # slots, by worker and bucket
        self._last_taken = memoryview(mmap.mmap(-1, self.BUCKETS * 8)).cast(
            "d"
        )  # when the last slot was taken, by bucket
        self._salt = secrets.token_bytes(8)
        self._lock = os.memfd_create("slots") if workers > 1 else None
        self._worker = 0
        self.know(limits or {})
        self.limit(limits or {})

    def know(self, upstreams: Collection[str]) -> None:
        """There may be sessions with these from now on. Raises TooManyUpstreams, with nothing changed.

        All processes must hear the same in the same order. A column is for ever: sessions with an upstream that the
        configuration no longer has may last.
        """
        new = [name for name in upstreams if name not in self._columns]
        if len(self._columns) + len(new) > self.UPSTREAMS:
            raise TooManyUpstreams(f"more than {self.UPSTREAMS} upstreams since the start; start the gateway anew")
        for name in new:
            self._columns[name] = self._CELLS * len(self._columns)

    def limit(self, limits: Mapping[str, int], shares: Mapping[str, int] | None = None) -> None:
        """These are the limits from now on, 0 for none; who still waits for one that is not named waits for its old.

        `shares`: what one client may have of it at the most, 0 for all.
        """
        self._shares = {name: share for name, share in (shares or {}).items() if share}
        old = {name: limit for name, limit in self.limits.items() if name not in limits}
        self.limits = old | {name: limit for name, limit in limits.items() if limit}

    def serve(self, worker: int) -> None:
        """From here on this process is worker number `worker`; what one before it had counted is forgotten."""
        self._worker = worker
        self.clear(worker)

    def clear(self, worker: int) -> None:
        """A worker is gone, and its sessions and waiting clients with it."""
        for table, row in ((self._table, self._row), (self._counts, self.BUCKETS)):
            start = worker * row * table.itemsize
            table.cast("B")[start : start + row * table.itemsize] = bytes(row * table.itemsize)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _bucket(self, upstream: str, client: str) -> int:
        return zlib.crc32(self._salt + f"{self._columns[upstream]} {client}".encode()) % self.BUCKETS

    def _has(self, bucket: int) -> int:
        return sum(self._counts[worker * self.BUCKETS + bucket] for worker in range(self.workers))

    def _rank(self, bucket: int, since: float) -> tuple[float, float, float]:
        return self._has(bucket), self._last_taken[bucket], since

    def _next(self, upstream: str) -> Iterator[tuple[int, float, int]]:
        """Who is next in each worker where somebody waits: the worker, since when, the bucket."""
        column = self._columns[upstream]
        for worker in range(self.workers):
            cell = worker * self._row + column
            if since := self._table[cell + 1]:
                yield worker, since, int(self._table[cell + 2])

    def has(self, upstream: str, client: str) -> int:
        """How many slots this client has there."""
        return self._has(self._bucket(upstream, client))

    def rank(self, upstream: str, client: str, since: float) -> tuple[float, float, float]:
        """The lower it is, the sooner is the turn of this client, which came at `since`."""
        return self._rank(self._bucket(upstream, client), since)

    def wanted(self, upstream: str) -> int | None:
        """How many slots the client has that is next; None: nobody waits."""
        return min((self._has(bucket) for _, _, bucket in self._next(upstream)), default=None)

    def is_full(self, upstream: str) -> bool:
        """Whether all slots of an upstream with a limit are taken; a free one is about to be."""
        return self._taken(upstream) >= self.limits[upstream]

    def _taken(self, upstream: str) -> float:
        return sum(self._table[cell] for cell in range(self._columns[upstream], len(self._table), self._row))

    # --- beside another process ---------------------------------------------------------------------------------------

    @property
    def may_change_elsewhere(self) -> bool:
        """Whether slots may become free in other processes, which nobody is told of here."""
        return self.workers > 1 or any(self._others())

    def _others(self) -> "memoryview[float]":
        return self._table[self.workers * self._row :]

    def has_client(self, upstream: str, more: int) -> None:
        """There is one client more, or less, for this upstream; not each will want a slot."""
        self._table[self._worker * self._row + self._columns[upstream] + 3] += more

    def needs(self) -> dict[str, int]:
        """How many slots of each limited upstream its clients, and those of the process before, may take at the most,
        once no more come."""
        found = {}
        for name, limit in self.limits.items():
            column = self._columns[name]
            clients = sum(self._table[worker * self._row + column + 3] for worker in range(self.workers))
            if need := min(limit, int(clients + self._others()[column])):
                found[name] = need
        return found

    def set_needs(self, needs: Mapping[str, int]) -> None:
        """What the process before may take; of upstreams that are known here."""
        others = self._others()
        for name, column in self._columns.items():
            others[column] = float(needs.get(name, 0))

    def take(self, upstream: str, client: str, since: float) -> bool:
        """Take a slot for a client that came at `since`, if one is free and it is nobody's turn elsewhere."""
        bucket = self._bucket(upstream, client)
        if upstream not in self.limits:
            self._count(upstream, bucket, 1)
            return True
        with self._locked():
            rank = self._rank(bucket, since)
            for worker, others, where in self._next(upstream):
                if worker != self._worker and self._rank(where, others) < rank:
                    return False
            taken = self._taken(upstream)
            if taken >= self.limits[upstream] or self._has(bucket) >= self._shares.get(upstream, taken + 1):
                return False
            self._count(upstream, bucket, 1)
            self._last_taken[bucket] = time.monotonic()
            return True

    def leave(self, upstream: str, client: str) -> None:
        """Give it back."""
        self._count(upstream, self._bucket(upstream, client), -1)

    def _count(self, upstream: str, bucket: int, more: int) -> None:
        self._table[self._worker * self._row + self._columns[upstream]] += more
        self._counts[self._worker * self.BUCKETS + bucket] += more

    def waits(self, upstream: str, client: str, since: float) -> None:
        """This client, which came at `since`, is next here; 0: nobody waits."""
        cell = self._worker * self._row + self._columns[upstream]
        self._table[cell + 2] = self._bucket(upstream, client)
        self._table[cell + 1] = since
