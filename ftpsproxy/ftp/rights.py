"""What a device may do: which commands, on which files, and how large those may be.

One table says of each verb what it does to files at the server, and where its argument names them. A verb in no table
may do anything, so it is refused wherever something is: what can't be understood here is not allowed. `paths` are about
what is moved, changed or shown: to go to a directory, or to ask which it is, is allowed anywhere, as a device has to
get to the one that is its own.
"""

import enum
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ftpsproxy.ftp import commands, paths, replies
from ftpsproxy.ftp.changes import changed_path
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.paths import Globs
from ftpsproxy.ftp.replies import Reply


@dataclass(frozen=True, slots=True)
class Rights:
    """What the clients of a listener may do. `deny` has verbs, and words of SITE (`SITE CHMOD`); `paths` are globs,
    None for all there are; `max_file_bytes` 0: no bound."""

    allow: Literal["all", "upload", "download", "read"] = "all"
    deny: tuple[str, ...] = ()
    paths: tuple[str, ...] | None = None
    max_file_bytes: int = 0


EVERYTHING = Rights()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client hears, and the setting that says so."""

    reply: Reply
    setting: str

    @property
    def why(self) -> str:
        """For the log."""
        return f"{self.reply.text} ({self.setting})"


class Does(enum.Enum):
    """What a command does to files at the server."""

    NOTHING = enum.auto()  # the session, its settings, what there is to know of the server
    LOOKS = enum.auto()  # names, sizes, times
    READS = enum.auto()  # bytes of a file come down; a digest of a part of it tells them, too
    WRITES = enum.auto()  # a file or directory is made, a file filled
    FINISHES = enum.auto()  # what an upload needs behind it: its real name, its time, its digest
    CHANGES = enum.auto()  # all else


# To look is in all of them: a download begins with it, and an upload goes on behind what SIZE says. What finishes an
# upload is allowed of a file that this session itself has uploaded, and of no other.
_ALLOWED: Mapping[str, frozenset[Does]] = {
    "all": frozenset(Does),
    "upload": frozenset({Does.NOTHING, Does.LOOKS, Does.WRITES}),
    "download": frozenset({Does.NOTHING, Does.LOOKS, Does.READS}),
    "read": frozenset({Does.NOTHING, Does.LOOKS}),
}
_WORDS = {
    "upload": "Only uploads and listings are allowed here",
    "download": "Only downloads and listings are allowed here",
    "read": "Only listings are allowed here",
}


class Names(enum.Enum):
    """Where in its argument a command names paths."""

    NONE = enum.auto()
    ONE = enum.auto()  # all of it is one
    LIST = enum.auto()  # options, then a directory, a file or a pattern; without any, the directory of the session
    PLACE = enum.auto()  # a directory or file; without any, that of the session
    UNIQUE = enum.auto()  # the server makes up a name in the directory of the session
    DIGEST = enum.auto()  # a file, and perhaps numbers behind it
    CHANGED = enum.auto()  # as changes.py reads it
    UNKNOWN = enum.auto()  # several, quoted in ways of the servers' own: never allowed where paths are


_TABLE: dict[bytes, tuple[Does, Names]] = {
    **dict.fromkeys(
        b"""USER PASS ACCT XPAS CWD CDUP PWD QUIT REIN TYPE STRU MODE REST RANG ABOR SYST HELP NOOP FEAT OPTS LANG HOST
        CLNT CSID PASV EPSV PORT EPRT""".split(),
        (Does.NOTHING, Names.NONE),
    ),
    **dict.fromkeys((b"LIST", b"NLST"), (Does.LOOKS, Names.LIST)),
    **dict.fromkeys((b"MLSD", b"MLST", b"AVBL", b"DSIZ"), (Does.LOOKS, Names.PLACE)),
    **dict.fromkeys((b"SIZE", b"MDTM"), (Does.LOOKS, Names.ONE)),
    b"RETR": (Does.READS, Names.ONE),
    **dict.fromkeys(b"HASH MD5 XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512".split(), (Does.FINISHES, Names.DIGEST)),
    b"MMD5": (Does.READS, Names.UNKNOWN),
    **dict.fromkeys((b"STOR", b"APPE", b"MKD"), (Does.WRITES, Names.ONE)),
    b"STOU": (Does.WRITES, Names.UNIQUE),
    b"ALLO": (Does.WRITES, Names.NONE),
    b"RNFR": (Does.FINISHES, Names.ONE),
    b"RNTO": (Does.WRITES, Names.ONE),  # it does nothing unless RNFR was allowed
    **dict.fromkeys((b"MFMT", b"MFCT"), (Does.FINISHES, Names.CHANGED)),
    b"MFF": (Does.CHANGES, Names.CHANGED),  # modes, owners
    **dict.fromkeys((b"DELE", b"RMD"), (Does.CHANGES, Names.ONE)),
    b"COMB": (Does.CHANGES, Names.UNKNOWN),  # its parts are deleted
    b"SMNT": (Does.CHANGES, Names.UNKNOWN),  # all paths mean other files behind it
}
_UNKNOWN = Does.CHANGES, Names.UNKNOWN

# SITE's words. All others may do anything: EXEC runs programs, FILETYPE=JES makes a job of what is uploaded, and a
# SYMLINK leads out of any path.
_SITE_CHANGES = frozenset(b"CHMOD CHGRP MKDIR RMDIR CPFR CPTO".split())
_SITE_SETTING = re.compile(
    rb"(?:HELP|IDLE|ZONE|DIRSTYLE|(?:LRECL|RECFM|BLKSIZE|TRACKS|CYLINDERS|PRIMARY|SECONDARY)(?:=\w+)?|\d+)",
    re.IGNORECASE,
)
_SAME_BY_SITE = {b"MKDIR": "MKD", b"RMDIR": "RMD"}

# MDTM sets a time where one stands before the path (vsftpd, ProFTPD, Serv-U), in more forms than changes.py reads.
_SETS_TIME = re.compile(rb"\s*\d{8}.*\s.*", re.DOTALL)
# As ls has them; behind R all that is below is shown.
_OPTION = re.compile(rb"-[aAlLFhrtS1CdcuUnogpqsxR]+")
_MOST_OWN = 100  # uploads of a session that are remembered


class Judge:
    """What one session may do. `charset` is that of the server's names."""

    __slots__ = (
        "_allowed",
        "_deny",
        "_globs",
        "_own",
        "_renaming",
        "_rights",
        "asks_where",
        "judges",
        "max_file_bytes",
    )

    def __init__(self, rights: Rights, charset: str = "utf-8") -> None:
        self._rights = rights
        self._allowed = _ALLOWED[rights.allow]
        self._deny = frozenset(commands.MODERN.get(verb.encode(), verb.encode()).decode() for verb in rights.deny)
        self._globs = Globs(rights.paths, charset) if rights.paths is not None else None
        self._own: deque[bytes | tuple[Place, bytes]] = deque(maxlen=_MOST_OWN)
        self._renaming: bytes | tuple[Place, bytes] | None = None
        self.asks_where = self._globs is not None
        self.max_file_bytes = rights.max_file_bytes
        self.judges = rights != EVERYTHING

    def refusal(self, command: Command, place: Place | None, offset: int | None = 0) -> Refusal | None:
        """Why a command, said in this directory, is not allowed; None where it is. `offset` is where a transfer would
        begin."""
        command = Command(commands.MODERN.get(command.verb, command.verb), command.argument)
        if command.verb == b"PRET":
            return self._of_next(command, place)
        return (
            self._denied(command)
            or self._of_kind(command, place)
            or self._of_path(command, place)
            or (self._of_size(command, offset) if self.max_file_bytes else None)
        )

    def _of_next(self, command: Command, place: Place | None) -> Refusal | None:
        """PRET names the transfer that is to come."""
        if "PRET" in self._deny:
            return _refused("PRET is not allowed here", "deny")
        try:
            following = commands.parse(command.argument or b"")
        except ProtocolError:
            following = None
        if following is None or following.verb == b"PRET":
            nobody_knows = Command(b"")
            return self._of_kind(nobody_knows, place) or self._of_path(nobody_knows, place)
        return self.refusal(following, place)

    def _denied(self, command: Command) -> Refusal | None:
        name = command.verb.decode("ascii", "replace")
        names = {name}
        if command.verb == b"SITE" and (words := (command.argument or b"").split(None, 1)):
            word = words[0].upper()
            names |= {f"SITE {word.decode('ascii', 'replace')}", _SAME_BY_SITE.get(word, name)}
        found = names & self._deny
        return _refused(f"{min(found)} is not allowed here", "deny") if found else None

    def _of_kind(self, command: Command, place: Place | None) -> Refusal | None:
        does, names = _read(command)
        if does in self._allowed:
            return None
        if does is Does.FINISHES:
            if self._rights.allow == "upload" and self._named(command, place) in self._own:
                return None
            if Does.READS in self._allowed and names is Names.DIGEST:
                return None
        return _refused(_WORDS[self._rights.allow], "allow")

    def _of_path(self, command: Command, place: Place | None) -> Refusal | None:
        if self._globs is None or _path_allowed(self._globs, command, place):
            return None
        return _refused("That path is not allowed here, or it can't be told from here which one it is", "paths")

    def _of_size(self, command: Command, offset: int | None) -> Refusal | None:
        """What is known, before a byte has passed, to become too large."""
        most = self.max_file_bytes
        size = _number(command.argument) if command.verb == b"ALLO" else offset if command.verb in _UPLOADS else None
        if size is None or size <= most:
            return None
        return _refused(f"Files of more than {most} bytes are not allowed here", "max_file_bytes", 552)

    # --- what this session has uploaded -------------------------------------------------------------------------------

    def uploaded(self, command: Command, place: Place | None, offset: int | None) -> None:
        """A STOR that went well from a file's first byte on: whatever was there before is gone, and this is its own."""
        if command.verb == b"STOR" and offset == 0 and (named := self._named(command, place)) is not None:
            self._own.append(named)

    def renamed(self, command: Command, reply: Reply, place: Place | None) -> None:
        """The server's final reply to RNFR or RNTO: what was its own stays so under its new name."""
        if command.verb == b"RNFR":
            named = self._named(command, place)
            self._renaming = named if not reply.refused and named in self._own else None
            return
        before, self._renaming = self._renaming, None
        if before is not None and reply.good:
            self._own = deque((one for one in self._own if one != before), maxlen=_MOST_OWN)
            if (named := self._named(command, place)) is not None:
                self._own.append(named)

    def _named(self, command: Command, place: Place | None) -> bytes | tuple[Place, bytes] | None:
        """The file that a command is about, to be compared: its path, or what it is called in a directory whose own
        path is not known."""
        name = changed_path(command) if _read(command)[1] is Names.CHANGED else command.argument
        if not name:
            return None
        path = paths.absolute(name, place)
        if path is not None:
            return path
        known = place is not None and b"/" not in name and paths.absolute(b"/" + name, None) is not None
        return (place, name) if known and place is not None else None


