"""Paths of files at the server, and the globs an operator allows them by.

A path is taken for what it says: from the root, part by part. What a server may read in another way (`..` behind what
may be a symbolic link, `~`, patterns, drives, backslashes) is no path here, and so never allowed. What a symbolic link
at the server leads to can't be seen from here.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from ftpsproxy.ftp.directory import NOT_PLAIN, Place

# Windows takes dots and blanks from the end of a part: `.. ` would be `..`.
_DOTS = b". "


def absolute(argument: bytes, place: Place | None) -> bytes | None:
    """The path that an argument names, said in this directory; None where that is not known for sure. The root is b"".

    `.`, doubled slashes and one at the end change nothing.
    """
    if not argument or NOT_PLAIN.match(argument):
        return None
    if not argument.startswith(b"/"):
        if place is None or place.relative or not place.absolute:
            return None
        argument = place.path + b"/" + argument
    parts = [part for part in argument.split(b"/") if part not in (b"", b".")]
    if any(not part.strip(_DOTS) for part in parts):
        return None
    return b"".join(b"/" + part for part in parts)


def directory(place: Place | None) -> bytes | None:
    """The path of the directory a session is in."""
    return absolute(b"./", place)


@dataclass(frozen=True, slots=True)
class _Glob:
    """One of an operator's: `whole` for the paths that it names; `base`, where it ends with `*` or `**`, for the
    directories of which it names all that is in them, with `deep` all that is below as well."""

    whole: re.Pattern[str]
    base: re.Pattern[str] | None
    deep: bool


class Globs:
    """The paths that are allowed: `*` and `?` stand for letters within a part, `**` for one part or more, and in the
    middle for none as well. `charset` is that of the server's names."""

    __slots__ = ("_charset", "_globs")

    def __init__(self, globs: tuple[str, ...], charset: str) -> None:
        self._globs = tuple(map(_compiled, globs))
        self._charset = charset

    def allow(self, path: bytes) -> bool:
        """Whether this file or directory is allowed."""
        name = self._text(path)
        return any(glob.whole.fullmatch(name) for glob in self._globs)

    def allow_inside(self, path: bytes) -> bool:
        """Whether all that is in this directory is."""
        name = self._text(path)
        return any(
            (glob.base is not None and glob.base.fullmatch(name)) or (glob.deep and glob.whole.fullmatch(name))
            for glob in self._globs
        )

    def allow_below(self, path: bytes) -> bool:
        """Whether all that is in this directory, and in those in it, is."""
        name = self._text(path)
        return any(
            glob.deep and ((glob.base is not None and glob.base.fullmatch(name)) or glob.whole.fullmatch(name))
            for glob in self._globs
        )

    def _text(self, path: bytes) -> str:
        return path.decode(self._charset, "surrogateescape")


@lru_cache(maxsize=256)
def _compiled(written: str) -> _Glob:
    parts = written.strip("/").split("/")
    last = parts[-1]
    base = "".join(map(_part, parts[:-1]))
    whole = base + ("(?:/[^/]+)+" if last == "**" else _part(last))
    return _Glob(
        re.compile(whole, re.DOTALL),
        re.compile(base, re.DOTALL) if last in ("*", "**") else None,
        last == "**",
    )


def _part(part: str) -> str:
    if part == "**":
        return "(?:/[^/]+)*"
    return "/" + "".join({"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter)) for letter in part)
