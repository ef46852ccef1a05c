"""How many sessions there are, in all, of each client and with each upstream, in this process or across the workers."""

import contextlib
import fcntl
import mmap
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ftpsproxy.config import Limits


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client gets no session: the limit it met, as the log has it, and the words it hears."""

    limit: str
    text: str


TOO_MANY = Refusal("sessions", "too many sessions")
TOO_MANY_OF_CLIENT = Refusal("sessions_per_client", "too many sessions from your address")


class TooManyUpstreams(Exception):
    """There were more upstreams since the start than there is room for; `str()` is one plain line."""


class Seats(Protocol):
    """Counts sessions against the limits, which may change."""

    limits: Limits

    def take(self, client: str) -> Refusal | None:
        """Take a seat for a session of this address → None, or why there is none."""

    def leave(self, client: str) -> None:
        """Give it back."""


class OwnSeats:
    """The seats of a single process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._total = 0
        self._of_client: Counter[str] = Counter()

    def take(self, client: str) -> Refusal | None:
        """See Seats."""
        if self._total >= self.limits.sessions:
            return TOO_MANY
        if self._of_client[client] >= self.limits.sessions_per_client:
            return TOO_MANY_OF_CLIENT
        self._total += 1
        self._of_client[client] += 1
        return None

    def leave(self, client: str) -> None:
        """See Seats."""
        self._total -= 1
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]


class SharedSeats:
    """The seats of all workers, in memory they share; made before they are forked.

    Each worker writes its own row and reads all, so there is no lock. A row has the worker's total first, then a count
    for each of `BUCKETS` buckets that client addresses fall into by a secret number: two addresses in one bucket are
    counted together, which can only refuse too early. Workers that look at the same moment may let in one too many.
    """

    BUCKETS = 65536

    def __init__(self, limits: Limits, workers: int) -> None:
        self.limits = limits
        self._workers = range(workers)
        self._row = self.BUCKETS + 1
        self._salt = secrets.token_bytes(8)
        self._table = memoryview(mmap.mmap(-1, workers * self._row * 4)).cast("I")
        self._own = 0

    def serve(self, worker: int) -> None:
        """From here on this process is worker number `worker`; what one before it had counted is forgotten."""
        self._own = worker * self._row
        self.clear(worker)

    def clear(self, worker: int) -> None:
        """A worker is gone, and its sessions with it."""
        start = worker * self._row
        self._table[start : start + self._row] = memoryview(bytes(self._row * 4)).cast("I")

    def _bucket(self, client: str) -> int:
        return 1 + zlib.crc32(self._salt + client.encode()) % self.BUCKETS

    def _sum(self, column: int) -> int:
        return sum(self._table[worker * self._row + column] for worker in self._workers)

    def take(self, client: str) -> Refusal | None:
        """See Seats."""
        bucket = self._bucket(client)
        if self._sum(0) >= self.limits.sessions:
            return TOO_MANY
        if self._sum(bucket) >= self.limits.sessions_per_client:
            return TOO_MANY_OF_CLIENT
        self._table[self._own] += 1
        self._table[self._own + bucket] += 1
        return None

    def leave(self, client: str) -> None:
        """See Seats."""
        self._table[self._own] -= 1
        self._table[self._own + self._bucket(client)] -= 1


class Places:
    """The sessions with each upstream, across all workers, against the limits of those that have one (`limits`).

    Each worker writes its own row: for each upstream the sessions it has, and since when (CLOCK_MONOTONIC, one for all
    processes) its first client waits for one, 0 for nobody. A place is taken under a lock, as a server that bans who
    comes once too often leaves no room for one too many; the kernel takes the lock back from a worker that is lost.
    """

    UPSTREAMS = 4096

    def __init__(self, limits: Mapping[str, int] | None = None, workers: int = 1) -> None:
        self.limits: dict[str, int] = {}
        self.workers = workers
        self._columns: dict[str, int] = {}
        self._row = 2 * self.UPSTREAMS
        self._table = memoryview(mmap.mmap(-1, workers * self._row * 8)).cast("d")
        self._lock = os.memfd_create("places") if workers > 1 else None
        self._own = 0
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
            self._columns[name] = 2 * len(self._columns)

    def limit(self, limits: Mapping[str, int]) -> None:
        """These are the limits from now on, 0 for none; who still waits for one that is not named waits for its old."""
        old = {name: limit for name, limit in self.limits.items() if name not in limits}
        self.limits = old | {name: limit for name, limit in limits.items() if limit}

    def serve(self, worker: int) -> None:
        """From here on this process is worker number `worker`; what one before it had counted is forgotten."""
        self._own = worker * self._row
        self.clear(worker)

    def clear(self, worker: int) -> None:
        """A worker is gone, and its sessions and waiting clients with it."""
        for column in range(worker * self._row, (worker + 1) * self._row):
            self._table[column] = 0.0

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

    def take(self, upstream: str, since: float) -> bool:
        """Take a place for a client that came at `since`, if one is free and nobody elsewhere waits longer."""
        column = self._columns[upstream]
        if upstream not in self.limits:
            self._table[self._own + column] += 1.0
            return True
        with self._locked():
            rows = range(column, len(self._table), self._row)
            if any(0.0 < self._table[row + 1] < since for row in rows if row != self._own + column):
                return False
            if sum(self._table[row] for row in rows) >= self.limits[upstream]:
                return False
            self._table[self._own + column] += 1.0
            return True

    def leave(self, upstream: str) -> None:
        """Give it back."""
        self._table[self._own + self._columns[upstream]] -= 1.0

    def waits(self, upstream: str, since: float | None) -> None:
        """The first client that waits here came at `since`; None: nobody waits."""
        self._table[self._own + self._columns[upstream] + 1] = since or 0.0
