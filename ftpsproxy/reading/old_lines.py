"""Lines of the version before this one: what they say, by the names of today. Goes when those lines have gone."""

from collections.abc import Callable, Mapping
from typing import Any

from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.fields import ENDINGS

Event = dict[str, Any]

OTHER_REPLY = frozenset({"upstream.reply_ignored", "upstream.session_reuse_refused"})
"""Where `reply` was text."""


def modern(event: Event) -> Event:
    """The event without its old names, which may be all it has."""
    name = event["event"]
    if (old := _OLD.get(name)) is not None:
        pairs, more = old
        for was, now in pairs:
            if was in event:
                value = event.pop(was)
                if now not in event:
                    event[now] = value
        if more is not None:
            more(event)
    return event


def _listeners(event: Event) -> None:
    """`NAME ADDR:PORT -> URL`, as people wrote it."""
    found = []
    for text in event.pop("listeners", ()):
        name, _, rest = text.partition(" ")
        place, _, url = rest.partition(" -> ")
        host, _, port = place.rpartition(":")
        if port.isdecimal() and len(port) <= 5:
            found.append({"listener": name, "address": host.strip("[]"), "port": int(port), "url": url})
    event.setdefault("listening", found)


def _secured(event: Event) -> None:
    host, port, milliseconds = event.pop("host", ""), event.pop("port", 0), event.pop("milliseconds", None)
    if "server" not in event:
        event["server"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if milliseconds is not None:
            event["handshake_seconds"] = milliseconds / 1000


def _closed(event: Event) -> None:
    reason = event.pop("reason", "")
    if "cause" in event:
        return
    words, _, detail = reason.partition(": ")
    cause = {"server": "server_farewell"}.get(words, words.replace(" ", "_"))
    if cause in ENDINGS:
        event["cause"] = cause
        if detail:
            event["detail"] = detail
    else:
        event["cause"], event["detail"] = "stopped", reason


def _finished(event: Event) -> None:
    reason = event.pop("reason", "")
    if event.get("outcome") != "complete":
        event.setdefault("detail", reason)
    elif reason and "remark" not in event:
        event["remark"] = "proved_by_size" if reason == "proved by SIZE" else reason


_DETAIL = (("reason", "detail"),)
_SAID = (("reply", "said"),)
_Old = tuple[tuple[tuple[str, str], ...], Callable[[Event], None] | None]

_OLD: Mapping[str, _Old] = {
    **{
        name: (_DETAIL, None)
        for name, event in EVENTS.items()
        if event.old.keys() == {"reason"} and "detail" in event.always + event.maybe
    },
    "gateway.ready": ((), _listeners),
    "gateway.reloaded": ((), _listeners),
    "gateway.draining": ((("seconds", "drain_seconds"),), None),
    "gateway.log_lost": ((("count", "lost"),), None),
    "session.reply": ((("code", "reply"),), None),
    "session.closed": ((), _closed),
    "upstream.secured": ((("version", "tls_version"), ("address", "server_address")), _secured),
    "upstream.failed": ((("reason", "cause"),), None),
    "upstream.address_ignored": ((("peer", "server_address"),), None),
    "upstream.reply_ignored": ((*_SAID, *_DETAIL), None),
    "upstream.session_reuse_refused": (_SAID, None),
    "data.failed": (_DETAIL, None),
    "data.contested": ((("address", "came_from"),), None),
    "data.stranger": ((("address", "came_from"),), None),
    "transfer.finished": ((), _finished),
}
