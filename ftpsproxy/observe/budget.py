"""What a peer can have said again and again is said so often and no more; the rest is summed up.

Each client has an account for each such event: some lines at once, then a few a second. What is left out is counted,
and the next line that is said tells how many (`suppressed`). If none comes, the last one that was left out is said
itself: when its session ends, or once some seconds have passed. Events of those that have no session share an account
over all clients besides, as there may be very many. Accounts are bounded, too.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ftpsproxy.clients import one_client
from ftpsproxy.observe.lines import Bound, Facts

_MOST_CLIENTS = 4096
_LATE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    """An event, the session it is of, and what else stands in its line."""

    level: str
    event: str
    fields: dict[str, object]
    session: Bound | None
    facts: Facts | None = None

    @property
    def kind(self) -> str:
        """What has an account of its own: the event, and the limit that was met."""
        return f"{self.event} {self.fields.get('limit', '')}"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many lines at once, and so many a second."""

    burst: float
    per_second: float


OF_CLIENT = Rate(100, 5)
OF_ALL = Rate(1000, 50)


@dataclass(slots=True)
class _Account:
    """One client's, for one kind of event. `last` is what was left out last, `since` when the first of them was."""

    rate: Rate
    left: float
    at: float
    left_out: int = 0
    since: float = 0.0
    last: Said | None = None

    def take(self, said: Said, now: float, more: int = 0) -> int | None:
        """How many were left out before this one, which is to be said; None: it is left out. `more` were elsewhere."""
        self.left = min(self.rate.burst, self.left + (now - self.at) * self.rate.per_second)
        self.at = now
        if self.left < 1:
            self.leave_out(said, now, 1 + more)
            return None
        self.left -= 1
        return self.clear() + more

    def leave_out(self, said: Said, now: float, count: int) -> None:
        if not self.left_out:
            self.since = now
        self.left_out += count
        self.last = said

    def clear(self) -> int:
        """How many were left out; from here on none."""
        left_out, self.left_out, self.last = self.left_out, 0, None
        return left_out


@dataclass(slots=True)
class Budget:
    """The accounts of one process. `say` writes an event of which so many were left out before."""

    say: Callable[[Said, int], None]
    clock: Callable[[], float] = time.monotonic
    _accounts: OrderedDict[str, dict[str, _Account]] = field(default_factory=OrderedDict)
    _everybody: dict[str, _Account] = field(default_factory=dict)

    def take(self, client: str, said: Said) -> None:
        """Say it, or leave it out."""
        now = self.clock()
        left_out = self._account(one_client(client), said.kind, now).take(said, now)
        if left_out is not None and said.session is None:
            left_out = self._shared(said.kind, now).take(said, now, left_out)
        if left_out is not None:
            self.say(said, left_out)

    def _account(self, client: str, kind: str, now: float) -> _Account:
        accounts = self._accounts.get(client)
        if accounts is None:
            accounts = self._accounts[client] = {}
            if len(self._accounts) > _MOST_CLIENTS:
                for past, account in self._accounts.popitem(last=False)[1].items():
                    if account.last is not None:  # one line for each that is forgotten would be too many
                        self._shared(past, now).leave_out(account.last, now, account.left_out)
        else:
            self._accounts.move_to_end(client)
        if kind not in accounts:
            accounts[kind] = _Account(OF_CLIENT, OF_CLIENT.burst, now)
        return accounts[kind]

    def _shared(self, kind: str, now: float) -> _Account:
        if kind not in self._everybody:
            self._everybody[kind] = _Account(OF_ALL, OF_ALL.burst, now)
        return self._everybody[kind]

    def sum_up(self, session: Bound | None = None, *, late: bool = True) -> None:
        """Say what was left out: in this session, which ends; else in all, if it was some seconds ago (`late`)."""
        now = self.clock()
        for account in list(self._of(session)):
            if (last := account.last) is None:
                continue
            if last.session is session if session is not None else not late or now - account.since >= _LATE_SECONDS:
                self.say(last, account.clear() - 1)

    def _of(self, session: Bound | None) -> Iterator[_Account]:
        if session is not None:
            yield from self._accounts.get(one_client(session.client), {}).values()
            return
        for accounts in self._accounts.values():
            yield from accounts.values()
        yield from self._everybody.values()
