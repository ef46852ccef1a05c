"""Which commands change files at the server, other than by a transfer, and what they change."""

import enum
import re
from dataclasses import dataclass

from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.replies import Reply


class Action(enum.Enum):
    """What becomes of a file; the values are the log's own."""

    DELETED = "deleted"
    RENAMED = "renamed"
    DIRECTORY_MADE = "directory_made"
    DIRECTORY_REMOVED = "directory_removed"
    MODE = "mode"
    TIME = "time"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, done or refused. `verb` is that of the command, with SITE's own word behind it; `path` is what is
    changed and `to` its new name, as the client has written them; None where that is not known."""

    action: Action
    verb: str
    path: str | None
    to: str | None = None


_BY_VERB = {
    b"DELE": Action.DELETED,
    b"RNFR": Action.RENAMED,
    b"RNTO": Action.RENAMED,
    b"MKD": Action.DIRECTORY_MADE,
    b"XMKD": Action.DIRECTORY_MADE,
    b"RMD": Action.DIRECTORY_REMOVED,
    b"XRMD": Action.DIRECTORY_REMOVED,
    b"MDTM": Action.TIME,
    b"MFMT": Action.TIME,
    b"MFCT": Action.TIME,
    b"MFF": Action.OTHER,
    b"COMB": Action.OTHER,
}
# The word behind SITE, and how many more stand before the path.
_BY_SITE = {
    b"CHMOD": (Action.MODE, 1),
    b"CHGRP": (Action.OTHER, 1),
    b"MKDIR": (Action.DIRECTORY_MADE, 0),
    b"RMDIR": (Action.DIRECTORY_REMOVED, 0),
    b"UTIME": (Action.TIME, 0),
    b"SYMLINK": (Action.OTHER, 0),
    b"CPFR": (Action.OTHER, 0),
    b"CPTO": (Action.OTHER, 0),
}
# The first of two commands, and the second.
_PAIRS = {"RNFR": "RNTO", "SITE CPFR": "SITE CPTO"}
_SECONDS = {second: first for first, second in _PAIRS.items()}

VERBS = frozenset({b"SITE", *_BY_VERB})
"""Those that may change files."""

# MDTM asks for a time, and sets one where it has two arguments; so MFMT and MFCT (draft-somers-ftp-mfxx).
_TIME = re.compile(rb"\d{14}(?:\.\d+)? +(?:[+-]\d+ +)?(.+)", re.DOTALL)
# Pure-FTPd: a path, then times; ProFTPD: a time, then a path.
_TIME_FIRST = re.compile(rb"\d{12}(?:\d\d)? (.+)", re.DOTALL)
_TIMES_LAST = re.compile(rb"(.+?)(?: \d{14}){1,3}(?: UTC)?", re.DOTALL)


def read(command: Command) -> Change | None:
    """What a command is to change; None for one that changes nothing, and where it can't be told."""
    argument = command.argument or b""
    if command.verb == b"SITE":
        return _site(argument)
    action = _BY_VERB.get(command.verb)
    if action is None or not argument:
        return None
    path = changed_path(command)
    if action is Action.TIME and path is None:
        return None
    if command.verb == b"RNTO":
        return Change(action, "RNTO", None, _text(argument))
    return Change(action, command.verb.decode(), _text(path))


def changed_path(command: Command) -> bytes | None:
    """The path that a command is to change, or to take for a new name; None where it can't be told."""
    argument = command.argument or b""
    match _BY_VERB.get(command.verb):
        case Action.TIME:
            found = _TIME.fullmatch(argument)
            return found[1] if found is not None else None
        case _ if command.verb == b"MFF":
            return argument.partition(b"; ")[2] or None
        case _ if command.verb == b"SITE":
            word, _, rest = argument.partition(b" ")
            return _site_path(word.upper(), rest)
        case None:
            return None
        case _:
            return argument or None


def _site_path(word: bytes, rest: bytes) -> bytes | None:
    if word not in _BY_SITE or word == b"SYMLINK":
        return None
    if word == b"UTIME":
        found = _TIME_FIRST.fullmatch(rest) or _TIMES_LAST.fullmatch(rest)
        return found[1] if found is not None else None
    before = _BY_SITE[word][1]
    words = rest.split(b" ", before)
    return words[before] or None if len(words) > before else None


def _site(argument: bytes) -> Change | None:
    word, _, rest = argument.partition(b" ")
    word = word.upper()
    if word not in _BY_SITE or not rest:
        return None
    action = _BY_SITE[word][0]
    verb = f"SITE {word.decode()}"
    if word == b"CPTO":
        return Change(action, verb, None, _text(rest))
    if word == b"SYMLINK":  # its target, and the link; which blank parts them is not known if there are several
        target, _, link = rest.partition(b" ")
        return Change(action, verb, *((_text(target), _text(link)) if b" " not in link else (None, None)))
    return Change(action, verb, _text(_site_path(word, rest)))


def _text(path: bytes | None) -> str | None:
    return path.decode("utf-8", "backslashreplace") if path is not None else None


class Changes:
    """One session's: what RNFR has named belongs to the RNTO behind it, and so with SITE CPFR and CPTO."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[str, tuple[str | None, Place | None]] = {}

    def answered(self, command: Command, reply: Reply, place: Place | None) -> Change | None:
        """The server's final reply to a command of `VERBS`, said in this directory → what it has changed, or refused to
        change."""
        change = read(command)
        if change is None or (command.verb == b"MDTM" and reply.good and reply.text.strip().isdigit()):
            return None  # it was the name of a file, whose time the server has said
        if change.verb in _PAIRS and not reply.refused:
            self._first[change.verb] = change.path, place
            return None
        return self._paired(change, place)

    def unanswered(self, command: Command, place: Place | None) -> Change | None:
        """There will be no reply to this command → what it may have changed."""
        change = read(command)
        return self._paired(change, place) if change is not None and change.verb not in _PAIRS else None

    def _paired(self, change: Change, place: Place | None) -> Change:
        """With what the command before it has named."""
        first = self._first.pop(_SECONDS.get(change.verb, ""), None)
        if first is None:
            return change
        path, at = first
        # Where the client has gone to another directory in between, a relative name says nothing any more.
        same = at is not None and place is not None and (at.path, at.relative) == (place.path, place.relative)
        return Change(change.action, change.verb, path if same or (path or "").startswith("/") else None, change.to)
