"""What stands before a line for syslog (RFC 5424), and how long one may be.

The event itself is the message, in the format asked for, and there is no structured data: that would need a number of
ours from IANA for its name, has no types, and each daemon passes it on in a way of its own, while every one keeps a
message as it is.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
"""RFC 5424 section 6.2.1, by the usual names, in the order of their numbers."""
SEVERITIES: Mapping[str, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3}
LONGEST_HEAD = 384

_SHORTEST_TEXT, _LONGEST_TEXT = 16, 4096
_MISSING = "…"
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def head(facility: str, app_name: str) -> Callable[[str, str, str], bytes]:
    """Makes what stands before a line, of its timestamp, level and event."""
    number = FACILITIES.index(facility) * 8

    def made(timestamp: str, level: str, event: str) -> bytes:
        host = "".join(char for char in socket.gethostname() if "!" <= char <= "~")[:255] or "-"
        return f"<{number + SEVERITIES[level]}>1 {timestamp} {host} {app_name} {os.getpid()} {event[:32]} - ".encode()

    return made


def bounded(line: str, most: int) -> str:
    """The line in `most` bytes: of JSON the longest texts are cut, so that it stays JSON."""
    if len(line) <= most and (line.isascii() or len(line.encode("utf-8", "backslashreplace")) <= most):
        return line
    if line.startswith("{"):
        fields: dict[str, Any] = json.loads(line)
        longest = _LONGEST_TEXT
        while longest >= _SHORTEST_TEXT:
            shorter = _encode({name: _cut(value, longest) for name, value in fields.items()})
            if len(shorter) <= most:
                return shorter
            longest //= 2
    room = most - len(_MISSING.encode())
    return line.encode("utf-8", "backslashreplace")[:room].decode("utf-8", "ignore") + _MISSING


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str) and len(value) > longest:
        return value[: longest - 1] + _MISSING
    if isinstance(value, list):
        return [_cut(one, longest) for one in value[: max(1, longest // 16)]]
    if isinstance(value, dict):
        return {name: _cut(one, longest) for name, one in value.items()}
    return value
