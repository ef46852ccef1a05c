"""A connection at the server, every byte of which is ours to spoil; it knows what the gateway sent outside TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl

from tests.campaign.links import Records
from tests.support.hostile.channel import Channel
from tests.support.records import DATA

_MOST_RAW = 1 << 20


class Wire(Channel):
    """`raw` is all that came, ciphertext included, up to a bound; `records` reads data connections as TLS."""

    def __init__(self, sock: socket.socket, patience: float) -> None:
        super().__init__(sock)
        self.patience(patience)
        self.raw = bytearray()
        self.records = Records()
        self.tiny = False
        self._left = b""

    def _receive(self, size: int) -> bytes:
        data = super()._receive(size)
        self.records.feed(data)
        if len(self.raw) < _MOST_RAW:
            self.raw += data
        return data

    def read(self, size: int = 65536) -> bytes:
        left, self._left = self._left, b""
        return left or super().read(size)

    def alert(self) -> None:
        """A genuine fatal alert; what had come before it is still to be read."""
        self._incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        with contextlib.suppress(ssl.SSLError):
            while data := self.tls.read(65536):
                self._left += data
        self._flush()

    def read_on(self, size: int = 65536) -> bytes:
        """As `read`; silence for a while is no end."""
        data = self.read(size)
        if self.ended == "timeout":
            self.ended = ""
        return data

    def say(self, data: bytes) -> None:
        """Send, in records of one byte if that is wanted. Raises OSError."""
        if self.tiny and self.secured:
            for at in range(min(len(data), 400)):
                self.say_aside([(DATA, data[at : at + 1])])
            data = data[400:]
        if data:
            self.write(data)

    def spoil(self, how: str) -> None:
        """Send a record that is none. Raises OSError."""
        raw = self.encrypt(b"spoilt" * 50)
        if how == "half":
            self.write_raw(raw[: len(raw) // 2])
        else:
            self.write_raw(raw[:-1] + bytes([raw[-1] ^ 1]))

    def end(self, how: bytes) -> None:
        """FIN, or RST once the thread that reads or sends here comes to close."""
        with contextlib.suppress(OSError):
            if how == b"rst":
                self.reset_from_any_thread()
            else:
                self.fin()
