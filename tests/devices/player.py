"""Plays a device's script over plain sockets against the gateway."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.devices import script
from tests.devices.reading import DeviceFails, find_port, read_reply
from tests.devices.script import Device, Step
from tests.support.bad_client import set_to_reset
from tests.support.servers import Endpoint

PATIENCE = 30.0
HOST = "127.0.0.1"
_UPLOAD = re.compile(rb"(STOR|APPE) (.*?)\r?\n", re.IGNORECASE)


@dataclass(slots=True)
class Played:
    """What became of it: each upload's verb, name and bytes, and the replies as the device took them."""

    uploads: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    downloads: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)


class Player:
    """One device at one gateway. `play` raises DeviceFails where the device itself would give up."""

    def __init__(self, device: Device, endpoint: Endpoint, name: str, content: bytes) -> None:
        self._device = device
        self._endpoint = endpoint
        self._content = content
        self._words = {
            b"{user}": endpoint.user.encode(),
            b"{password}": endpoint.password.encode(),
            b"{name}": name.encode(),
        }
        self._listener: socket.socket | None = None
        self.data: socket.socket | None = None
        self._buffer = bytearray()
        self._said = b""
        self._reply = b""
        self.played = Played()
        self.control = socket.socket()  # not yet connected

    def __enter__(self) -> Self:
        """Connect."""
        self.control.close()
        self.control = self._dial(self._endpoint.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for sock in (self.control, self.data, self._listener):
            if sock is not None:
                sock.close()

    def play(self) -> Played:
        self._all(self._device.steps)
        return self.played

    def play_until_half_sent(self) -> int:
        """All before the first `Send`, and half of the file → its bytes."""
        half = len(self._content) // 2
        for step in self._device.steps:
            if isinstance(step, script.Send):
                assert self.data is not None
                self.data.sendall(self._content[:half])
                return half
            self._one(step)
        raise AssertionError(f"{self._device.name} sends nothing")

    def reset(self) -> None:
        """What a device that is up again answers to what still comes for its old connections."""
        for sock in (self.data, self.control):
            if sock is not None:
                set_to_reset(sock)
                sock.close()

    def fill(self, text: bytes) -> bytes:
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def _dial(self, port: int, host: str = HOST, window: int | None = None) -> socket.socket:
        sock = socket.socket()
        try:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if window is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _all(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._one(step)

    def _one(self, step: Step) -> None:
        match step:
            case script.Say(parts):
                self._say(parts)
            case script.Expect(prefixes):
                self._expect(prefixes)
            case script.Unless(prefix, steps):
                if not self._reply.startswith(prefix):
                    self._all(steps)
            case script.Connect(finds, host_of_reply):
                host, port = find_port(finds, self._reply)
                self.data = self._dial(port, host if host_of_reply and host else HOST, self._device.window)
            case script.Listen(later):
                self._listen(later)
            case script.Open():
                assert self._listener is not None
                self._listener.listen(1)
            case script.Accept():
                self._accept()
            case script.AcceptFirst():
                self._accept_first()
            case script.AcceptAndExpect(prefixes):
                self._accept_and_expect(prefixes)
            case script.Send():
                self._send(step)
            case script.Receive(listing):
                self._receive(listing)
            case script.ReceiveSome(size):
                self._receive_some(size)
            case script.Drain():
                self._drain()
            case script.CloseData():
                assert self.data is not None
                self.data.close()
                self.data = None
            case script.Synch(line):
                self.control.sendall(b"\xff\xf4")
                self.control.send(b"\xff", socket.MSG_OOB)
                self.control.sendall(b"\xf2" + line)
            case script.Pause(seconds):
                time.sleep(seconds)
            case script.HangUp():
                self.control.close()
            case script.Redial():
                self.control.close()
                self._buffer.clear()
                self.control = self._dial(self._endpoint.port)
            case script.ReadToEnd(words):
                self._read_to_end(words)

    def _say(self, parts: tuple[bytes, ...]) -> None:
        filled = [self.fill(part) for part in parts]
        for part in filled:
            self.control.sendall(part)
        self._said = b"".join(filled)
        if upload := _UPLOAD.match(self._said):
            self.played.uploads.append((upload[1], upload[2], b""))

    def _expect(self, prefixes: tuple[bytes, ...]) -> None:
        self._reply = read_reply(self._device.reading, self._device.keeps, self.control, self._buffer)
        self.played.replies.append(self._reply)
        if prefixes and not self._reply.startswith(prefixes):
            raise DeviceFails(f"{self._device.name} wants {prefixes} to {self._said!r}, not {self._reply!r}")

    def _listen(self, later: bool) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = socket.socket()
        self._listener.settimeout(PATIENCE)
        self._listener.bind((HOST, 0))
        if not later:
            self._listener.listen(1)
        port = self._listener.getsockname()[1]
        self._words[b"{address}"] = b"%s,%d,%d" % (HOST.replace(".", ",").encode(), port >> 8, port & 255)

    def _accept(self) -> None:
        assert self._listener is not None
        self.data, _ = self._listener.accept()
        self.data.settimeout(PATIENCE)
        self._listener.close()
        self._listener = None

    def _accept_first(self) -> None:
        ready = self._either()
        if self._listener not in ready:
            raise DeviceFails(f"{self._device.name} hears something before its data connection is there")
        self._accept()

    def _accept_and_expect(self, prefixes: tuple[bytes, ...]) -> None:
        if self._listener in self._either():
            self._accept()
            self._expect(prefixes)
        else:
            self._expect(prefixes)
            self._accept()

    def _either(self) -> list[socket.socket]:
        assert self._listener is not None
        heard = [self.control] if self._buffer else []
        ready, _, _ = select.select([self.control, self._listener], [], [], 0 if heard else PATIENCE)
        ready += heard
        assert ready, f"{self._device.name} waits in vain for its data connection"
        return ready

    def _send(self, step: script.Send) -> None:
        assert self.data is not None
        part = self._content[step.first : step.last]
        for start in range(0, len(part), step.chunk):
            self.data.sendall(part[start : start + step.chunk])
            if step.pause:
                time.sleep(step.pause)
        if self.played.uploads:
            verb, name, before = self.played.uploads[-1]
            self.played.uploads[-1] = verb, name, before + part

    def _receive(self, listing: bool) -> None:
        assert self.data is not None
        got = bytearray()
        while part := self.data.recv(65536):
            got += part
        if listing:
            assert self._words[b"{name}"] in got, bytes(got)
        else:
            self.played.downloads.append(bytes(got))

    def _receive_some(self, size: int) -> None:
        assert self.data is not None
        while size > 0 and (part := self.data.recv(size)):
            size -= len(part)

    def _drain(self) -> None:
        assert self.data is not None
        with contextlib.suppress(ConnectionResetError):
            while self.data.recv(65536):
                pass

    def _read_to_end(self, words: tuple[bytes, ...]) -> None:
        while part := self.control.recv(65536):
            self._buffer += part
        said = bytes(self._buffer)
        self._buffer.clear()
        if not re.search(b".*".join(re.escape(self.fill(word)) for word in words), said, re.DOTALL):
            raise DeviceFails(f"{self._device.name} finds no {words} in {said!r}")
