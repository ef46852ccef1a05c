"""An event as an entry of systemd's journal, in its native protocol.

`MESSAGE` is what a person reads; each field of the event is one of the entry, in capitals, behind `FTPSPROXY_`.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from ftpsproxy.observe import rows, syslog, telling

_MOST_BYTES = 65536  # of a value: more is cut
_CUT = " …".encode()
_TIME = len("22:28:50 ")
_LENGTH = struct.Struct("<Q")


def entry(event: Mapping[str, Any], old: Mapping[str, object], identifier: str, word: Callable[[object], str]) -> bytes:
    """The datagram. Fields of `old` names are left out; `word` makes text of a value that is none."""
    fields = {
        "MESSAGE": rows.shown(telling.row(event))[_TIME:],
        "PRIORITY": str(syslog.SEVERITIES[event["level"]]),
        "SYSLOG_IDENTIFIER": identifier,
    }
    for name, value in event.items():
        if name not in old and value is not None:
            fields[f"FTPSPROXY_{name.upper()}"] = value if isinstance(value, str) else word(value)
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if len(data) > _MOST_BYTES:
        data = data[: _MOST_BYTES - len(_CUT)].decode("utf-8", "ignore").encode() + _CUT
    if b"\n" in data:
        return name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
