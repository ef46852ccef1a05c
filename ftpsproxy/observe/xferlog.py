"""A transfer as wu-ftpd has written it, and ProFTPD and vsftpd do: for programs that read `xferlog`, and nobody else.

    Sat Jan 31 22:28:50 2026 3 10.0.0.7 300000 /daily/scan.pdf b _ i r tester ftp 0 * c

The time is local, and that of its end. Listings and other events have no line.
"""

import time
from collections.abc import Mapping
from typing import Any

from ftpsproxy.observe import telling

EVENTS = frozenset({"transfer.finished"})
"""Those that may have a line."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_INCOMING = frozenset({"STOR", "STOU", "APPE"})
_OF_FILES = frozenset({"RETR", *_INCOMING})
_ANONYMOUS = frozenset({"anonymous", "ftp"})
_TEXT = frozenset({"A", "E"})


def line(event: Mapping[str, Any], seconds: float) -> str:
    """The line of a transfer that has ended, at `seconds` since 1970; of any other event none: empty."""
    if event["event"] not in EVENTS or event["verb"] not in _OF_FILES:
        return ""
    now = time.localtime(seconds)
    user = event.get("user") or ""
    return " ".join(
        (
            f"{_DAYS[now.tm_wday]} {_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} "
            f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} {now.tm_year}",
            str(max(1, round(event["seconds"]))),  # readers divide by it
            _word(event.get("client", "")),
            str(event["bytes"]),
            _word(telling.file_name(event)),
            "a" if event.get("type") in _TEXT else "b",
            "_",  # nothing was compressed or packed
            "i" if event["verb"] in _INCOMING else "o",
            "a" if user.lower() in _ANONYMOUS else "r",
            _word(user),
            "ftp",
            "0",  # nobody has vouched for the user but the server
            "*",
            "c" if event["outcome"] == "complete" else "i",
        )
    )


def _word(text: str) -> str:
    """As those servers write it: an underscore for each blank and each character that does not print."""
    return "".join(char if char.isprintable() and char != " " else "_" for char in text) or "_"
