"""What must stand in no line of the log: the arguments of PASS, ACCT and their like, wherever they turn up again."""

import re
import traceback
from typing import Any

from ftpsproxy.ftp.commands import SECRET
from ftpsproxy.observe.lines import bound

SECRET_VERBS = frozenset(verb.decode() for verb in SECRET)
_SECRET_IN_TEXT = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(SECRET_VERBS))})[ \t]+[^\r\n]*", re.IGNORECASE)
_SHORTEST_SECRET, _LONG = 3, 6  # shorter ones are found in every text, or in many
# Each of them is looked for in all that is said, which a client must not make dear. Of a line so many; of each verb so
# many times, of those in no table together.
_MOST_OF_LINE = 96
_MOST_TIMES, _MOST_TIMES_UNKNOWN = 8, 32


def hide(verb: str, *secrets: str) -> None:
    """What must stand in no line of this session, though a server should repeat it: of the last few times that each
    `verb` was said ("" for one in no table: there is no end of those). The first is the whole argument."""
    mine = bound.get()
    if mine is not None and secrets:
        known = mine.secrets.setdefault(verb, [])
        stripped = dict.fromkeys(one.strip() for one in secrets[:_MOST_OF_LINE])
        known.append(tuple((one, one.lower()) for one in stripped if len(one) >= _SHORTEST_SECRET))
        del known[: -(_MOST_TIMES if verb else _MOST_TIMES_UNKNOWN)]


def redact(text: str) -> str:
    """Text without what `hide` has named, and with all that follows PASS, ACCT and their like on a line struck out."""
    if not text:
        return text
    mine = bound.get()
    if mine is not None and mine.secrets:
        lower = text.lower()
        for verb, times in mine.secrets.items():
            for secrets in times:
                for at, (secret, lowered) in enumerate(secrets):
                    if lowered in lower:
                        text = _struck(text, secret, of_many=verb == "SITE" or (verb != "" and at > 0))
    return _SECRET_IN_TEXT.sub(r"\1 ***", text)


def _struck(text: str, secret: str, *, of_many: bool) -> str:
    """Text without a secret, whatever its case: a verb goes out in upper case. `of_many`: it is one of several words of
    which one may be a password; most are not, and short ones are part of others."""
    pattern = re.escape(secret)
    return re.sub(
        rf"(?<!\w){pattern}(?!\w)" if of_many and len(secret) < _LONG else pattern, "***", text, flags=re.IGNORECASE
    )


def told(error: BaseException) -> dict[str, Any]:
    """A crash, for the log: its traceback shows code, never the values of variables."""
    return {
        "error": type(error).__name__,
        "detail": redact(str(error)),
        "traceback": redact("".join(traceback.format_exception(error))),
    }
