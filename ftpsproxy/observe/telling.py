"""How each event reads for people, as a row (rows.py): in the gateway's console, in `ftpsproxy logs`, in the demo.

Fields have the shapes of `fields.py`; any may be missing. What is not known to be plain is quoted, or made prose.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ftpsproxy import errors
from ftpsproxy.observe.rows import Mark, Row, count, duration, prose, quoted, rate, size

Event = Mapping[str, Any]

ARROWS = {"upload": "↑", "download": "↓"}
_DONE = ("STOR", "RETR")  # what the arrow says already
_GOES_ON, _WELL, _BADLY = Mark.SAID, Mark.DONE, Mark.FAILED  # to look one up in an enum takes longer than all else here


def row(event: Event) -> Row:
    """What stands in the line of this event."""
    name = event["event"]
    return _transfer(event) if name in _OF_TRANSFERS else _other(event, _TELLERS.get(name))


def failed(event: Event) -> bool:
    """Whether something was refused, has failed, or did not become whole."""
    name = event["event"]
    if name == "transfer.finished":
        return bool(event.get("outcome") != "complete")
    return not event.get("ok") if name in ("session.login", "file.changed") else name in _FAILURES


def file_name(event: Event) -> str:
    """The whole path of the file, as far as it is known."""
    return joined(event.get("directory"), event.get("path", ""), relative=bool(event.get("directory_relative")))


def joined(directory: str | None, path: str | None, *, relative: bool) -> str:
    """The same, of what stands in an event about a file."""
    path = path or ""
    if not directory or path[:1] in ("/", "'") or (relative and directory == "."):
        return path
    if not path:
        return directory
    return f"{directory}{path}" if directory.endswith("/") else f"{directory}/{path}"


def _time(event: Event) -> str:
    return errors.printable(event.get("timestamp", "")[11:19])


def who(event: Event) -> str:
    """The user, and whose server it is."""
    user, upstream = event.get("user"), event.get("upstream", "")
    if not user:
        return quoted(upstream) if upstream else ""
    return quoted(f"{user}@{upstream}") if upstream else quoted(user)


def client(event: Event) -> str:
    """From where."""
    address = event.get("client", "")
    return quoted(address) if address else ""


# --- transfers ------------------------------------------------------------------------------------------------------


def _transfer(event: Event) -> Row:
    get = event.get
    moved, seconds, outcome, name = get("bytes", 0), get("seconds", 0.0), get("outcome", ""), event["event"]
    over = name == "transfer.finished"
    return Row(
        _time(event),
        _GOES_ON if not over else _WELL if outcome == "complete" else _BADLY,
        _named(event),
        ARROWS.get(get("direction", ""), " "),
        ("", "", "") if name == "transfer.started" else (size(moved), duration(seconds), rate(moved, seconds)),
        who(event),
        tls(event) if over else "",
        client(event),
        _note(event, outcome),
    )


def _named(event: Event) -> str:
    """The file; with the command where the arrow does not say it."""
    verb, path = event.get("verb", ""), file_name(event)
    if verb in _DONE and path:
        return quoted(path)
    return f"{quoted(verb)} {quoted(path)}" if path else quoted(verb)


_VERSIONS = {"TLSv1.2": "TLS 1.2", "TLSv1.3": "TLS 1.3"}


def tls(event: Event) -> str:
    """How the connection is protected."""
    version = event.get("tls_version")
    if not version:
        return "no TLS"
    text = _VERSIONS.get(version) or prose(version)
    return f"{text} resumed" if event.get("resumed") else text


_REMARKS = {
    "client_gone_before_226": "the client left before the 226",
    "ended_in_band": "its end stood in the data",
    "proved_by_size": "proved by its size",
}


def _note(event: Event, outcome: str) -> str:
    offset, remark = event.get("offset"), event.get("remark")
    if outcome == "complete" and not offset and not remark:
        return ""
    parts = [f"from byte {offset}"] if offset else []
    if event["event"] == "transfer.started":
        parts.append("has begun")
    elif event["event"] == "transfer.progress":
        parts.append("goes on")
    elif outcome != "complete":
        parts.append(": ".join(filter(None, (quoted(outcome), prose(event.get("detail", ""))))))
    elif remark:
        parts.append(_REMARKS.get(remark) or prose(remark))
    return ", ".join(parts)


_OF_TRANSFERS = frozenset({"transfer.started", "transfer.progress", "transfer.finished"})

# --- the others -----------------------------------------------------------------------------------------------------

Told = tuple[Mark, str, str]
"""Mark, what has happened, why."""


def _other(event: Event, tell: Callable[[Event], Told] | None) -> Row:
    if tell is None:
        mark, name, note = Mark.SAID, quoted(event["event"]), prose(event.get("detail", ""))
    else:
        mark, name, note = tell(event)
    if left_out := event.get("suppressed"):
        note = f"{note} ({left_out:,} more before this)".strip()
    return Row(_time(event), mark, name, " ", None, who(event), "", client(event), note)


def _detail(mark: Mark, text: str, field: str = "detail") -> Callable[[Event], Told]:
    return lambda event: (mark, text, prose(event.get(field, "")))


def _listening(text: str) -> Callable[[Event], Told]:
    def tell(event: Event) -> Told:
        places = [
            f"{_endpoint(one.get('address', ''), one.get('port', 0))} → {one.get('url', '')}"
            for one in event.get("listening", ())
        ]
        note = ", ".join(places)
        if workers := event.get("workers"):
            note = f"{note}; {count(workers, 'worker')}"
        version = event.get("gateway_version", "")
        return Mark.DONE, f"{text} (version {prose(version)})" if version else text, prose(note)

    return tell


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _draining(event: Event) -> Told:
    there = count(event.get("sessions", 0), "session")
    return Mark.SAID, "draining: no new sessions", f"{there}, {duration(event.get('drain_seconds', 0))} at most"


def _replaced(event: Event) -> Told:
    there = count(event.get("sessions", 0), "session")
    return Mark.SAID, f"process {event.get('pid', '?')} has taken over", f"{there} to end here"


def _worker_lost(event: Event) -> Told:
    status = event.get("status", 0)
    how = f"signal {-status}" if status < 0 else f"exit code {status}"
    return Mark.FAILED, f"worker {event.get('worker', '?')} ended by {how}", prose(event.get("detail", ""))


def _worker_retired(event: Event) -> Told:
    return Mark.FAILED, f"worker {event.get('worker', '?')} is replaced", prose(event.get("detail", ""))


def _crashed(text: str) -> Callable[[Event], Told]:
    return lambda event: (Mark.FAILED, text, prose(f"{event.get('error', '')}: {event.get('detail', '')}"))


def _opened(event: Event) -> Told:
    waited = event.get("waited_seconds")
    return Mark.SAID, "session", f"waited {duration(waited)}" if waited else ""


def _login(event: Event) -> Told:
    if event.get("ok"):
        return Mark.DONE, "login", ""
    return Mark.FAILED, "login refused", f"reply {event.get('reply', '')}"


def _limit(event: Event) -> Told:
    return Mark.ODD, f"limit {quoted(event.get('limit', ''))}", prose(event.get("detail", ""))


def _turned_away(event: Event) -> Told:
    return Mark.FAILED, f"turned away: {quoted(event.get('limit', ''))}", prose(event.get("detail", ""))


def _closed(event: Event) -> Told:
    moved = []
    for arrow, field in (("↑", "bytes_up"), ("↓", "bytes_down")):
        if event.get(field):
            moved.append(f"{arrow} {size(event[field])}")
    torn = event.get("torn", 0)
    parts = [_cause(event), count(event.get("transfers", 0), "transfer"), *([f"{torn:,} torn"] if torn else []), *moved]
    mark = Mark.FAILED if torn else Mark.SAID
    return mark, f"session over after {duration(event.get('seconds', 0))}", ", ".join(parts)


def _cause(event: Event) -> str:
    words, detail = prose(event.get("cause", "").replace("_", " ")), prose(event.get("detail", ""))
    return f"{words}: {detail}" if words and detail else words or detail


def _unused(event: Event) -> Told:
    return Mark.SAID, "came and left", _cause(event)


def _command_refused(event: Event) -> Told:
    verb = event.get("verb", "")
    return (
        Mark.ODD,
        f"{quoted(verb)} refused here" if verb else "a line that is no command",
        prose(event.get("detail", "")),
    )


def _secured(event: Event) -> Told:
    by = event.get("verified_by", "")
    parts = [tls(event), f"verified by {'its pin' if by == 'pin' else 'its issuer'}" if by else ""]
    if (days := event.get("days_left")) is not None:
        parts.append(f"{days} days left")
    return Mark.DONE, f"server {quoted(event.get('server', ''))}", ", ".join(filter(None, parts))


def _upstream_failed(event: Event) -> Told:
    return Mark.FAILED, f"no session: {quoted(event.get('cause', ''))}", prose(event.get("detail", ""))


def _expiring(event: Event) -> Told:
    return Mark.ODD, f"certificate: {event.get('days_left', '?')} days left", prose(event.get("subject", ""))


def _data_failed(event: Event) -> Told:
    what = f"data connection of the {quoted(event.get('side', ''))}: {quoted(event.get('cause', ''))}"
    return Mark.FAILED, what, prose(event.get("detail", ""))


def _came(text: str) -> Callable[[Event], Told]:
    return lambda event: (
        Mark.ODD,
        f"{text} port {event.get('port', '?')}",
        f"from {quoted(event.get('came_from', ''))}",
    )


def _transfer_refused(event: Event) -> Told:
    said = f"{event.get('reply', '')} {event.get('text', '')}"
    return Mark.FAILED, f"refused {_with_verb(event)}", prose(said)


def _with_verb(event: Event) -> str:
    path = file_name(event)
    return f"{quoted(event.get('verb', ''))} {quoted(path)}" if path else quoted(event.get("verb", ""))


_ACTIONS = {
    "deleted": "deleted",
    "renamed": "renamed",
    "directory_made": "made directory",
    "directory_removed": "removed directory",
    "mode": "changed mode of",
    "time": "changed time of",
}


def _file_changed(event: Event) -> Told:
    name = f"{_ACTIONS.get(event.get('action', ''), quoted(event.get('verb', '')))} {quoted(file_name(event))}"
    if to := event.get("to"):
        name = f"{name} → {quoted(to)}"
    ok = event.get("ok")
    if ok:
        return Mark.DONE, name, ""
    return (
        Mark.FAILED,
        f"not {name}",
        f"reply {event.get('reply', '')}" if ok is False else "no answer: it may be done",
    )


def _reply_ignored(event: Event) -> Told:
    return Mark.ODD, f"reply not passed on: {quoted(event.get('said', ''))}", prose(event.get("detail", ""))


def _address_ignored(event: Event) -> Told:
    return Mark.SAID, f"passive address {quoted(event.get('reply_host', ''))} not used", ""


def _command(event: Event) -> Told:
    return Mark.SAID, f"> {quoted(event.get('verb', ''))} {quoted(event.get('argument', ''))}", ""


def _reply(event: Event) -> Told:
    return Mark.SAID, f"< {event.get('reply', '')} {quoted(event.get('text', ''))}", ""


_TELLERS: Mapping[str, Callable[[Event], Told]] = {
    "gateway.ready": _listening("ready"),
    "gateway.reloaded": _listening("settings read again"),
    "gateway.reload_failed": _detail(Mark.FAILED, "settings not taken, the ones before stay"),
    "gateway.replaced": _replaced,
    "gateway.replace_failed": _detail(Mark.FAILED, "not replaced, all stays as it was"),
    "gateway.draining": _draining,
    "gateway.stopped": lambda event: (Mark.SAID, f"stopped after {duration(event.get('seconds', 0))}", ""),
    "gateway.starved": _detail(Mark.FAILED, "clients wait unheard"),
    "gateway.worker_lost": _worker_lost,
    "gateway.worker_retired": _worker_retired,
    "gateway.log_lost": lambda event: (Mark.FAILED, f"{count(event.get('lost', 0), 'line')} of the log lost", ""),
    "gateway.log_failing": lambda event: (
        Mark.FAILED,
        f"the log has trouble with {quoted(event.get('output', ''))}",
        prose(event.get("detail", "")),
    ),
    "gateway.log_restored": lambda event: (
        Mark.DONE,
        f"the log is well again at {quoted(event.get('output', ''))}",
        f"{count(event.get('lost', 0), 'line')} lost",
    ),
    "gateway.chain_begun": lambda event: (Mark.SAID, f"the chain of process {event.get('pid', '')} begins", ""),
    "gateway.chain_forked": lambda event: (Mark.SAID, f"process {event.get('pid', '')} has a chain of its own", ""),
    "gateway.chain_ended": lambda _: (Mark.SAID, "the chain of this process ends", ""),
    "gateway.crashed": _crashed("a mistake of the gateway's"),
    "session.queued": lambda event: (Mark.SAID, "waits for a place", f"{event.get('ahead', 0):,} before it"),
    "session.refused": _turned_away,
    "session.opened": _opened,
    "session.login": _login,
    "session.command": _command,
    "session.reply": _reply,
    "session.name_not_utf8": lambda event: (
        Mark.ODD,
        f"{quoted(event.get('path', ''))} is not UTF-8",
        "the server's are",
    ),
    "session.names_left_out": lambda event: (
        Mark.ODD,
        f"{count(event.get('count', 0), 'name')} left out of a listing",
        "not in the client's charset",
    ),
    "session.limit": _limit,
    "session.foreign": lambda event: (Mark.FAILED, f"speaks {quoted(event.get('protocol', ''))}, not FTP", ""),
    "session.closed": _closed,
    "session.unused": _unused,
    "session.crashed": _crashed("a mistake of the gateway's in this session"),
    "command.refused": _command_refused,
    "upstream.secured": _secured,
    "upstream.failed": _upstream_failed,
    "upstream.certificate_expiring": _expiring,
    "upstream.address_ignored": _address_ignored,
    "upstream.reply_ignored": _reply_ignored,
    "upstream.session_reuse_refused": _detail(Mark.FAILED, "the server missed its TLS session", "said"),
    "upstream.close_notify_missing": lambda event: (
        Mark.ODD,
        f"{quoted(event.get('verb', ''))} without close_notify",
        "taken for whole",
    ),
    "data.failed": _data_failed,
    "data.contested": _came("a second connection came to"),
    "data.source_port_taken": _detail(Mark.ODD, "not from active_source_port", "detail"),
    "data.stranger": _came("a stranger came to"),
    "transfer.refused": _transfer_refused,
    "file.changed": _file_changed,
}
_FAILURES = frozenset(_TELLERS) - {
    *("gateway.ready", "gateway.reloaded", "gateway.replaced", "gateway.draining", "gateway.stopped"),
    *("gateway.chain_begun", "gateway.chain_forked", "gateway.chain_ended", "gateway.log_restored"),
    *("session.queued", "session.opened", "session.command", "session.reply", "session.closed", "session.unused"),
    *("upstream.secured", "upstream.address_ignored"),
}
