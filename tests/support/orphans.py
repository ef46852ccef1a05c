"""The processes of a test process that was killed before its fixtures were over, as pytest-xdist does ten seconds after
Ctrl-C: whoever called it becomes their parent, and ends them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from tests.support.servers import descendants

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on, what a process below this one leaves behind is this one's child."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill all processes below this one."""
    for pid in descendants(os.getpid())[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