_UPLOADS = frozenset({b"STOR", b"APPE"})


def _read(command: Command) -> tuple[Does, Names]:
    """What a command does, and where it names paths."""
    argument = command.argument or b""
    match command.verb:
        case b"SITE":
            return _read_site(argument)
        case b"STAT":
            return (Does.LOOKS, Names.LIST) if argument.strip() else (Does.NOTHING, Names.NONE)
        case b"MDTM" if _SETS_TIME.fullmatch(argument):
            return Does.FINISHES, Names.CHANGED
        case verb:
            return _TABLE.get(verb, _UNKNOWN)


def _read_site(argument: bytes) -> tuple[Does, Names]:
    words = argument.split()
    if all(_SITE_SETTING.fullmatch(word) for word in words):
        return Does.NOTHING, Names.NONE
    if words[0].upper() == b"UTIME":
        return Does.FINISHES, Names.CHANGED
    return (Does.CHANGES, Names.CHANGED) if words[0].upper() in _SITE_CHANGES else _UNKNOWN


def _path_allowed(globs: Globs, command: Command, place: Place | None) -> bool:
    argument = command.argument or b""
    _, names = _read(command)
    match names:
        case Names.NONE:
            return True
        case Names.ONE | Names.CHANGED:
            path = paths.absolute(argument if names is Names.ONE else changed_path(command) or b"", place)
            return path is not None and globs.allow(path)
        case Names.LIST:
            return _listing_allowed(globs, argument, place)
        case Names.PLACE:
            named = argument.strip()
            return _may_show(globs, paths.absolute(named, place) if named else paths.directory(place))
        case Names.UNIQUE:
            above = [paths.directory(place)]
            if argument.strip():
                path = paths.absolute(argument, place)
                above.append(path.rpartition(b"/")[0] if path is not None else None)
            return all(path is not None and globs.allow_inside(path) for path in above)
        case Names.DIGEST:
            words = argument.split(b" ")
            files = [paths.absolute(b" ".join(words[:count]), place) for count in range(1, len(words) + 1)]
            return all(path is not None and globs.allow(path) for path in files)
        case Names.UNKNOWN:
            return False


