"""The report, as a document, of what was gathered; and the parts that a statement has, too."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ftpsproxy.observe import telling
from ftpsproxy.observe.rows import count, duration, prose, rate, size
from ftpsproxy.reading.decoding import Counts
from ftpsproxy.reading.report.document import Bar, Document, Figure, Section, Table, Tone
from ftpsproxy.reading.report.gathering import Certificate, Gathered, Number, Reason
from ftpsproxy.reading.report.tallies import Key, Sums, Tally, short
from ftpsproxy.reading.totals import told

_MOST_ROWS = 50
_MOST_BARS = 72
_SOON_DAYS = 30
_VERSIONS = {"TLSv1.2": "TLS 1.2", "TLSv1.3": "TLS 1.3", "": "none"}


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: the lines, sessions that had to be forgotten, what could not be read to its end, from when to when
    it was asked for, and when that was."""

    counts: Counts
    forgotten: int
    faults: tuple[str, ...]
    window: str
    now: datetime


def report(gathered: Gathered, read: Read) -> Document:
    """What there was, and what went wrong."""
    sums, failed = gathered.all, _failures(gathered)
    whole = sums.files
    if sums.broken or sums.refused:
        parts = [f"{count(whole, 'file')} became whole"]
        parts += [
            f"{sums.broken:,} did not" if sums.broken else "",
            f"{sums.refused:,} {'was' if sums.refused == 1 else 'were'} refused" if sums.refused else "",
        ]
        verdict, tone = "; ".join(filter(None, parts)), Tone.BAD if sums.broken else Tone.ODD
    elif whole:
        verdict, tone = f"{count(whole, 'file')}, and all became whole", Tone.GOOD
    else:
        verdict, tone = "no file was transferred", Tone.ODD
    lacks = gaps(gathered, read)
    if lacks and tone is Tone.GOOD:
        tone = Tone.ODD
    sections = [
        Section("What this report lacks", tuple(lacks), tone=Tone.ODD) if lacks else None,
        _hours(gathered),
        *failed,
        _sums("Servers", ("upstream", "server"), gathered.upstreams),
        _sums("Users", ("user",), gathered.users),
        _sums("Clients", ("client",), gathered.clients),
        certificates(gathered, read.now),
        _tls(gathered),
        _slowest(gathered),
    ]
    return Document(
        "Report of file transfers",
        about(gathered, read),
        f"{verdict}.",
        tone,
        _figures(gathered),
        tuple(section for section in sections if section is not None),
    )


# --- parts of both --------------------------------------------------------------------------------------------------


def about(gathered: Gathered, read: Read) -> tuple[str, ...]:
    """Of what time it is, of which gateways, and when it was made."""
    found = []
    if gathered.first:
        found.append(f"{_moment(gathered.first)} to {_moment(gathered.last)} UTC")
    if read.window:
        found.append(f"asked for: {short(read.window)}")
    found += [f"gateway {host}, ftpsproxy {version}" for (host, version), _ in gathered.gateways.items()[:3]]
    if len(gathered.gateways) > 3:
        found.append(f"and {len(gathered.gateways) - 3} more gateways or versions")
    found.append(f"{count(read.counts.lines, 'line')} of log read, {read.now:%Y-%m-%d %H:%M} UTC")
    return tuple(found)


def _moment(stamp: str) -> str:
    return short(f"{stamp[:10]} {stamp[11:19]}")


def gaps(gathered: Gathered, read: Read) -> list[str]:
    """What is known to be missing, in words."""
    found = [f"could not be read to its end: {short(fault, 400)}" for fault in read.faults]
    found += told(read.counts, read.forgotten)
    if gathered.lost:
        found.append(f"{count(gathered.lost, 'line')} could not be written by the gateway, as it says itself")
    if gathered.suppressed:
        found.append(
            f"{count(gathered.suppressed, 'line')} of failures were left out by the gateway, as there were too many"
        )
    return found


