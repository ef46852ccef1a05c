"""Standard error: the last place left to say that nothing is said any more."""

import contextlib
import os
import select


def complain(text: str) -> None:
    """One line there, if that takes no waiting: it may be the same pipe."""
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    with contextlib.suppress(OSError):
        if poll.poll(0):
            os.write(2, f"ftpsproxy: {text}\n".encode())
