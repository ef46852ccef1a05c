"""The service manager's end of sd_notify(3), played: what a process tells it, in order, and by whom."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Told:
    """One datagram: its assignments, and the process that has sent it."""

    pid: int
    fields: dict[str, str]


class Manager:
    """Hears what is sent to its socket; ``environ`` is what a service gets to know of it."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._sock = sock
        self.environ = {"NOTIFY_SOCKET": name}
        self.told: list[Told] = []
        self._heard: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def fill(self) -> None:
        """Leave no room for more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(self._sock.getsockname())
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(b"FULL=1")

    def start(self) -> None:
        """Have somebody read all the time, as systemd does: the kernel keeps ten datagrams."""
        self._reader.start()

    def _read(self) -> None:
        while True:
            data, control, _, _ = self._sock.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            (_, _, credentials), *_ = control
            pid, _, _ = _CREDENTIALS.unpack(credentials)
            if data == b"OVER=1":
                return
            self._heard.put(Told(pid, dict(line.split("=", 1) for line in data.decode().splitlines())))

    def stop(self) -> None:
        """Nobody reads any more."""
        if self._reader.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"OVER=1", self._sock.getsockname())
            self._reader.join(PATIENCE)

    def hear(self, seconds: float = PATIENCE) -> Told:
        """The next that is said. Raises queue.Empty."""
        told = self._heard.get(timeout=max(seconds, 0.001))
        self.told.append(told)
        return told

    def wait_for(self, key: str, value: str | None = None) -> Told:
        """Until somebody says this, from now on."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            told = self.hear(until - time.monotonic())
            if key in told.fields and value in (None, told.fields[key]):
                return told
        raise AssertionError(f"no {key}={value}: {self.told}")

    def rest(self) -> list[Told]:
        """What has been said and not been heard yet."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.hear(0)
        return self.told


@contextlib.contextmanager
def manager(folder: Path, *, abstract: bool = False, reads: bool = True) -> Iterator[Manager]:
    """One for a test; without `reads` nobody hears it before `start`."""
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + path if abstract else path)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        played = Manager(sock, "@" + path if abstract else path)
        if reads:
            played.start()
        try:
            yield played
        finally:
            played.stop()