def _figures(gathered: Gathered) -> tuple[Figure, ...]:
    sums, events = gathered.all, gathered.events
    broken = gathered.outcomes["aborted"]
    torn = sums.broken - broken
    return (
        Figure(f"{sums.files:,}", "files whole"),
        Figure(f"{torn:,}", "torn", Tone.BAD if torn else Tone.GOOD),
        Figure(f"{broken:,}", "aborted", Tone.ODD if broken else Tone.GOOD),
        Figure(f"{sums.refused:,}", "refused", Tone.ODD if sums.refused else Tone.GOOD),
        Figure(size(sums.up), "up"),
        Figure(size(sums.down), "down"),
        Figure(_names(gathered.users), "users"),
        Figure(_names(gathered.clients), "clients"),
        Figure(f"{events['session.opened']:,}", "sessions"),
        Figure(f"{events['login refused']:,}", "logins refused", Tone.ODD if events["login refused"] else Tone.GOOD),
        Figure(f"{events['upstream.failed']:,}", "no session", Tone.BAD if events["upstream.failed"] else Tone.GOOD),
        Figure(f"{events['changed']:,}", "files changed"),
    )


def _names(tally: Tally[Sums]) -> str:
    known = len([None for (name,), _ in tally.items() if name != "(nobody)"])
    return f"{known:,}" if tally.others is None else f"over {known:,}"


def _sums(title: str, names: tuple[str, ...], tally: Tally[Sums]) -> Section | None:
    found = sorted(tally.items(), key=lambda item: (-item[1].files - item[1].broken, item[0]))
    if not found:
        return None
    rows = [(*key, *_numbers(sums)) for key, sums in found[:_MOST_ROWS]]
    rest = Sums()
    for _, sums in found[_MOST_ROWS:]:
        rest.add(sums)
    left = len(found) - len(rows)
    note = ""
    if left or tally.others is not None:
        if tally.others is not None:
            rest.add(tally.others)
        more = f"more than {left:,}" if tally.others is not None else f"{left:,}"
        rows.append((f"({more} others)", *("",) * (len(names) - 1), *_numbers(rest)))
        if tally.others is not None:
            note = f"Only the first {len(found):,} names are told apart; the others are counted together."
    first = len(names)
    return Section(
        title,
        table=Table((*names, *_COLUMNS), tuple(rows), frozenset(range(first, first + len(_COLUMNS))), note),
    )


_COLUMNS = ("files", "listings", "not whole", "refused", "up", "down")


def _numbers(sums: Sums) -> tuple[str, ...]:
    numbers = (sums.files, sums.listings, sums.broken, sums.refused)
    return (
        *(f"{number:,}" if number else "–" for number in numbers),
        *(size(one) if one else "–" for one in (sums.up, sums.down)),
    )


# --- when -----------------------------------------------------------------------------------------------------------


