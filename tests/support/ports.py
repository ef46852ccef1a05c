"""Free ports in a row, and one that answers nobody."""

import contextlib
import socket
from collections.abc import Iterator

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


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port that answers no SYN, as behind a firewall that drops it: its backlog is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server((LOCAL, 0), backlog=0))
        for _ in range(6):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()[1]
