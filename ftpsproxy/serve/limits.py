"""How many sessions there are, in all, of each client and with each upstream, in this process or across the workers."""

import contextlib
import fcntl
import mmap
import os
import secrets
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
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
TOO_MANY_LOGINS = Refusal("refused_logins", "too many refused logins from your address")


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


class Arrivals:
    """How fast each client's sessions come, in this process: each of them costs the server a TLS handshake, before the
    client has said a word. Those that come too fast wait. Remembers a bounded number of clients."""

    CLIENTS = 4096

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._credit: OrderedDict[str, tuple[float, float]] = OrderedDict()  # sessions to go, and when that was so

    def wait(self, client: str, limits: Limits) -> float:
        """How long one more session of this client has to wait, in seconds."""
        time_now, burst = self._clock(), float(limits.sessions_per_client)
        credit, then = self._credit.pop(client, (burst, time_now))
        credit = min(burst, credit + (time_now - then) * limits.sessions_per_second) - 1
        self._credit[client] = credit, time_now
        if len(self._credit) > self.CLIENTS:
            self._credit.popitem(last=False)
        return max(0.0, -credit / limits.sessions_per_second)


class RefusedLogins:
    """How many logins of each client were refused lately, across all workers; made before they are forked.

    Lately: in the present half of the time asked for, and in the one before. Clients fall into buckets as in
    SharedSeats: a bounded memory, and two in one bucket can only be turned away too early. Each worker writes its own
    rows, one for each half, and the number of the half that is in each.
    """

    BUCKETS = 65536

    def __init__(self, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = range(workers)
        self._worker = 0
        self._clock = clock
        self._salt = secrets.token_bytes(8)
        self._table = memoryview(mmap.mmap(-1, workers * 2 * self.BUCKETS * 4)).cast("I")
        self._halves = memoryview(mmap.mmap(-1, workers * 2 * 8)).cast("d")

    def serve(self, worker: int) -> None:
        """From here on this process is worker number `worker`, and goes on where one before it ended."""
        self._worker = worker

    def _bucket(self, upstream: str, client: str) -> int:
        return zlib.crc32(self._salt + f"{upstream} {client}".encode()) % self.BUCKETS

    def _half(self, seconds: float) -> int:
        return 1 + int(self._clock() / (seconds / 2))

    def add(self, upstream: str, client: str, seconds: float) -> int:
        """One more → how many there were within the last `seconds`."""
        half = self._half(seconds)
        row = 2 * self._worker + half % 2
        start = row * self.BUCKETS
        if self._halves[row] != half:
            self._table[start : start + self.BUCKETS] = memoryview(bytes(self.BUCKETS * 4)).cast("I")
            self._halves[row] = half
        self._table[start + self._bucket(upstream, client)] += 1
        return self.count(upstream, client, seconds)

    def count(self, upstream: str, client: str, seconds: float) -> int:
        """How many there were within the last `seconds`."""
        half, bucket = self._half(seconds), self._bucket(upstream, client)
        rows = [2 * worker + one % 2 for worker in self._workers for one in (half, half - 1)]
        alive = (row for row in rows if self._halves[row] in (half, half - 1))
        return sum(self._table[row * self.BUCKETS + bucket] for row in alive)


class Places:
    """The sessions with each upstream, across all workers, against the limits of those that have one (`limits`).

    A free place goes to the waiting client that has the fewest there; of those with as many to the one whose last turn
    is longest ago; of one client's own to the first that came. So one client may have all places that nobody else
    wants, but keeps nobody waiting with a crowd.

    Each worker writes its own row: for each upstream the sessions it has, and who of those that wait here is next:
    since when (CLOCK_MONOTONIC, one for all processes; 0 for nobody), and which bucket it counts in. Clients of each
    upstream fall into buckets by a secret number: two in one take their turns as one. A place is taken under a lock, as
    a server that bans who comes once too often leaves no room for one too many; the kernel takes the lock back from a
    worker that is lost.
    """

    UPSTREAMS = 4096
    BUCKETS = 65536
    _CELLS = 3

    def __init__(self, limits: Mapping[str, int] | None = None, workers: int = 1) -> None:
        self.limits: dict[str, int] = {}
        self._shares: dict[str, int] = {}
        self.workers = workers
        self._columns: dict[str, int] = {}
        self._row = self._CELLS * self.UPSTREAMS
        self._table = memoryview(mmap.mmap(-1, workers * self._row * 8)).cast("d")
        self._counts = memoryview(mmap.mmap(-1, workers * self.BUCKETS * 4)).cast("I")  # places, by worker and bucket
        self._turns = memoryview(mmap.mmap(-1, self.BUCKETS * 8)).cast("d")  # when the last place was taken, by bucket
        self._salt = secrets.token_bytes(8)
        self._lock = os.memfd_create("places") if workers > 1 else None
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
        return self._has(bucket), self._turns[bucket], since

    def _next(self, upstream: str) -> Iterator[tuple[int, float, int]]:
        """Who is next in each worker where somebody waits: the worker, since when, the bucket."""
        column = self._columns[upstream]
        for worker in range(self.workers):
            cell = worker * self._row + column
            if since := self._table[cell + 1]:
                yield worker, since, int(self._table[cell + 2])

    def has(self, upstream: str, client: str) -> int:
        """How many places this client has there."""
        return self._has(self._bucket(upstream, client))

    def rank(self, upstream: str, client: str, since: float) -> tuple[float, float, float]:
        """The lower it is, the sooner is the turn of this client, which came at `since`."""
        return self._rank(self._bucket(upstream, client), since)

    def wanted(self, upstream: str) -> int | None:
        """How many places the client has that is next; None: nobody waits."""
        return min((self._has(bucket) for _, _, bucket in self._next(upstream)), default=None)

    def take(self, upstream: str, client: str, since: float) -> bool:
        """Take a place for a client that came at `since`, if one is free and it is nobody's turn elsewhere."""
        bucket = self._bucket(upstream, client)
        if upstream not in self.limits:
            self._count(upstream, bucket, 1)
            return True
        with self._locked():
            rank = self._rank(bucket, since)
            for worker, others, where in self._next(upstream):
                if worker != self._worker and self._rank(where, others) < rank:
                    return False
            taken = sum(self._table[cell] for cell in range(self._columns[upstream], len(self._table), self._row))
            if taken >= self.limits[upstream] or self._has(bucket) >= self._shares.get(upstream, taken + 1):
                return False
            self._count(upstream, bucket, 1)
            self._turns[bucket] = time.monotonic()
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
