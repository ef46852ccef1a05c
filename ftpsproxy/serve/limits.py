"""How many sessions there may be, in all and of each client, and how fast they may come; in this process or across
the workers."""

import mmap
import secrets
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
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


class SessionLimits(Protocol):
    """Counts sessions against the limits, which may change."""

    limits: Limits

    def take(self, client: str) -> Refusal | None:
        """Count one more session of this address → None, or why there is none."""

    def leave(self, client: str) -> None:
        """That session is over."""


class LocalSessionLimits:
    """The limits of a single process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._total = 0
        self._of_client: Counter[str] = Counter()

    def take(self, client: str) -> Refusal | None:
        """See SessionLimits."""
        if self._total >= self.limits.sessions:
            return TOO_MANY
        if self._of_client[client] >= self.limits.sessions_per_client:
            return TOO_MANY_OF_CLIENT
        self._total += 1
        self._of_client[client] += 1
        return None

    def leave(self, client: str) -> None:
        """See SessionLimits."""
        self._total -= 1
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]


class SharedSessionLimits:
    """The limits of all workers, in memory they share; made before they are forked.

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
        """See SessionLimits."""
        bucket = self._bucket(client)
        if self._sum(0) >= self.limits.sessions:
            return TOO_MANY
        if self._sum(bucket) >= self.limits.sessions_per_client:
            return TOO_MANY_OF_CLIENT
        self._table[self._own] += 1
        self._table[self._own + bucket] += 1
        return None

    def leave(self, client: str) -> None:
        """See SessionLimits."""
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

    def forgive(self, client: str) -> None:
        """One that had to wait has left instead: it counts for nothing."""
        if (known := self._credit.get(client)) is not None:
            self._credit[client] = known[0] + 1, known[1]


class RefusedLogins:
    """How many logins of each client were refused lately, across all workers; made before they are forked.

    Lately: in the present half of the time asked for, and in the one before. Clients fall into buckets as in
    SharedSessionLimits: a bounded memory, and two in one bucket can only be turned away too early. Each worker writes
    its own rows, one for each half, and the number of the half that is in each.
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