def _hours(gathered: Gathered) -> Section | None:
    """The whole time in so many bars at most, each of some hours or days."""
    if not gathered.hours:
        return None
    first, last = min(gathered.hours), max(gathered.hours)
    span = (last - first) // timedelta(hours=1) + 1
    hours = next((one for one in _STEPS if span <= one * _MOST_BARS), -(-span // _MOST_BARS))
    if hours % 24 == 0:
        first = first.replace(hour=0)
    step, number = timedelta(hours=hours), (last - first) // timedelta(hours=hours) + 1
    found = [Sums() for _ in range(number)]
    for hour, sums in gathered.hours.items():
        found[(hour - first) // step].add(sums)
    shape = "%Y-%m-%d" if hours % 24 == 0 else "%Y-%m-%d %H:00"
    bars = tuple(Bar(f"{first + step * at:{shape}}", sums.files, sums.broken) for at, sums in enumerate(found))
    each = (
        "hour" if hours == 1 else "day" if hours == 24 else f"{hours} hours" if hours % 24 else f"{hours // 24:,} days"
    )
    left = gathered.hours_left_out
    text = (f"{count(left, 'transfer')} at times that are none, or too many, stand in no bar.",) if left else ()
    return Section("When", text, bars=bars, each=each)


_STEPS = (1, 2, 4, 6, 12, 24, 48, 7 * 24)


# --- what went wrong ------------------------------------------------------------------------------------------------


def _failures(gathered: Gathered) -> list[Section]:
    found = sorted(gathered.reasons.items(), key=lambda item: -item[1].count)
    sections = []
    for (why, do), one in found:
        text = (f"What to do: {prose(do)}.",) if do else ()
        sections.append(reason(f"{count(one.count, 'time')}: {prose(why)}", text, one, Tone.ODD))
    if (others := gathered.reasons.others) is not None:
        sections.append(reason(f"{count(others.count, 'time')}: for other reasons", (), others, Tone.ODD))
    return sections


def reason(title: str, text: tuple[str, ...], reason: Reason, tone: Tone) -> Section:
    """One reason, and each thing that is kept of it."""
    rows = tuple((_moment(one.stamp), one.what, one.said, one.who, one.client) for one in reason.things)
    left = reason.count - len(rows)
    note = f"And {left:,} more, which ftpsproxy logs --failures shows." if left else ""
    return Section(title, text, Table(("when (UTC)", "what", "said", "who", "client"), rows, note=note), tone=tone)


# --- TLS ------------------------------------------------------------------------------------------------------------


def certificates(gathered: Gathered, now: datetime) -> Section | None:
    """Those that were verified, and how long each still lasts."""
    found = sorted(gathered.certificates.items(), key=lambda item: item[1].last, reverse=True)
    if not found:
        return None
    rows = tuple(_certificate(key, one, now) for key, one in found[:_MOST_ROWS])
    soon = any(_days(one, now) is not None and (_days(one, now) or 0) < _SOON_DAYS for _, one in found)
    left = len(found) - len(rows)
    more = gathered.certificates.others is not None
    note = f"And {'more than ' if more else ''}{left:,} more." if left or more else ""
    head = ("server", "verified by", "subject", "days left", "sessions", "last seen (UTC)", "SHA-256")
    text = (f"Some expire within {_SOON_DAYS} days: tell the partner.",) if soon else ()
    return Section(
        "Certificates", text, Table(head, rows, frozenset({3, 4}), note), tone=Tone.ODD if soon else Tone.GOOD
    )


def _days(one: Certificate, now: datetime) -> int | None:
    return (one.until - now).days if one.until is not None else None


def _certificate(key: Key, one: Certificate, now: datetime) -> tuple[str, ...]:
    digest, server, by = key
    days = _days(one, now)
    left = "not known" if days is None else "expired" if days < 0 else f"{days:,}"
    return server, by, one.subject, left, f"{one.sessions:,}", _moment(one.last), digest


def _tls(gathered: Gathered) -> Section | None:
    rows = [
        ("control", _version(version), cipher, "", f"{number.count:,}")
        for (version, cipher), number in gathered.control_tls.items()
    ]
    rows += [
        (
            "data",
            _version(version),
            "",
            {"True": "resumed", "False": "not resumed"}.get(resumed, ""),
            f"{number.count:,}",
        )
        for (version, resumed), number in gathered.data_tls.items()
    ]
    if not rows:
        return None
    resumed = sum(number.count for (_, how), number in gathered.data_tls.items() if how == "True")
    all_of_data = _all(number for _, number in gathered.data_tls.items())
    text = (
        f"{resumed:,} of {count(all_of_data, 'data connection')} resumed the TLS session of their control connection."
    )
    left = _all(one for one in (gathered.control_tls.others, gathered.data_tls.others) if one is not None)
    note = f"And {left:,} of other kinds." if left else ""
    head = ("connection", "version", "cipher", "session", "how many")
    return Section("TLS", (text,), Table(head, tuple(rows), frozenset({4}), note))


def _version(text: str) -> str:
    return _VERSIONS.get(text, text)


def _all(numbers: Iterable[Number]) -> int:
    return sum(number.count for number in numbers)


def _slowest(gathered: Gathered) -> Section | None:
    rows = []
    for _, _, event in sorted(gathered.slowest, key=lambda one: -one[0]):
        row = telling.row({**event, "timestamp": event["timestamp"]})
        moved, seconds = event.get("bytes", 0), event["seconds"]
        rows.append(
            (
                _moment(event["timestamp"]),
                f"{row.arrow} {short(row.name)}",
                size(moved),
                duration(seconds),
                rate(moved, seconds),
                short(row.who),
                short(row.client),
            )
        )
    if not rows:
        return None
    head = ("when (UTC)", "file", "bytes", "time", "rate", "who", "client")
    return Section(
        "Slowest transfers",
        ("Of those that lasted a second or longer.",),
        Table(head, tuple(rows), frozenset({2, 3, 4})),
    )
