"""How a command speaks: a line on standard error for each thing that is wrong, on standard output for the rest."""

import contextlib
import os
from collections.abc import Iterable

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


def fail_all(faults: Iterable[str], code: int) -> int:
    """The same for several things that are wrong: a line each."""
    for fault in faults:
        fail(fault, code)
    return code


def say(text: str) -> None:
    """Raises UnwritableError."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise UnwritableError(errors.words(error)) from None
