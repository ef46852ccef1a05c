"""What an operator writes of a listener's devices: what they may do, and the charsets of their names."""

import codecs
import re

from ftpsproxy.config.parse import Text, nearest, text
from ftpsproxy.ftp.charsets import misfit
from ftpsproxy.ftp.commands import VERBS

# Without these there is no session.
_DENIABLE = frozenset(verb.decode() for verb in VERBS) - {"USER", "PASS", "QUIT"}


def _words(value: object) -> tuple[str, ...]:
    """A list of texts; in the environment separated by commas, as there are blanks in some."""
    if isinstance(value, Text):
        return tuple(word for one in value.split(",") if (word := one.strip()))
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return tuple(map(text, value))


def denied(value: object) -> tuple[str, ...]:
    """Verbs, and words of SITE: DELE, "SITE CHMOD"; one that no table knows would be a mistake that nobody sees."""
    words: list[str] = []
    for item in _words(value):
        name, *more = item.upper().split() or [""]
        if name == "SITE" and len(more) == 1:
            words.append(f"SITE {more[0]}")
        elif more or name not in _DENIABLE:
            raise ValueError(
                f"{item!r} is no command that is known; write a verb such as 'DELE', or 'SITE CHMOD' "
                f"({nearest(name, _DENIABLE)})"
            )
        else:
            words.append(name)
    return tuple(words)


def globs(value: object) -> tuple[str, ...]:
    """Globs of paths from the root: "/in/**", "/out/*.csv"."""
    found = _words(value)
    for glob in found:
        parts = glob.split("/")[1:]
        if not glob.startswith("/") or not all(parts) or any(part.strip(".") == "" for part in parts):
            raise ValueError(f"{glob!r} is no path from the root; write it like '/in/**', without '..' and '//'")
        if any("**" in part and part != "**" for part in parts) or re.search(r"[\\\[\]{}]", glob):
            raise ValueError(f"{glob!r}: only * and ? stand for letters, and ** for parts, by itself between slashes")
    if not found:
        raise ValueError("an empty list allows nothing; leave the key out to allow all paths")
    return found


def charset(value: object) -> str:
    """A charset that Python knows, and in whose names nothing looks like a line end or a slash."""
    written = text(value)
    try:
        name = codecs.lookup(written).name
    except LookupError:
        raise ValueError(f"{written!r} is no charset that is known; write it like cp1252, shift_jis or utf-8") from None
    if why := misfit(name):
        raise ValueError(f"{written!r} can't be used for names over FTP: {why}; EBCDIC, UTF-16 and ISO 2022 can't")
    return name
