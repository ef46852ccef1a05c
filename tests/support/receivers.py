"""Log daemons for tests: they take what comes and read it by the book, RFC 5424 or journald's native protocol."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 20.0
_HEADER = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z) "
    rb"(?P<hostname>[!-~]{1,255}) "
    rb"(?P<app_name>[!-~]{1,48}) (?P<procid>[!-~]{1,128}) (?P<msgid>[!-~]{1,32}) (?P<data>-|\[.*\]) (?P<message>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Message:
    """One of RFC 5424."""

    facility: int
    severity: int
    app_name: str
    procid: int
    msgid: str
    message: str

    @classmethod
    def read(cls, data: bytes) -> Message:
        """AssertionError where it is none."""
        found = _HEADER.fullmatch(data)
        assert found is not None, data
        priority = int(found["priority"])
        assert priority <= 191
        assert found["data"] == b"-"
        return cls(
            priority // 8,
            priority % 8,
            found["app_name"].decode(),
            int(found["procid"]),
            found["msgid"].decode(),
            found["message"].decode(),
        )


def journal_entry(data: bytes) -> dict[str, str]:
    """The fields of a datagram; AssertionError where it is malformed."""
    fields: dict[str, str] = {}
    while data:
        line, end, rest = data.partition(b"\n")
        assert end
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert len(value) == size
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z0-9][A-Z0-9_]{0,63}", name), name
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        data = rest
    return fields


class Receiver:
    """Takes datagrams, or lines of streams, until it is closed; a file descriptor that came along is read."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._got: list[bytes] = []
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            if self._socket.type == socket.SOCK_STREAM:
                while not self._over:
                    with contextlib.suppress(TimeoutError):
                        self._lines(self._socket.accept()[0])
            while not self._over:
                with contextlib.suppress(TimeoutError):
                    data, files, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
                    for file in files:
                        assert not data
                        data = os.pread(file, os.fstat(file).st_size, 0)
                        os.close(file)
                    self._take(data)

    def _lines(self, connection: socket.socket) -> None:
        rest = b""
        connection.settimeout(0.1)
        with connection:
            while not self._over:
                with contextlib.suppress(TimeoutError):
                    data = connection.recv(65536)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._take(line)

    def _take(self, data: bytes) -> None:
        with self._news:
            self._got.append(data)
            self._news.notify_all()

    def wait_for(self, count: int) -> list[bytes]:
        """All that came, once it is so many."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._got) >= count, PATIENCE), self._got
            return list(self._got)

    def wait_for_text(self, text: bytes) -> list[bytes]:
        """All that came, once this stands in some of it."""
        with self._news:
            assert self._news.wait_for(lambda: any(text in one for one in self._got), PATIENCE), self._got
            return list(self._got)

    def close(self) -> None:
        self._over = True
        self._thread.join(PATIENCE)
        self._socket.close()


@contextlib.contextmanager
def receiver(where: Path | tuple[str, int], kind: socket.SocketKind = socket.SOCK_DGRAM) -> Iterator[Receiver]:
    """At the path of a unix socket, or an address for UDP; nothing is left there."""
    sock = socket.socket(socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET, kind)
    sock.settimeout(0.1)
    sock.bind(str(where) if isinstance(where, Path) else where)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    taken = Receiver(sock)
    try:
        yield taken
    finally:
        taken.close()
        if isinstance(where, Path):
            where.unlink()


def until(what: str, holds: object, seconds: float = PATIENCE) -> None:
    """Wait until this, called, is true."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)  # what is looked at gives no sign of a change
