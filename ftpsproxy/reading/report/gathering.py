"""What a report needs to know of a log, gathered event by event. However long the log, this stays small."""

import heapq
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from ftpsproxy.ftp.commands import LISTINGS
from ftpsproxy.observe import telling
from ftpsproxy.observe.advice import advice
from ftpsproxy.reading.report.tallies import Sums, Tally, short

Event = dict[str, Any]

_MOST_NAMES, _MOST_CERTIFICATES, _MOST_REASONS = 5000, 500, 500
_MOST_THINGS, _MOST_OF_A_REASON = 2000, 200
_MOST_HOURS = 20_000
_SLOWEST = 10
_LASTED_SECONDS = 1.0  # what is over sooner is not slow, whatever its rate
_LISTINGS = frozenset(verb.decode() for verb in LISTINGS)
_HOUR = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):").match


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that was refused, has failed or did not become whole."""

    stamp: str
    what: str
    said: str
    who: str
    client: str


@dataclass(slots=True)
class Reason:
    """Why things went wrong, and those that did; `count` is of all, also of those that are not kept."""

    count: int = 0
    things: list[Thing] = field(default_factory=list)


@dataclass(slots=True)
class Certificate:
    """One that was verified. `until`: when it expires, by what was said last; None: not known."""

    sessions: int = 0
    first: str = ""
    last: str = ""
    until: datetime | None = None
    subject: str = ""


@dataclass(slots=True)
class Number:
    """How many."""

    count: int = 0


class Gathered:
    """Of the events that were chosen."""

    def __init__(self) -> None:
        self.all = Sums()
        self.outcomes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.users = Tally(Sums, _MOST_NAMES)
        self.clients = Tally(Sums, _MOST_NAMES)
        self.upstreams = Tally(Sums, _MOST_NAMES)
        self.certificates = Tally(Certificate, _MOST_CERTIFICATES)
        self.data_tls = Tally(Number, 100)
        self.control_tls = Tally(Number, 100)
        self.reasons = Tally(Reason, _MOST_REASONS)
        self.gateways = Tally(Number, 100)
        self.hours: dict[datetime, Sums] = {}
        self.hours_left_out = 0
        self.slowest: list[tuple[float, int, Event]] = []
        self.first = self.last = ""
        self.lost = self.suppressed = self.things = 0
        self._order = 0

    def take(self, event: Event) -> None:
        """One more of them."""
        name, stamp = event["event"], event["timestamp"]
        self.last = max(self.last, stamp)
        if not self.first or stamp < self.first:
            self.first = stamp
        self.suppressed += event.get("suppressed", 0)
        if name == "transfer.finished":
            self._finished(event)
        elif name == "transfer.refused":
            self._sums(event, Sums(refused=1))
        elif name == "upstream.secured":
            self._secured(event)
        elif name == "session.login":
            self.events["login" if event.get("ok") else "login refused"] += 1
        elif name == "file.changed":
            self.events["changed" if event.get("ok") else "not changed"] += 1
        elif name in _COUNTED:
            self.events[name] += 1
            self.lost += event.get("lost", 0)
            if name == "gateway.ready":
                self.gateways.of(event.get("hostname", "?"), event.get("gateway_version", "?")).count += 1
        if telling.failed(event):
            self._failed(event)

    def _finished(self, event: Event) -> None:
        outcome, moved = event.get("outcome", ""), event.get("bytes", 0)
        whole, up = outcome == "complete", event.get("direction") == "upload"
        self.outcomes[outcome if outcome in ("complete", "torn", "aborted") else "other"] += 1
        listing = event.get("verb") in _LISTINGS
        self._sums(
            event,
            Sums(
                files=int(whole and not listing),
                listings=int(whole and listing),
                broken=int(not whole),
                up=moved if up else 0,
                down=0 if up else moved,
            ),
        )
        self.data_tls.of(event.get("tls_version") or "", str(event.get("resumed", ""))).count += 1
        seconds = event.get("seconds", 0.0)
        if seconds >= _LASTED_SECONDS and not listing:
            self._order += 1
            kept = {key: event[key] for key in _OF_SLOWEST if key in event}
            heapq.heappush(self.slowest, (-moved / seconds, self._order, kept))
            if len(self.slowest) > _SLOWEST:
                heapq.heappop(self.slowest)

    def _sums(self, event: Event, sums: Sums) -> None:
        self.all.add(sums)
        self.users.of(event.get("user") or "(nobody)").add(sums)
        self.clients.of(event.get("client", "?")).add(sums)
        self.upstreams.of(event.get("upstream", "?"), event.get("server", "?")).add(sums)
        if (hour := _hour(event["timestamp"][:14])) is None:
            self.hours_left_out += 1
        elif (found := self.hours.get(hour)) is not None:
            found.add(sums)
        elif len(self.hours) < _MOST_HOURS:
            self.hours[hour] = sums
        else:
            self.hours_left_out += 1

    def _secured(self, event: Event) -> None:
        digest, days = event.get("certificate_sha256", "?"), event.get("days_left")
        stamp = event["timestamp"]
        found = self.certificates.of(digest, event.get("server", "?"), event.get("verified_by", "?"))
        found.sessions += 1
        found.first = min(found.first or stamp, stamp)
        if stamp >= found.last:
            found.last, found.subject = stamp, short(event.get("subject", ""))
            found.until = _later(stamp, days) if days is not None else found.until
        self.control_tls.of(event.get("tls_version", "?"), event.get("cipher", "?")).count += 1

    def _failed(self, event: Event) -> None:
        given = advice(event)
        reason = self.reasons.of(given.why or event["event"], given.do)
        reason.count += 1
        if self.things < _MOST_THINGS and len(reason.things) < _MOST_OF_A_REASON:
            self.things += 1
            row = telling.row(event)
            texts = (row.name, row.note, row.who, row.client)
            reason.things.append(Thing(short(event["timestamp"]), *(short(text, 400) for text in texts)))


@lru_cache(maxsize=1024)
def _hour(stamp: str) -> datetime | None:
    found = _HOUR(stamp)
    try:
        return datetime(*map(int, found.groups()), tzinfo=UTC) if found is not None else None  # type: ignore[arg-type,misc] # four of them: no time zone
    except ValueError:
        return None


def _later(stamp: str, days: int) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


_OF_SLOWEST = (
    *("timestamp", "event", "verb", "path", "directory", "directory_relative", "direction", "bytes", "seconds"),
    *("user", "upstream", "client", "outcome"),
)
_COUNTED = frozenset(
    {
        *("session.opened", "session.closed", "session.refused", "session.crashed", "upstream.failed"),
        *("gateway.ready", "gateway.log_lost", "gateway.crashed", "gateway.worker_lost", "command.refused"),
    }
)
