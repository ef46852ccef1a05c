"""Promise: the admin listener has at most 32 connections at a time, and probes are answered all the same.

Attack: 4,000 connections at once, none of which says a word. Each took a descriptor (1,355 were seen), as the one that
was to make room for the next had not yet had the time to.

To be seen: no more descriptors than that at any moment, and `/healthz` answers in the middle of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator

from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway

MOST = 32
CROWD = 900
"""At a time, for the sake of our own descriptors; there are three waves."""


def _healthy(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as page:
        return bool(page.status == 200)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """How many descriptors a process has, looked at all the time."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(len(os.listdir(f"/proc/{pid}/fd")))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_the_bound_holds(certificates: Certificates) -> None:
    with start_gateway("ftpes://127.0.0.1:1", certificates.ca_file, admin={"listen": "127.0.0.1:0"}) as gateway:
        port = gateway.admin_port
        assert _healthy(port)
        before = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        with _watched(gateway.pid) as seen:
            for _ in range(3):
                with contextlib.ExitStack() as stack:
                    for _ in range(CROWD):
                        sock = stack.enter_context(socket.socket())
                        sock.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            sock.connect(("127.0.0.1", port))
                    assert _healthy(port)
        assert max(seen) <= before + MOST + 1
        assert _healthy(port)
