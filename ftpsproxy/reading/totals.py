"""What there was in all, of what was chosen."""

from collections import Counter
from typing import Any

from ftpsproxy.observe.rows import count, prose, size
from ftpsproxy.reading.decoding import Counts

Event = dict[str, Any]


class Totals:
    """Counted as events go by."""

    def __init__(self) -> None:
        self._outcomes = dict.fromkeys(_OUTCOMES, 0)
        self._bytes = dict.fromkeys((*_DIRECTIONS, "other"), 0)
        self._events: Counter[str] = Counter()
        self._first = self._last = ""

    def add(self, event: Event) -> None:
        """One that was chosen."""
        name = event["event"]
        self._at(event["timestamp"])
        if name == "transfer.finished":
            outcome, direction = event.get("outcome"), event.get("direction")
            self._outcomes[outcome if outcome in _OUTCOMES else "other"] += 1
            self._bytes[direction if direction in _DIRECTIONS else "other"] += event.get("bytes", 0)
        elif name in _COUNTED:
            self._events[name] += 1
        elif name == "file.changed" and event.get("ok"):
            self._events["changed"] += 1

    def add_whole(self, stamp: str, direction: str, moved: int) -> None:
        """A file that has become whole, at that moment: one of the outcomes and directions that there are."""
        self._at(stamp)
        self._outcomes["complete"] += 1
        self._bytes[direction] += moved

    def _at(self, stamp: str) -> None:
        if stamp > self._last:
            self._last = stamp
        if not self._first or stamp < self._first:
            self._first = stamp

    def lines(self, counts: Counts, forgotten: int) -> list[str]:
        """For people."""
        transfers = sum(self._outcomes.values())
        parts = [count(transfers, "transfer")]
        parts += [f"{self._outcomes[one]:,} {one}" for one in _OUTCOMES if self._outcomes[one]]
        if refused := self._events["transfer.refused"]:
            parts[-1] += f"; {refused:,} refused"
        found = [f"{', '.join(parts)}; ↑ {size(self._bytes['upload'])}, ↓ {size(self._bytes['download'])}"]
        others = [count(self._events[name], what) for name, what in _COUNTED.items() if what and self._events[name]]
        if changed := self._events["changed"]:
            others.append(f"{count(changed, 'change')} of files")
        if others:
            found.append(", ".join(others))
        if self._first:
            found.append(f"{_moment(self._first)} to {_moment(self._last)} UTC, {count(counts.lines, 'line')} read")
        else:
            found.append(f"nothing of that; {count(counts.lines, 'line')} read")
        return found + told(counts, forgotten)


def told(counts: Counts, forgotten: int) -> list[str]:
    """What could not be used, if there is any."""
    found = []
    if counts.damaged:
        found.append(f"{count(counts.damaged, 'line')} damaged")
    if counts.foreign:
        found.append(f'{count(counts.foreign, "line")} not of this log (format = "json" is what can be read)')
    if forgotten:
        found.append(f"{count(forgotten, 'session')} forgotten: too many at once that did not end")
    return found


def _moment(stamp: str) -> str:
    return prose(f"{stamp[:10]} {stamp[11:19]}")


# A log may hold anything, and what is counted by it is to stay small.
_OUTCOMES = ("complete", "torn", "aborted", "other")
_DIRECTIONS = ("upload", "download")
_COUNTED = {
    "session.closed": "session",
    "transfer.refused": "",
    "session.refused": "refusal of a client",
    "upstream.failed": "failure of the server",
    "session.crashed": "mistake of the gateway",
    "gateway.log_lost": "gap",
}
