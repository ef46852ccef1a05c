"""What must stand in no line of the log: the arguments of PASS, ACCT and their like, wherever they turn up again."""

import itertools
import re
import traceback
from typing import Any

from ftpsproxy.ftp.commands import SECRET
from ftpsproxy.observe.lines import bound

SECRET_VERBS = frozenset(verb.decode() for verb in SECRET)
_SECRET_IN_TEXT = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(SECRET_VERBS))})[ \t]+[^\r\n]*", re.IGNORECASE)
_SHORTEST_SECRET = 3  # shorter ones are found in every text
_MOST_SECRETS = 8


def hide(verb: str, *secrets: str) -> None:
    """What must stand in no line of this session, though a server should repeat it: of the last few times that each
    `verb` was said ("" for one in no table: there is no end of those)."""
    mine = bound.get()
    if mine is not None and secrets:
        known = mine.secrets.setdefault(verb, [])
        known.append(tuple(one.strip() for one in secrets if len(one.strip()) >= _SHORTEST_SECRET))
        del known[:-_MOST_SECRETS]


def redact(text: str) -> str:
    """Text without what `hide` has named, and with all that follows PASS, ACCT and their like on a line struck out."""
    if not text:
        return text
    mine = bound.get()
    for verb, times in mine.secrets.items() if mine is not None else ():
        for secret in itertools.chain.from_iterable(times):
            pattern = re.escape(secret)
            if verb == "SITE":  # one of its words may be a password; most are not, and are part of others
                pattern = rf"(?<!\w){pattern}(?!\w)"
            text = re.sub(pattern, "***", text, flags=re.IGNORECASE)  # a verb goes out in upper case
    return _SECRET_IN_TEXT.sub(r"\1 ***", text)


def told(error: BaseException) -> dict[str, Any]:
    """A crash, for the log: its traceback shows code, never the values of variables."""
    return {
        "error": type(error).__name__,
        "detail": redact(str(error)),
        "traceback": redact("".join(traceback.format_exception(error))),
    }
