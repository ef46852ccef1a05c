"""The views of a log. Each takes events that were chosen and gives records: what machines get of it, and its look."""

from collections.abc import Iterator, Mapping
from typing import Any

from ftpsproxy.observe import telling
from ftpsproxy.observe.advice import advice
from ftpsproxy.observe.fields import FIELDS
from ftpsproxy.observe.rows import Mark, Row, count, duration, prose, quoted, size
from ftpsproxy.reading.choosing import Choice
from ftpsproxy.reading.sessions import Session, Sessions, summary

Event = dict[str, Any]


class Events:
    """All of them, as the gateway's console shows them. `columns` are those of a table (CSV)."""

    columns: tuple[str, ...] = tuple(FIELDS)
    exact = True
    """Whether a record has the fields of its event alone, as in the log's schema."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    def take(self, event: Event, session: Session | None, chosen: bool) -> Event | None:
        """The record that this event makes; `chosen`: all that was asked for holds of it."""
        return event if chosen else None

    def end(self, sessions: Sessions) -> Iterator[Event]:
        """The records that are left when there are no more events."""
        yield from ()

    def row(self, record: Event) -> Row:
        """How it looks for people."""
        return telling.row(record)

    def more(self, record: Event) -> tuple[str, ...]:
        """What stands below that."""
        return ()


class Transfers(Events):
    """What became of each file, and what was refused."""

    columns = (
        *("timestamp", "event", "outcome", "direction", "verb", "directory", "directory_relative", "path", "type"),
        *("offset", "bytes", "seconds", "ttfb_seconds", "user", "client", "listener", "upstream", "server"),
        *("server_address", "certificate_sha256", "verified_by", "tls_version", "cipher", "resumed", "close_notify"),
        *("reply", "text", "side", "cause", "detail", "remark", "sha256", "session", "number"),
    )

    def take(self, event: Event, session: Session | None, chosen: bool) -> Event | None:
        return event if chosen and event["event"] in _TRANSFERS else None


class Failures(Events):
    """Everything that was refused or has failed, with the reason in plain words (`why`) and what to do (`advice`)."""

    columns = (
        *(
            "timestamp",
            "event",
            "client",
            "user",
            "upstream",
            "server",
            "verb",
            "directory",
            "path",
            "outcome",
            "reply",
        ),
        *("side", "limit", "cause", "detail", "why", "advice", "session"),
    )
    exact = False

    def take(self, event: Event, session: Session | None, chosen: bool) -> Event | None:
        if not chosen or not telling.failed(event):
            return None
        given = advice(event)
        return {**event, "why": given.why, "advice": given.do}

    def more(self, record: Event) -> tuple[str, ...]:
        return tuple(f"{what}: {prose(record[key])}" for what, key in (("why", "why"), ("do", "advice")) if record[key])


class SessionsView(Events):
    """Who was there, and what came of it; those not over at the end."""

    columns = (
        *("opened", "closed", "seconds", "session", "client", "listener", "user", "upstream", "server"),
        *("server_address", "certificate_sha256", "verified_by", "tls_version", "cipher", "commands", "transfers"),
        *("torn", "refused", "bytes_up", "bytes_down", "cause", "detail"),
    )
    exact = False

    def take(self, event: Event, session: Session | None, chosen: bool) -> Event | None:
        if session is None:
            return None
        if self.choice.of_file and not session.wanted and "verb" in event:
            session.wanted = self.choice.file(event)
        if event["event"] == "session.closed" and self._wanted(session, event):
            return summary(session, event)
        return None

    def end(self, sessions: Sessions) -> Iterator[Event]:
        for session in sessions.open():
            if self._wanted(session, {**session.facts, "timestamp": session.opened or "", "event": ""}):
                yield summary(session, None)

    def _wanted(self, session: Session, event: Event) -> bool:
        return self.choice.session(event) and (session.wanted or not self.choice.of_file)

    def row(self, record: Event) -> Row:
        torn, cause = record["torn"] or 0, record.get("cause", "")
        mark = Mark.SAID if record["closed"] is None else Mark.DONE
        if torn or cause in _BAD_ENDS:
            mark = Mark.FAILED
        elif record["refused"]:
            mark = Mark.ODD
        lasted = duration(record["seconds"]) if "seconds" in record else "not over"
        parts = [count(record["transfers"], "transfer")]
        parts += [f"{arrow} {size(record[key])}" for arrow, key in _WAYS if record.get(key)]
        notes = [f"{torn:,} torn" if torn else "", f"{record['refused']:,} refused" if record["refused"] else ""]
        ending = ": ".join(filter(None, (prose(cause.replace("_", " ")), prose(record.get("detail") or ""))))
        return Row(
            quoted((record["opened"] or record["closed"] or "")[11:19]),
            mark,
            f"{record['session']}  {lasted}, {', '.join(parts)}",
            who=telling.who(record),
            tls=telling.tls(record) if record["tls_version"] else "",
            client=quoted(record.get("client", "")) if record.get("client") else "",
            note=", ".join(filter(None, (*notes, ending))),
        )


_TRANSFERS = frozenset({"transfer.finished", "transfer.refused"})
_WAYS = (("↑", "bytes_up"), ("↓", "bytes_down"))
_BAD_ENDS = frozenset({"crashed", "upstream_failed", "turned_away", "server_lost", "reply_timeout", "foreign_protocol"})

VIEWS: Mapping[str, type[Events]] = {
    "transfers": Transfers,
    "sessions": SessionsView,
    "failures": Failures,
    "events": Events,
}
"""By their flags; --raw, the lines themselves, needs none."""
