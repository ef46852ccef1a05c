"""Names in two charsets: the client's, and the server's. What is in between works with the server's bytes.

Nothing is ever replaced by something like it: a name would be another file's. A name of the client's that the server's
charset has not is refused (553). In a listing, a line with a name that the client's charset has not is left out, which
the final reply and the log say. To tear the listing instead would be louder, but then one name, which anybody may have
uploaded there, keeps each such device from all files; and the device could not ask for that file anyway.

Files are never translated. 0xFF stands for itself, as in lines.py; two in a row may be one letter, doubled by a client
that follows Telnet (RFC 854), or two, so that is refused.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from ftpsproxy.ftp import replies
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.replies import Reply


@dataclass(frozen=True, slots=True)
class Charsets:
    """The charsets of names; with no `client_charset` bytes pass as they are."""

    client_charset: str | None = None
    server_charset: str = "utf-8"

    @property
    def utf8_client(self) -> bool | None:
        """Whether the client's names are UTF-8; None where bytes pass as they are."""
        return self.client_charset == "utf-8" if self.client_charset is not None else None

    @property
    def utf8_server(self) -> bool:
        """Whether a server is to be told that names are UTF-8: some take them for their own charset until then."""
        return self.client_charset is not None and self.server_charset == "utf-8"


AS_THEY_ARE = Charsets()


class Untranslatable(ProtocolError):
    """A name has letters that the other charset has not, or is none in its own; `str()` is one plain line."""


# Bytes that FTP, a path or a log gives a meaning of their own, which no letter beyond ASCII may have in it.
_LOWEST_TRAIL = 0x40
_DIGITS = range(0x30, 0x3A)  # GB 18030 has letters with these in it
_MOST_LINE = 64 * 1024  # of a listing


@lru_cache(maxsize=64)
def misfit(charset: str) -> str:
    """Why names in this charset, which Python knows, can't go over a control connection; "" where they can."""
    plain = bytes(range(128))
    try:
        same = plain.decode("ascii").encode(charset) == plain and plain.decode(charset) == plain.decode("ascii")
    except (UnicodeError, LookupError):
        same = False
    if not same:
        return "ASCII does not look like ASCII in it"
    for code in range(128, 0x10000):
        try:
            letter = chr(code)
            coded = letter.encode(charset)
            same = coded.decode(charset) == letter  # else it is never said
        except UnicodeError:
            continue
        if same and (coded[0] < 128 or any(map(_has_meaning, coded))):
            return "some of its letters hold bytes that are line ends or signs in ASCII"
    return ""


def _has_meaning(byte: int) -> bool:
    return byte < _LOWEST_TRAIL and byte not in _DIGITS


def _translated(data: bytes, source: str, target: str) -> bytes:
    if data.isascii():
        return data
    try:
        text = data.decode(source)
    except UnicodeError:
        raise Untranslatable(f"the name is not in {source}") from None
    try:
        coded = text.encode(target)
        same = coded.decode(target) == text  # Shift-JIS has a backslash for the yen sign
    except UnicodeError:
        same = False
    if not same:
        raise Untranslatable(f"{target} has no letters for that name")
    return coded


def to_server(charsets: Charsets, command: Command) -> Command:
    """The command as the server is to have it; `unsayable` says why it can't."""
    client, argument = charsets.client_charset, command.argument
    if client is None or argument is None or argument.isascii():
        return command
    try:
        if b"\xff\xff" in argument and client != "utf-8":
            raise Untranslatable("two bytes 0xFF may be one letter or two (in lftp: set ftp:use-telnet-iac no)")
        return replace(command, argument=_translated(argument, client, charsets.server_charset))
    except Untranslatable as error:
        return replace(command, unsayable=str(error))


def to_client(charsets: Charsets, lines: tuple[bytes, ...], *, names: bool) -> tuple[tuple[bytes, ...], int]:
    """Lines of a reply as the client is to have them, and how many were left out. Of a listing (`names`) all that can't
    be said; else that is words for people, and stands escaped."""
    if charsets.client_charset is None or all(map(bytes.isascii, lines)):
        return lines, 0
    said, left_out = [], 0
    for line in lines:
        try:
            said.append(_translated(line, charsets.server_charset, charsets.client_charset))
        except Untranslatable:
            if names:
                left_out += 1
            else:
                text = line.decode(charsets.server_charset, "backslashreplace")
                said.append(text.encode(charsets.client_charset, "backslashreplace"))
    return tuple(said), left_out


_LISTS = frozenset({211, 212, 213})


def reply_to_client(charsets: Charsets, reply: Reply) -> tuple[Reply, int]:
    """The same for a whole reply; its first and last line are always there."""
    if len(reply.lines) < 3 or reply.code not in _LISTS:
        lines, _ = to_client(charsets, reply.lines, names=False)
        return Reply(reply.code, lines), 0
    first, _ = to_client(charsets, reply.lines[:1], names=False)
    middle, left_out = to_client(charsets, reply.lines[1:-1], names=True)
    last, _ = to_client(charsets, reply.lines[-1:], names=False)
    return Reply(reply.code, (*first, *middle, *last)), left_out


def named(charsets: Charsets, command: Command, reply: Reply) -> Reply:
    """A reply whose very purpose is a name, or another one in its place where the client can't be told that."""
    if charsets.client_charset is None or not reply.good:
        return reply
    try:
        for line in reply.lines:
            _translated(line, charsets.server_charset, charsets.client_charset)
    except Untranslatable:
        match command.verb:
            case b"PWD" | b"XPWD" | b"MLST":
                return replies.own(553, f"{charsets.client_charset} has no letters for that name.")
            case b"MKD" | b"XMKD":  # it is made; the name by which the client has asked for it leads there
                return Reply(257, (b'257 "%s" made.' % (command.argument or b"").replace(b'"', b'""'),))
    return reply


class Listing:
    """A listing on its way to the client, in pieces that end anywhere: whole lines are translated, and left out where
    they can't be. `left_out` counts these."""

    __slots__ = ("_charsets", "_rest", "left_out")

    def __init__(self, charsets: Charsets) -> None:
        self._charsets = charsets
        self._rest = b""
        self.left_out = 0

    def feed(self, data: bytes) -> bytes:
        """The next piece → what of it can be told by now. Raises Untranslatable for a line without an end."""
        whole, end, rest = data.rpartition(b"\n")
        if not end:
            self._rest += data
            if len(self._rest) > _MOST_LINE:
                raise Untranslatable(f"a line of the listing has more than {_MOST_LINE} bytes")
            return b""
        whole, self._rest = self._rest + whole + end, rest
        return self._told(whole)

    def end(self) -> bytes:
        """What is left: a last line without an end."""
        rest, self._rest = self._rest, b""
        return self._told(rest)

    def _told(self, data: bytes) -> bytes:
        if data.isascii():
            return data
        lines, left_out = to_client(self._charsets, _lines(data), names=True)
        self.left_out += left_out
        return b"".join(lines)


def _lines(data: bytes) -> tuple[bytes, ...]:
    """With their ends. bytes.splitlines would end one at a CR, too."""
    parts = data.split(b"\n")
    return (
        (*(part + b"\n" for part in parts[:-1]), *parts[-1:])
        if parts[-1]
        else tuple(part + b"\n" for part in parts[:-1])
    )
