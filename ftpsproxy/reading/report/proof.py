"""What a log proves of each transfer: that it was whole, over TLS, to a server whose certificate was verified. Whatever
is missing for that is an exception, and said; nothing is taken for granted because it is usual."""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftpsproxy.observe import telling
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.reading.report.gathering import Number, Reason, Thing
from ftpsproxy.reading.report.tallies import Latest, Sums, Tally, short
from ftpsproxy.reading.verifying import Verifier

Event = dict[str, Any]

_MOST_SESSIONS, _MOST_OVER = 16384, 50_000
_MOST_THINGS, _MOST_OF_A_REASON = 5000, 1000
_LONGEST_KEY = 64
_MOST_FINDINGS = 200
_DIGEST = re.compile(r"[0-9a-f]{64}").fullmatch
_VERSIONS = ("TLSv1.2", "TLSv1.3")
_PROVED_OTHERWISE = ("proved_by_size", "ended_in_band")


@dataclass(slots=True)
class _Session:
    """`known`: its beginning was read. `last`: the number of its last transfer that was; 0: none yet. `over`: its end
    was read before, and these are its lines once more."""

    known: bool = False
    secured: tuple[str, str, str] | None = None
    last: int = 0
    over: bool = False


@dataclass(slots=True)
class Proof:
    """What is proved, and every exception. Of the log as a whole, `missing` are the lines about transfers that are not
    there, `again` those of sessions that were over, and transfers that have been said before."""

    proved: Tally[Sums] = field(default_factory=lambda: Tally(Sums, 2000))
    remarks: Tally[Number] = field(default_factory=lambda: Tally(Number, 20))
    exceptions: Tally[Reason] = field(default_factory=lambda: Tally(Reason, 100))
    files: int = 0
    listings: int = 0
    missing: int = 0
    again: int = 0
    begun_before: int = 0
    forgotten: int = 0
    unknown: int = 0
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)
    _over: Latest = field(default_factory=lambda: Latest(_MOST_OVER))
    _things: int = 0

    def take(self, event: Event, *, chosen: bool) -> None:
        """Every event of the log, in its order; what is said is of those `chosen`."""
        name, key = event["event"], event.get("session", "")
        if chosen and name not in EVENTS:
            self.unknown += 1
        if name not in _HEARD or len(key) > _LONGEST_KEY:
            if name == "transfer.finished" and chosen:
                self._except("its line names no session", event)
            return
        session = self._session(key, name, chosen=chosen)
        if name == "session.opened":
            session.known = True
        elif name == "upstream.secured":
            session.secured = _what_was_verified(event)
        elif name == "session.closed":
            if session.last < event.get("transfers", session.last) and (session.known or session.last) and chosen:
                self.missing += event["transfers"] - session.last
            del self._sessions[key]
            self._over.add(key)
        else:
            first = self._number(session, event, chosen=chosen)
            if chosen:
                self._transfer(session, event, first=first)

    def _session(self, key: str, name: str, *, chosen: bool) -> _Session:
        found = self._sessions.get(key)
        if found is None:
            if chosen and key in self._over:
                self.again += 1
            elif chosen and name != "session.opened":
                self.begun_before += 1
            found = self._sessions[key] = _Session(over=key in self._over)
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
                self.forgotten += 1
        return found

    @property
    def still_open(self) -> int:
        """Sessions whose end was not read."""
        return len(self._sessions)

    def _number(self, session: _Session, event: Event, *, chosen: bool) -> bool:
        """Whether no line has told of it before."""
        number = event.get("number", 0)
        begins = session.last if session.known or session.last else number - 1
        if chosen and number > begins + 1:
            self.missing += number - begins - 1
        elif chosen and number <= begins:
            self.again += 1
        session.last = max(session.last, number)
        return number > begins and not session.over

    def _transfer(self, session: _Session, event: Event, *, first: bool) -> None:
        if lack := next(_lacks(session, event), ""):
            self._except(lack, event)
            return
        if not first:
            return
        listing = event.get("verb") in ("LIST", "NLST", "MLSD")
        up, moved = event.get("direction") == "upload", event.get("bytes", 0)
        self.listings += listing
        self.files += not listing
        self.proved.of(
            event["server"], event.get("server_address", "?"), event["certificate_sha256"], event["verified_by"]
        ).add(Sums(files=int(not listing), listings=int(listing), up=moved if up else 0, down=0 if up else moved))
        if remark := event.get("remark"):
            self.remarks.of(remark).count += 1

    def _except(self, why: str, event: Event) -> None:
        reason = self.exceptions.of(why)
        reason.count += 1
        if self._things < _MOST_THINGS and len(reason.things) < _MOST_OF_A_REASON:
            self._things += 1
            row = telling.row(event)
            texts = (row.name, row.note, row.who, row.client)
            reason.things.append(Thing(short(event["timestamp"]), *(short(text, 400) for text in texts)))

    def end(self) -> list[str]:
        """What keeps the log as a whole from being complete, in words."""
        found = [
            (self.missing, "transfers without a line, by their numbers and by what their sessions say at their ends"),
            (self.again, "lines there again, or out of order, whose files are not counted again"),
            (
                self.begun_before,
                "sessions that began before what was read here, so that their first lines are not here",
            ),
            (self.still_open, "sessions without an end here, which go on, or lines are missing"),
            (self.forgotten, "sessions too many at once to be followed"),
            (self.unknown, "lines of a later version, whose events are not understood here"),
        ]
        return [f"{words}: {number:,}" for number, words in found if number]


