"""Bytes of a control connection → lines, for both directions.

A line ends with LF; one CR before it belongs to the ending (RFC 959 wants CRLF, scanners send bare LF). Nothing else is
taken from it: what a line may hold is for commands.py and replies.py to say.
"""

from ftpsproxy.ftp.errors import LineTooLong

IAC = 0xFF
_CR, _LF = 0x0D, 0x0A
_WILL, _DONT = 0xFB, 0xFE
_FIRST_TELNET_COMMAND = 0xF0


class LineReader:
    """Splits a stream into lines, holding at most `limit` bytes of an unfinished one.

    The outcome of a stream does not depend on how it is cut into chunks.
    """

    __slots__ = ("_at", "_data", "_dropping", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._at = 0  # what is before has been taken
        self._dropping = False

    def feed(self, data: bytes) -> None:
        """Take `data`; the lines in it come out of `pop`."""
        self._data = self._data[self._at :] + data
        self._at = 0

    @property
    def pending(self) -> int:
        """Bytes taken that no line has come out of yet."""
        return len(self._data) - self._at

    def pop(self) -> bytes | None:
        """The next line without its ending, or None when there is none yet.

        Raises LineTooLong, once for each such line, as soon as it is known; the reader can be used on.
        """
        data, at = self._data, self._at
        while at < len(data):
            end = data.find(b"\n", at)
            if self._dropping:
                self._at = at = len(data) if end < 0 else end + 1
                self._dropping = end < 0
                continue
            if end < 0:
                # One more byte than the limit may be the CR of the ending.
                if len(data) - at > self._limit + 1:
                    self._dropping = True
                    raise LineTooLong(f"line of more than {self._limit} bytes")
                return None
            self._at = end + 1
            if end > at and data[end - 1] == _CR:
                end -= 1
            if end - at > self._limit:
                raise LineTooLong(f"line of more than {self._limit} bytes")
            return data[at:end]
        self._data, self._at = b"", 0
        return None


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
            if self._in_line or data[at] != IAC:
                end = data.find(b"\n", at) + 1
                self._in_line = not end
                end = end or size
                out.append(data[at:end])
                at = end
                continue
            length = 3 if at + 1 < size and _WILL <= data[at + 1] <= _DONT else 2
            if at + length > size:
                self._held = data[at:]
                break
            at += length if _FIRST_TELNET_COMMAND <= data[at + 1] < IAC else 1
        return b"".join(out)
