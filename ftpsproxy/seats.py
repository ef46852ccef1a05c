"""How many sessions there are, in all and of each client, in this process or across the workers."""

import mmap
import secrets
import zlib
from collections import Counter
from typing import Protocol

from ftpsproxy.config import Limits

TOO_MANY = "too many sessions"
TOO_MANY_OF_CLIENT = "too many sessions from your address"


class Seats(Protocol):
    """Counts sessions against the limits."""

    def take(self, client: str) -> str | None:
        """Take a seat for a session of this address → None, or why there is none."""

    def leave(self, client: str) -> None:
        """Give it back."""


class OwnSeats:
    """The seats of a single process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._of_client: Counter[str] = Counter()

    def take(self, client: str) -> str | None:
        """See Seats."""
        if self._total >= self._limits.sessions:
            return TOO_MANY
        if self._of_client[client] >= self._limits.sessions_per_client:
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
        self._limits = limits
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

    def take(self, client: str) -> str | None:
        """See Seats."""
        bucket = self._bucket(client)
        if self._sum(0) >= self._limits.sessions:
            return TOO_MANY
        if self._sum(bucket) >= self._limits.sessions_per_client:
            return TOO_MANY_OF_CLIENT
        self._table[self._own] += 1
        self._table[self._own + bucket] += 1
        return None

    def leave(self, client: str) -> None:
        """See Seats."""
        self._table[self._own] -= 1
        self._table[self._own + self._bucket(client)] -= 1
