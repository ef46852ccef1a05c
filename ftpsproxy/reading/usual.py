"""The usual line of a long log: a file that has become whole, in the view of transfers, for a pipe.

Most lines are such, and what makes a row of any event takes several times as long. What is the least unusual, a name
that needs quotes, a note, an old name of a field, is left to that; where both can do it they say the same.
"""

from functools import lru_cache
from typing import Literal

import msgspec

from ftpsproxy.observe import rows, telling
from ftpsproxy.reading.decoding import Counts
from ftpsproxy.reading.sessions import Sessions
from ftpsproxy.reading.totals import Totals

_BEGIN = b'"level":"info","event":"transfer.finished",'
_BEGINS_AT = len('{"timestamp":"2026-11-28T10:00:00.000Z",')
_LONGEST_KEY, _LONGEST = 64, 100  # characters: what is longer is not kept
_MOST = 2**63


class _Line(msgspec.Struct, gc=False):
    """What is shown of it, and no more is looked at. Another type, or a word that is not in a list, is not usual."""

    timestamp: str
    event: Literal["transfer.finished"]
    session: str
    client: str
    upstream: str
    verb: Literal["STOR", "RETR"]
    path: str
    direction: Literal["upload", "download"]
    bytes: int
    seconds: float
    outcome: Literal["complete"]
    user: str
    server: str
    directory: str | None
    tls_version: Literal["TLSv1.2", "TLSv1.3"]
    resumed: bool
    directory_relative: bool = False
    offset: int = 0
    remark: str = ""
    reason: str = ""


_decode = msgspec.json.Decoder(_Line).decode


class Usual:
    """Counts as the others do."""

    def __init__(self, counts: Counts, sessions: Sessions, totals: Totals) -> None:
        self._counts = counts
        self._sessions = sessions
        self._totals = totals

    def text(self, line: bytes, day: str) -> str | None:
        """What is shown of it, on the day that was said last; None: see what it is by other means."""
        if not line.startswith(_BEGIN, _BEGINS_AT):
            return None
        try:
            found = _decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        stamp, user, upstream, client = found.timestamp, found.user, found.upstream, found.client
        if found.offset or found.remark or found.reason or stamp[:10] != day or len(stamp) != 24 or stamp[-1] != "Z":
            return None
        if len(user) > _LONGEST or len(upstream) > _LONGEST or len(client) > _LONGEST or not found.path:
            return None
        time, moved = stamp[11:19], found.bytes
        name = telling.joined(found.directory, found.path, relative=found.directory_relative)
        columns = _columns(user, upstream, client, found.tls_version, found.resumed)
        if columns is None or not (rows.bare(name) and time.isascii() and time.isprintable()):
            return None
        if not -_MOST < moved < _MOST or len(found.session) > _LONGEST_KEY or not self._sessions.whole(found.session):
            return None
        self._counts.lines += 1
        self._totals.add_whole(stamp, found.direction, moved)
        return rows.usual(time, telling.ARROWS[found.direction], name, moved, found.seconds) + columns


@lru_cache(maxsize=4096)
def _columns(user: str, upstream: str, client: str, tls_version: str, resumed: bool) -> str | None:
    """Nearly every line has what another one had."""
    event = {"user": user, "upstream": upstream, "client": client, "tls_version": tls_version, "resumed": resumed}
    return rows.usual_columns(telling.who(event), telling.tls(event), telling.client(event))
