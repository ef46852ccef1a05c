"""Where in a file the next transfer begins: REST (RFC 959, RFC 3659 section 5), RANG (draft-bryan-ftp-range)."""

from dataclasses import dataclass

from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.replies import Reply

_HASHES = frozenset(b"HASH MD5 MMD5 XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512".split())

VERBS = frozenset({b"REST", b"RANG"}) | _HASHES
"""Those that say where the next transfer begins; a hash may use up what RANG has said."""

_MOST_DIGITS = 20  # of an offset: 64 bits


@dataclass(frozen=True, slots=True)
class Start:
    """The byte a transfer begins with, None where that is not known, and whether it goes to the end of the file."""

    offset: int | None = 0
    to_end: bool = True


_UNKNOWN = Start(None, to_end=False)


class Restart:
    """What the server has taken for the next transfer of one session."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = Start()

    def answered(self, command: Command, reply: Reply) -> None:
        """The server's final reply to a command of `VERBS`."""
        words = (command.argument or b"").split()
        if command.verb == b"REST":
            if not reply.refused:
                # A marker that is no number is one of MODE B or C (RFC 959 section 3.5).
                self._next = Start(_number(words[0])) if len(words) == 1 else Start(None)
        elif command.verb == b"RANG":
            if 300 <= reply.code < 400:
                taken_back = words == [b"1", b"0"]
                self._next = Start() if taken_back else Start(_number(words[0]) if words else None, to_end=False)
        elif not self._next.to_end:
            self._next = _UNKNOWN

    @property
    def offset(self) -> int | None:
        """Where the next transfer begins, as far as that is known."""
        return self._next.offset

    def take(self) -> Start:
        """There is a transfer command."""
        start, self._next = self._next, Start()
        return start


def _number(word: bytes) -> int | None:
    return int(word) if word.isdigit() and len(word) <= _MOST_DIGITS else None
