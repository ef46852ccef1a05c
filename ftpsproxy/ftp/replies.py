"""Replies: reading the server's, writing our own (RFC 959 section 4.2)."""

import re
from dataclasses import dataclass

from ftpsproxy.ftp.errors import ForeignProtocol, ProtocolError
from ftpsproxy.ftp.foreign import protocol_of
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
        """The words of the last line, for logs and messages.

        A line may have a megabyte: to escape it, strike secrets out and quote it took half a second of everybody's
        time.
        """
        return _cut(self.lines[-1][4:], _MOST_SHOWN)

    @property
    def words(self) -> bytes:
        """All lines in one, without the code of the first: where addresses and reasons are looked for."""
        return b"\n".join((self.lines[0][4:], *self.lines[1:]))

    def encode(self) -> bytes:
        """The reply as it goes over the wire."""
        return b"\r\n".join(self.lines) + b"\r\n"


_LONGEST_OWN = 480  # many clients read lines into 512 bytes
# Bytes of a line.
_MOST_SHOWN = 1000
_MOST_OF_TEXT = 80
# Outside replies, in a row. An empty line now and then keeps a connection alive.
_MOST_TEXT_LINES = 100
_MOST_EMPTY_LINES = 10_000
_MOST_TOLD = 5
_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))


def own(code: int, text: str) -> Reply:
    """A one-line reply of our own; what is not printable ASCII in `text` is escaped, and what is too long for clients
    is cut."""
    said = text.encode("ascii", "backslashreplace").translate(_PRINTABLE)
    return Reply(code, (b"%d %s" % (code, said[:_LONGEST_OWN]),))


def _cut(words: bytes, most: int) -> str:
    """So many bytes of what a server says at most. It is cut at a blank: half a secret would not be struck out."""
    if len(words) <= most:
        return words.decode("utf-8", "backslashreplace")
    cut = words[: most + 1].rpartition(b" ")[0].decode("utf-8", "backslashreplace")
    return f"{cut} ... ({len(words)} bytes)".lstrip()


def _code(line: bytes) -> int | None:
    """The code a line begins with; None where it begins with none, or with a longer number."""
    if len(line) < 3 or not line[:3].isdigit() or not 0x31 <= line[0] <= 0x35 or line[3:4].isdigit():
        return None
    return int(line[:3])


# What stands before a code here and there: an ending written the other way round, Telnet, the mark of UTF-8 that .NET
# writes. Not a blank: RFC 959 has a server put one before what is no code.
_BEFORE = re.compile(rb"(?:[\r\0]|\xef\xbb\xbf|\xff[\xfb-\xfe].|\xff[\xf0-\xfa])*", re.DOTALL)
_ADDRESSES = (b"227", b"228", b"229")


class ReplyReader:
    """The server's bytes → replies, bounded in bytes and lines.

    A reply of several lines ends with a line of the same code that is followed by a space, or by nothing (z/OS);
    lines between may hold anything, other codes too. Lenient where nothing is at stake: text outside a reply is passed
    over (`passed_over`; old servers print notices), and what stands behind a code need not be a blank.
    """

    __slots__ = ("_bytes", "_fresh", "_lines", "_max_bytes", "_max_lines", "_reader", "_text", "passed_over")

    def __init__(self, *, max_line: int, max_bytes: int, max_lines: int) -> None:
        self._reader = LineReader(max_line)
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._lines: list[bytes] = []
        self._fresh = 0
        self._bytes = 0
        self._text = 0
        self.passed_over: list[str] = []

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
            if not self._lines and not line[:1].isdigit():
                if protocol_of(line) == "TLS":
                    raise ForeignProtocol("TLS", "TLS where a reply should be")
                line = line[_BEFORE.match(line).end() :]  # type: ignore[union-attr] # it matches nothing, too
            if b"\r" in line or b"\0" in line:
                # A client that takes a lone CR for the end of a line would see a reply the server never gave.
                line = line.replace(b"\r", b" ").replace(b"\0", b" ")
            self._bytes += len(line) + 2
            if self._bytes > self._max_bytes or len(self._lines) >= self._max_lines:
                raise ProtocolError(f"reply of more than {self._max_bytes} bytes or {self._max_lines} lines")
            if self._lines:
                if (reply := self._go_on(line)) is not None:
                    return reply
            elif (code := _code(line)) is None:
                self._pass_over(line)
            elif line[3:4] == b"-":
                self._text = 0
                self._lines.append(line)
            else:
                self._text = self._bytes = 0
                if line[3:4] not in (b" ", b""):
                    line = line[:3] + b" " + line[3:]
                return Reply(code, (line,))
        return None

    def _go_on(self, line: bytes) -> Reply | None:
        """A further line of a reply → the reply, if it is the last."""
        first = self._lines[0][:3]
        if line[:3] != first and line.startswith(_ADDRESSES):
            line = b" " + line  # RFC 959 section 4.2 has the server do so; a client must not take it for a reply
        self._lines.append(line)
        if line[:3] != first or line[3:4] not in (b" ", b"\t", b""):
            return None
        return self._over(int(first))

    def _over(self, code: int) -> Reply:
        lines, self._lines, self._bytes, self._fresh = tuple(self._lines), [], 0, 0
        return Reply(code, lines)

    def _pass_over(self, line: bytes) -> None:
        """Text outside a reply. Raises ProtocolError where no reply will come, or too much of it."""
        if protocol := protocol_of(line):
            raise ForeignProtocol(protocol, f"{protocol}, not FTP: {_cut(line, _MOST_OF_TEXT)}")
        self._bytes = 0
        self._text += _MOST_EMPTY_LINES // _MOST_TEXT_LINES if line else 1
        if self._text > _MOST_EMPTY_LINES:
            raise ProtocolError(f"no FTP reply: {_cut(line, _MOST_OF_TEXT)}")
        if line and len(self.passed_over) < _MOST_TOLD:
            self.passed_over.append(_cut(line, _MOST_OF_TEXT))

    # --- a reply under way ------------------------------------------------------------------------------------------

    @property
    def under_way(self) -> bool:
        """Whether lines have come of a reply that is not over."""
        return bool(self._lines)

    def fresh(self) -> tuple[int, tuple[bytes, ...]] | None:
        """Of a reply of several lines that is under way: its code, and the lines come since the last call; not
        yet one that may be its last."""
        end = len(self._lines) - (1 if self.may_be_over else 0)
        if end <= self._fresh:
            return None
        lines = tuple(self._lines[self._fresh : end])
        self._fresh = end
        return int(self._lines[0][:3]), lines

    @property
    def may_be_over(self) -> bool:
        """Whether a reply under way has a last line of another code: of the same class (z/OS ends some so), or of
        another one than that of a refusal, but no success (glftpd: `553-` and more of it, then `150 `)."""
        if len(self._lines) < 2 or self._reader.pending:
            return False
        first, last = self._lines[0], self._lines[-1]
        ends = _code(last) is not None and last[3:4] in (b" ", b"")
        return ends and (not self.changes_class or (first[:1] in b"45" and last[:1] != b"2"))

    @property
    def changes_class(self) -> bool:
        """Whether that line would make another thing of the reply: less likely, and worth waiting longer for more."""
        return self._lines[-1][:1] != self._lines[0][:1]

    def end(self) -> Reply:
        """That reply; nothing came behind it. Its first and last line get one code, as clients expect it."""
        code = self._lines[-1][:3] if self.changes_class else self._lines[0][:3]
        for at in (0, -1):
            self._lines[at] = code + self._lines[at][3:]
        return self._over(int(code))