def _may_show(globs: Globs, path: bytes | None) -> bool:
    """A file, or what is in a directory: which of them it is can't be told from here."""
    return path is not None and (globs.allow(path) or globs.allow_inside(path))


def _listing_allowed(globs: Globs, argument: bytes, place: Place | None) -> bool:
    """LIST, NLST and STAT: as ls, with options, which show what is below, too, and patterns."""
    options, rest = [], argument.strip(b" ")
    while rest.startswith(b"-"):
        option, _, rest = rest.partition(b" ")
        rest = rest.lstrip(b" ")
        options.append(option)
    if not all(_OPTION.fullmatch(option) for option in options) or b" -" in rest:
        return False
    above, slash, last = rest.rpartition(b"/")
    if any(letter in last for letter in b"*?"):
        # Of what it finds, directories are shown with what is in them. No pattern may find `..`.
        named = last.translate(None, b"*?") or b"x"
        inside = paths.absolute(above + slash + named, place)
        return inside is not None and last[:1] != b"." and globs.allow_below(inside.rpartition(b"/")[0])
    path = paths.absolute(rest, place) if rest else paths.directory(place)
    if any(b"R" in option for option in options):
        return path is not None and globs.allow_below(path)
    return _may_show(globs, path)


def _number(argument: bytes | None) -> int | None:
    word = (argument or b"").split(None, 1)[:1]
    return int(word[0]) if word and word[0].isdigit() and len(word[0]) <= 20 else None


def _refused(text: str, setting: str, code: int = 550) -> Refusal:
    return Refusal(replies.own(code, f"{text}."), setting)
