"""Replies: reading the server's, writing our own (RFC 959 section 4.2)."""

from dataclasses import dataclass

from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.lines import LineReader


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its code (100 to 599) and its lines as they stood, without their endings."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def preliminary(self) -> bool:
        """1xx: another reply follows."""
        return self.code < 200

    @property
    def good(self) -> bool:
        """2xx: done, and well."""
        return 200 <= self.code < 300

    @property
    def refused(self) -> bool:
        """4xx or 5xx."""
        return self.code >= 400

    @property
    def text(self) -> str:
        """The words of the last line, for logs and messages."""
        return self.lines[-1][4:].decode("utf-8", "backslashreplace")

    @property
    def words(self) -> bytes:
        """All lines in one, without the code of the first: where addresses and reasons are looked for."""
        return b"\n".join((self.lines[0][4:], *self.lines[1:]))

    def encode(self) -> bytes:
        """The reply as it goes over the wire."""
        return b"\r\n".join(self.lines) + b"\r\n"


_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))


def own(code: int, text: str) -> Reply:
    """A one-line reply of our own; what is not printable ASCII in `text` is escaped."""
    return Reply(code, (b"%d %s" % (code, text.encode("ascii", "backslashreplace").translate(_PRINTABLE)),))


def _code(line: bytes) -> int | None:
    return int(line[:3]) if len(line) >= 3 and line[:3].isdigit() and 0x31 <= line[0] <= 0x35 else None


class ReplyReader:
    """The server's bytes → replies, bounded in bytes and lines.

    A reply of several lines ends with a line of the same code that is followed by a space, or by nothing (z/OS);
    lines between may hold anything, other codes too.
    """

    __slots__ = ("_bytes", "_first", "_lines", "_max_bytes", "_max_lines", "_reader")

    def __init__(self, *, max_line: int, max_bytes: int, max_lines: int) -> None:
        self._reader = LineReader(max_line)
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._lines: list[bytes] = []
        self._bytes = 0
        self._first = b""

    def feed(self, data: bytes) -> None:
        """Take `data`; the replies in it come out of `pop`."""
        self._reader.feed(data)

    @property
    def pending(self) -> bool:
        """Whether bytes were taken that belong to no reply that has come out."""
        return bool(self._lines) or self._reader.pending > 0

    def pop(self) -> Reply | None:
        """The next whole reply, or None. Raises ProtocolError for what is no FTP reply; the connection is then lost."""
        while (line := self._reader.pop()) is not None:
            if b"\r" in line or b"\0" in line:
                # A client that takes a lone CR for the end of a line would see a reply the server never gave.
                line = line.replace(b"\r", b" ").replace(b"\0", b" ")
            self._bytes += len(line) + 2
            if self._bytes > self._max_bytes or len(self._lines) >= self._max_lines:
                raise ProtocolError(f"reply of more than {self._max_bytes} bytes or {self._max_lines} lines")
            if not self._lines:
                if not line:
                    self._bytes = 0
                    continue
                code = _code(line)
                if code is None or line[3:4] not in (b" ", b"-", b""):
                    raise ProtocolError("no FTP reply: " + line[:80].decode("ascii", "backslashreplace"))
                if line[3:4] != b"-":
                    self._bytes = 0
                    return Reply(code, (line,))
                self._first = line[:3]
                self._lines.append(line)
                continue
            self._lines.append(line)
            if line[:3] == self._first and line[3:4] in (b" ", b""):
                lines, self._lines, self._bytes = tuple(self._lines), [], 0
                return Reply(int(self._first), lines)
        return None
