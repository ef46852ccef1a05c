"""Free ports in a row."""

import contextlib
import socket

LOCAL = "127.0.0.1"


def free_range(count: int) -> tuple[int, int]:
    """So many free ports in a row, below the ephemeral ones."""
    for low in range(21000, 31000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(low, low + count):
                    stack.enter_context(socket.create_server((LOCAL, port)))
            except OSError:
                continue
            return low, low + count - 1
    raise AssertionError("no free ports")
