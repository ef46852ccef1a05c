"""A scriptable misbehaving FTPS server: stdlib `ssl` and threads, loopback, any free port, files in memory.

    with BadServer(chain, key, Quirks(fault=Fault.RESET, fault_at=16384)) as server:
        ...                                     # a client logs in and fetches b"file"
        server.wait(lambda: server.last.over)
        assert server.last.data[0].ended == "here"

`play` starts anew; `quirks` may also be changed in the middle of a session. `sessions` holds what was seen of each.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.hostile import contexts
from tests.support.hostile.quirks import Control, Fault, Final, Handshake, Quirks
from tests.support.hostile.seen import SeenData, SeenSession
from tests.support.hostile.session import Session
from tests.support.link_local import sockaddr

__all__ = ["BadServer", "Control", "Fault", "Final", "Handshake", "Quirks", "SeenData", "SeenSession"]


class BadServer:
    """Listens while the `with` block lasts. `certificate` and `key` are PEM files (the chain, leaf first)."""

    def __init__(
        self, certificate: Path, key: Path, quirks: Quirks | None = None, *, host: str = "127.0.0.1", backlog: int = 50
    ) -> None:
        self.certificate = certificate, key
        self.quirks = quirks or Quirks()
        self._news = threading.Condition()
        self._release = threading.Event()
        self._running: list[Session] = []
        self._deaf: list[socket.socket] = []
        self.files: dict[bytes, bytes] = {}
        self.sessions: list[SeenSession] = []
        self._listener = socket.create_server(
            sockaddr(host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog
        )
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="hostile server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._listener.close()
        self._end_sessions()
        for sock in self._deaf:
            sock.close()

    @property
    def last(self) -> SeenSession:
        """What was seen of the newest session."""
        return self.sessions[-1]

    @property
    def passive_port(self) -> int:
        """Where the newest session waits for a data connection."""
        return self._running[-1].passive_port

    def play(
        self,
        quirks: Quirks,
        files: Mapping[bytes, bytes] | None = None,
        *,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Behave like this from now on, with these files, and forget everything seen; old sessions are ended."""
        self._end_sessions()
        if certificate is not None:
            self.certificate = certificate
        self.quirks = quirks
        self._release.clear()
        self.files = dict(files or {})
        self.sessions = []

    def release(self) -> None:
        """Let what is held or stalled go on."""
        self._release.set()

    def wait(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait until `condition()` holds. Raises AssertionError with what was seen when it does not in time."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"the server waited in vain; it saw {self.sessions}")
                self._news.wait(min(left, 0.1))

    # For sessions

    def news(self) -> None:
        with self._news:
            self._news.notify_all()

    def released(self, seconds: float) -> bool:
        return self._release.wait(seconds)

    def context(self, quirks: Quirks, seen: SeenSession | SeenData) -> ssl.SSLContext:
        return contexts.build(*self.certificate, quirks, seen)

    def _accept(self) -> None:
        while True:
            try:
                sock, address = self._listener.accept()
            except OSError:
                return
            session = Session(self, sock, (address[0], address[1]), crowded=self._crowded())
            self._running.append(session)
            self.sessions.append(session.seen)
            self.news()
            session.start()

    def deaf_port(self) -> int:
        """A port where connections get no answer at all: its backlog is full."""
        if not self._deaf:
            self._deaf.append(socket.create_server((self.host, 0), backlog=0))
            for _ in range(6):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(self._deaf[0].getsockname())
                self._deaf.append(sock)
        return int(self._deaf[0].getsockname()[1])

    def _crowded(self) -> bool:
        """Whether there are as many sessions as may be; one that is just over is given a moment to be counted out."""
        most = self.quirks.max_sessions
        deadline = time.monotonic() + 0.25
        while most is not None and sum(not session.seen.over for session in self._running) >= most:
            if time.monotonic() > deadline:
                return True
            time.sleep(0.005)
        return False

    def _end_sessions(self) -> None:
        running, self._running = self._running, []
        for session in running:
            session.stop()
        for session in running:
            session.join()
