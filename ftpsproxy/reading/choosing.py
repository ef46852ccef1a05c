"""Which events are wanted. What is wrong with a wish is a ChoiceError, whose text says what and what to say instead."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ftpsproxy.clients import is_allowed
from ftpsproxy.observe.telling import file_name

Event = dict[str, Any]
Test = Callable[[Event], bool]

OUTCOMES = ("complete", "torn", "aborted", "refused")


class ChoiceError(Exception):
    """A wish that can't be understood."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """As they were said; None: whatever it is."""

    client: str | None = None
    user: str | None = None
    upstream: str | None = None
    path: str | None = None
    verb: str | None = None
    outcome: str | None = None
    since: str | None = None
    until: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What an event has to be: of a session that is wanted, and a file that is."""

    of_session: tuple[Test, ...]
    of_file: tuple[Test, ...]

    @property
    def test(self) -> Test | None:
        """For all of it; None: everything is wanted."""
        if not self.of_session and not self.of_file:
            return None
        return lambda event: self.session(event) and self.file(event)

    def session(self, event: Event) -> bool:
        """Whether it comes from whom, from where and in the time that is wanted."""
        return all(test(event) for test in self.of_session)

    def file(self, event: Event) -> bool:
        """Whether it is about a file that is wanted."""
        return all(test(event) for test in self.of_file)


def choice(wishes: Wishes, now: datetime) -> Choice:
    """The tests, cheap ones first. Raises ChoiceError."""
    of_session: list[Test] = []
    of_file: list[Test] = []
    if wishes.since is not None:
        since = _moment("--since", wishes.since, now)
        of_session.append(lambda event: event["timestamp"] >= since)
    if wishes.until is not None:
        until = _moment("--until", wishes.until, now)
        of_session.append(lambda event: event["timestamp"] <= until)
    if (session := wishes.session) is not None:
        if not re.fullmatch("[0-9a-f]{4,12}", session):
            raise ChoiceError(f"--session: '{session}' is no session's id, nor 4 or more characters of its beginning")
        of_session.append(lambda event: event.get("session", "").startswith(session))
    if (upstream := wishes.upstream) is not None:
        of_session.append(lambda event: event.get("upstream") == upstream)
    if wishes.client is not None:
        of_session.append(_from(wishes.client))
    if wishes.user is not None:
        user = _glob(wishes.user)
        of_session.append(lambda event: user(event.get("user") or ""))
    if (verb := wishes.verb) is not None:
        upper = verb.upper()
        of_file.append(lambda event: event.get("verb") == upper)
    if (outcome := wishes.outcome) is not None:
        if outcome not in OUTCOMES:
            raise ChoiceError(f"--outcome: must be one of {', '.join(OUTCOMES)}, not '{outcome}'")
        if outcome == "refused":
            of_file.append(lambda event: event["event"] == "transfer.refused")
        else:
            of_file.append(lambda event: event.get("outcome") == outcome)
    if wishes.path is not None:
        path = _glob(wishes.path)
        of_file.append(lambda event: "path" in event and (path(event["path"] or "") or path(file_name(event))))
    return Choice(tuple(of_session), tuple(of_file))


def _glob(pattern: str) -> Callable[[str], bool]:
    match = re.compile(translate(pattern)).match
    return lambda text: match(text) is not None


def _from(text: str) -> Test:
    networks: list[IPv4Network | IPv6Network] = []
    for one in text.split(","):
        try:
            networks.append(ip_network(one.strip(), strict=False))
        except ValueError:
            raise ChoiceError(f"--client: '{one}' is no address or network, such as 10.0.0.7 or 10.0.0.0/8") from None

    @lru_cache(maxsize=4096)
    def allowed(client: str) -> bool:
        try:
            return is_allowed(client.partition("%")[0], networks)
        except ValueError:
            return False

    return lambda event: len(client := event.get("client", "")) <= _LONGEST_ADDRESS and allowed(client)


_LONGEST_ADDRESS = 64  # with a zone


_AGO = re.compile(r"(\d{1,6})([smhdw])")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _moment(flag: str, text: str, now: datetime) -> str:
    """As it stands in a line: so long ago, or a date and time, in UTC unless it says otherwise."""
    try:
        if (ago := _AGO.fullmatch(text)) is not None:
            found = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            found = datetime.fromisoformat(text)
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if flag == "--until" and _DAY.fullmatch(text):
            found += timedelta(days=1, milliseconds=-1)  # all of that day
    except (ValueError, OverflowError):
        raise ChoiceError(f"{flag}: '{text}' is no time: say 2h (30m, 7d), 2026-01-31 or 2026-01-31T14:00") from None
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
