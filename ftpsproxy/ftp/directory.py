"""Which directory a session is in at the server, as far as that is known for sure; else None, never a guess.

It is known from the server's own word, the 257 to PWD (RFC 959 appendix II) and what some say to CWD and CDUP, and from
the path that a CWD it has taken named. Up from there it is known only where the server itself gave the path: a
directory that was entered by name may be a symbolic link, and what is above that is above its target.
"""

import re
from dataclasses import dataclass

from ftpsproxy.ftp.commands import MODERN, Command
from ftpsproxy.ftp.replies import Reply

VERBS = frozenset(b"PWD CWD CDUP SMNT XPWD XCWD XCUP".split())
"""Those that tell of the directory, or change it."""
GOING = VERBS - {b"PWD", b"XPWD"}
"""Those that change it."""

_MOST_BYTES = 4096  # Linux's PATH_MAX
# RFC 959 has a quote in a path doubled; the rest of the line is for people, and holds none.
_QUOTED = re.compile(rb'257 ?"((?:[^"]|"")+)"[^"]*')
# pyftpdlib, FileZilla Server; Pure-FTPd. Not all of them double a quote here.
_TOLD = re.compile(
    rb'2\d\d [^"]*"(/[^"]*)" is (?:the |your )?current directory\.?|2\d\d OK\. Current directory is (/.*)'
)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# Absolute, in the words of z/OS ('USER.'), Windows and VMS.
_FOREIGN = re.compile(rb"'[^']+'|[A-Za-z]:[\\/].*|[\w$]+:\[.*\]")
# What may mean to a server something else than a name: home directories, patterns, drives, devices, blanks at an end.
NOT_PLAIN = re.compile(rb"[~' -]|//|[A-Za-z]:|.*(?:[\x00-\x1f\x7f\\*?\[\]{}<>|\"]|[ :]\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory at the server: its path as the server knows it, or, if `relative`, the way to it from the directory
    of the login, b"" for that itself. `named`: the server itself has said so."""

    path: bytes
    relative: bool = False
    named: bool = False

    @property
    def absolute(self) -> bool:
        """Whether the path begins at a root; those of z/OS, Windows and VMS are written in another way."""
        return self.path.startswith(b"/")

    @property
    def text(self) -> str:
        """The path as text, with escapes for what is not UTF-8; "." for the directory of the login."""
        return "." if not self.path else self.path.decode("utf-8", "backslashreplace")


class Directory:
    """Where one session is. `place` is None while that is not known."""

    __slots__ = ("place",)

    def __init__(self) -> None:
        self.place: Place | None = None

    def logged_in(self) -> None:
        """The server has taken a login."""
        self.place = Place(b"", relative=True)

    def lost(self) -> None:
        """It may be anywhere."""
        self.place = None

    def answered(self, command: Command, reply: Reply) -> None:
        """The server's final reply to a command of `VERBS`."""
        if not reply.good:
            return
        argument = command.argument or b""
        match MODERN.get(command.verb, command.verb):
            case b"PWD":
                self.place = _quoted(reply, self.place)
            case b"CWD":
                self.place = _told(reply) or _entered(self.place, argument)
            case b"CDUP":
                self.place = _told(reply) or _entered(self.place, b"..")
            case _:
                self.place = None


def _quoted(reply: Reply, before: Place | None) -> Place | None:
    """The directory in a 257. One with a quote in it only where it is the one that a CWD has named: some servers don't
    double it, and would mean another one."""
    line = reply.lines[0]
    if len(reply.lines) > 1 or len(line) > _MOST_BYTES or (found := _QUOTED.fullmatch(line)) is None:
        return None
    path = found[1].replace(b'""', b'"')
    if (b'"' in path and (before is None or before.relative or before.path != path)) or _CONTROL.search(path):
        return None
    return Place(path, named=True) if path.startswith(b"/") or _FOREIGN.fullmatch(path) else None


def _told(reply: Reply) -> Place | None:
    """The directory in a reply to CWD or CDUP. The last line is the server's own; those before may be out of a file."""
    line = reply.lines[-1]
    if len(line) > _MOST_BYTES or (found := _TOLD.fullmatch(line)) is None:
        return None
    path = found[1] or found[2]
    return Place(path, named=True) if _CONTROL.search(path) is None else None


def _entered(before: Place | None, argument: bytes) -> Place | None:
    """Where a CWD that was taken leads."""
    if not argument or NOT_PLAIN.match(argument):
        return None
    place = Place(b"/", named=True) if argument.startswith(b"/") else before
    for part in argument.split(b"/"):
        if place is None or not (place.relative or place.absolute):
            return None
        if part == b"..":
            if not place.named or place.relative:
                return None
            place = Place(place.path.rstrip(b"/").rpartition(b"/")[0] or b"/", named=True)
        elif part not in (b"", b"."):
            above = place.path if not place.path or place.path.endswith(b"/") else place.path + b"/"
            place = Place(above + part, place.relative)
    return place if place is not None and len(place.path) <= _MOST_BYTES else None
