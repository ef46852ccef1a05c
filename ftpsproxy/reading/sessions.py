"""What is known of each session from the lines read so far, until its last one.

A line about a file says it all itself; others, and those of the version before, need what was said before them.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ftpsproxy.observe.events import EVENTS

Event = dict[str, Any]

_MOST = 16384
_LONGEST_KEY, _LONGEST = 64, 200  # characters: a log may say anything, and this is kept

_OF_SERVER = ("server", "server_address", "certificate_sha256", "verified_by")
_OF_SESSION = ("session", "client", "listener", "upstream")
WITHOUT_USER = frozenset(
    name for name, event in EVENTS.items() if not event.about_a_file and "user" not in (*event.always, *event.maybe)
)
"""Events that have no field `user`, and are given one here."""

_LISTED = ("user", *_OF_SERVER, "tls_version", "cipher")


@dataclass(slots=True)
class Session:
    """One that is not over. `wanted`: a file of it is (choosing.py). `refused`: logins, transfers and changes."""

    facts: Event
    opened: str | None = None
    wanted: bool = False
    refused: int = 0
    files: int = 0
    """Transfers so far."""


class Sessions:
    """Those that are not over. Of so many at once that there is no room the oldest is `forgotten`."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Session] = OrderedDict()
        self.forgotten = 0

    def hear(self, event: Event) -> Session | None:
        """Note what this says of its session; and have the event say who, and at which server, if it does not."""
        key = event.get("session")
        if key is None or len(key) > _LONGEST_KEY:
            return None
        known = self._known.get(key)
        if known is None:
            known = self._begin(key, event)
        name = event["event"]
        facts = known.facts
        if name == "transfer.finished":
            known.files += 1
            if "server" in event and "user" in facts and event.get("user") is not None:
                return known  # as of today it says all that itself
        elif name == "session.opened":
            known.opened = event["timestamp"]
        elif name == "upstream.secured":
            facts |= _short(event, (*_OF_SERVER, "tls_version", "cipher"))
        elif name == "session.login":
            if event.get("ok"):
                facts |= _short(event, ("user",))
            else:
                known.refused += 1
        elif name == "transfer.refused" or (name == "file.changed" and event.get("ok") is False):
            known.refused += 1
        if event.get("user") is None:
            if (user := facts.get("user")) is not None:
                event["user"] = user
        elif "user" not in facts and name != "session.login":
            facts |= _short(event, ("user",))
        if "server" not in event and name.startswith(("transfer.", "file.")):
            event.update({field: facts[field] for field in _OF_SERVER if field in facts})
        if name == "session.closed":
            del self._known[key]
        return known

    def whole(self, key: str) -> bool:
        """A file of a session is whole, and its line says all that is known of the session; False: hear all of it."""
        known = self._known.get(key)
        if known is None or "user" not in known.facts:
            return False
        known.files += 1
        return True

    def _begin(self, key: str, event: Event) -> Session:
        found = self._known[key] = Session(_short(event, _OF_SESSION))
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
            self.forgotten += 1
        return found

    def open(self) -> list[Session]:
        """Those whose end was not read."""
        return list(self._known.values())


def _short(event: Event, fields: tuple[str, ...]) -> Event:
    return {field: event[field][:_LONGEST] for field in fields if event.get(field) is not None}


def summary(session: Session, end: Event | None) -> Event:
    """A session for the view of sessions; `end`: its last line, None if that was not read."""
    found: Event = {"opened": session.opened, "closed": None, **session.facts}
    for field in _LISTED:
        found.setdefault(field, None)
    found |= {"transfers": session.files, "torn": None, "refused": session.refused}
    if end is not None:
        found["closed"] = end["timestamp"]
        for field in ("seconds", "cause", "detail", "commands", "transfers", "torn", "bytes_up", "bytes_down"):
            if field in end:
                found[field] = end[field]
    return found