def _what_was_verified(event: Event) -> tuple[str, str, str] | None:
    """Server, certificate, by what; None: the line does not say it all."""
    server, digest, by = event.get("server", ""), event.get("certificate_sha256", ""), event.get("verified_by", "")
    return (server, digest, by) if server and _DIGEST(digest) and by in ("chain", "pin") else None


def _lacks(session: _Session, event: Event) -> Iterator[str]:
    """What is missing before the event proves a whole transfer over verified TLS, what matters most first."""
    if event.get("outcome") != "complete":
        yield "it did not become whole"
    if not (version := event.get("tls_version")):
        yield "its line does not say that its data went over TLS"
    elif version not in _VERSIONS:
        yield "its data went over another version of TLS than 1.2 and 1.3"
    if (verified := _what_was_verified(event)) is None:
        yield "its line does not say which server, with which certificate, verified by what"
    if session.secured is None:
        yield "no line before it says that the session's server was verified (upstream.secured)"
    elif session.secured != verified:
        yield "its line names another server or certificate than the one that was verified in its session"
    if event.get("client_mode") == "balanced" and event.get("direction") != "download":
        yield "it came by way of a load balancer, which may make a proper end of a client's reset"
    if event.get("direction") not in ("upload", "download"):
        yield "its line does not say which way it went"
    elif event["direction"] == "download" and not (
        event.get("close_notify") or event.get("remark") in _PROVED_OTHERWISE
    ):
        yield "its end is not proved: no close_notify, and nothing in its place"


_HEARD = frozenset({"session.opened", "upstream.secured", "session.closed", "transfer.finished"})


class Witness:
    """Whether the log is as it was written: what its chain says of that, if it has one."""

    def __init__(self, key: bytes, *, open: bool) -> None:
        self._verifier = Verifier(key, open=open)
        self.keyed = bool(key)
        self.findings: list[str] = []
        self.count = 0

    def line(self, line: bytes, where: str) -> None:
        """Every line, as it stands."""
        self._note(self._verifier.line(line, where))

    def end(self) -> None:
        """There are no more."""
        self._note(self._verifier.end())

    @property
    def chains(self) -> int:
        """How many there are; 0: the log is not chained."""
        return self._verifier.chains

    @property
    def lines(self) -> int:
        """All that were read."""
        return self._verifier.lines

    @property
    def unproved(self) -> int:
        """Lines of a chain that nothing proves, for what came before them is not here."""
        return self._verifier.unproved

    @property
    def bad(self) -> bool:
        """Whether it was found not to be as it was written; with a key one that is not chained is not, either."""
        return bool(self.count) if self.chains else self.keyed

    def _note(self, findings: Iterator[str]) -> None:
        for finding in findings:
            self.count += 1
            if len(self.findings) < _MOST_FINDINGS:
                self.findings.append(short(finding, 400))
