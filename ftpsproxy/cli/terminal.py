"""How a command speaks: one line on standard error for what is wrong, lines on standard output for the rest."""

import contextlib
import os

from ftpsproxy import errors

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit codes: failed while running, wrong usage or configuration, Ctrl-C."""


class UnwritableError(Exception):
    """Standard output is full or closed; the text says why."""


def fail(message: object, code: int) -> int:
    """Say it in one line; that nobody hears it is no reason not to go on."""
    with contextlib.suppress(OSError):
        os.write(2, f"ftpsproxy: {' '.join(str(message).split())}\n".encode("utf-8", "backslashreplace"))
    return code


def say(text: str) -> None:
    """Raises UnwritableError."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise UnwritableError(errors.words(error)) from None
