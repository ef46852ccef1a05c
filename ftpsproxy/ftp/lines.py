"""Bytes of a control connection → lines, for both directions.

A line ends with LF; one CR before it belongs to the ending (RFC 959 wants CRLF, scanners send bare LF). Nothing else is
taken from it: what a line may hold is for commands.py and replies.py to say.
"""

import re

from ftpsproxy.ftp.errors import LineTooLong

IAC = 0xFF
_CR, _LF = 0x0D, 0x0A


class LineReader:
    """Splits a stream into lines, holding at most `limit` bytes of an unfinished one.

    The outcome of a stream does not depend on how it is cut into chunks, and neither does its cost: no byte is looked
    at or moved twice.
    """

    __slots__ = ("_at", "_data", "_dropping", "_limit", "_looked")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._at = 0  # what is before has been taken
        self._looked = 0  # and up to here there is no end of a line
        self._dropping = False

    def feed(self, data: bytes) -> None:
        """Take `data`; the lines in it come out of `pop`."""
        if self._at:
            del self._data[: self._at]
            self._looked -= self._at
            self._at = 0
        self._data += data

    @property
    def pending(self) -> int:
        """Bytes taken that no line has come out of yet."""
        return len(self._data) - self._at

    def pop(self) -> bytes | None:
        """The next line without its ending, or None when there is none yet.

        Raises LineTooLong, once for each such line, as soon as it is known; the reader can be used on.
        """
        data, limit, at = self._data, self._limit, self._at
        if at == len(data):
            return None
        while True:
            end = data.find(b"\n", self._looked)
            if end < 0:
                self._looked = len(data)
                if self._dropping:
                    self._at = len(data)
                # One more byte than the limit may be the CR of the ending.
                elif len(data) - at > limit + 1:
                    self._dropping = True
                    self._at = len(data)
                    raise LineTooLong(f"line of more than {limit} bytes")
                return None
            self._at = self._looked = end + 1
            if self._dropping:
                self._dropping = False
                at = end + 1
                continue
            if end > at and data[end - 1] == _CR:
                end -= 1
            if end - at > limit:
                raise LineTooLong(f"line of more than {limit} bytes")
            return bytes(data[at:end])


# RFC 854: a command of two bytes, one with an option, and an IAC by itself, which may yet become either.
_TELNET = re.compile(rb"(?:\xff[\xfb-\xfe].|\xff[\xf0-\xfa]|\xff(?=[^\xf0-\xfe]))*", re.DOTALL)


class TelnetFilter:
    """Takes Telnet sequences out of what a client sends, where they belong: before a verb (RFC 854; RFC 959 section
    4.1.3 puts them before ABOR, STAT and QUIT).

    All that follows on a line is left as it is: a file name is bytes, and in Windows-125x it holds 0xFF. A lone IAC at
    the start of a line goes as well: it is left over from a Synch whose urgent byte was lost.
    """

    __slots__ = ("_held", "_in_line")

    def __init__(self) -> None:
        self._held = b""
        self._in_line = False

    def feed(self, data: bytes) -> bytes:
        """`data` without Telnet sequences; one that is not yet whole is held back (two bytes at most)."""
        if not self._held and IAC not in data:
            if data:
                self._in_line = data[-1] != _LF
            return data
        data = self._held + data
        self._held = b""
        out = []
        at, size = 0, len(data)
        while at < size:
            if not self._in_line:
                at = _TELNET.match(data, at).end()  # type: ignore[union-attr] # it matches nothing, too
                if at < size and data[at] == IAC:
                    self._held = data[at:]
                    break
                if at == size:
                    break
            # Up to the next line that begins with Telnet: most do not.
            end = data.find(b"\n\xff", at) + 1 or size
            out.append(data[at:end])
            at = end
            self._in_line = data[end - 1] != _LF
        return b"".join(out)
