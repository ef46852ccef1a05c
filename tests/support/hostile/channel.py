"""One TCP connection of the misbehaving server, with TLS in memory so that every byte on the wire is ours to spoil.

TLS tickets go out with the end of the handshake, as OpenSSL servers do it. Two threads may read and write.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.records import Scribe

PATIENCE = 40.0  # seconds any single read or write may take
_ESTABLISHED, _CLOSE_WAIT = 1, 8  # Linux tcp_states.h
_BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


class Channel:
    """A connection, at first in clear, later perhaps TLS with the server's part. It ends as rudely as asked."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._lock = threading.RLock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._said = bytearray()
        self._scribe: Scribe | None = None
        self.ended = ""  # see SeenData.ended

    @property
    def tls(self) -> ssl.SSLObject:
        assert self._tls is not None
        return self._tls

    def patience(self, seconds: float) -> None:
        """Let reads and writes take so long from now on."""
        self._sock.settimeout(seconds)

    @property
    def secured(self) -> bool:
        return self._tls is not None

    def start_tls(self, context: ssl.SSLContext, *, alert: bool = False) -> None:
        """Do the server's part of the handshake; `alert`: a fatal one goes out in one piece with its last message.
        Raises OSError (ssl.SSLError among them) when it fails."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                if alert and self._outgoing.pending and context.maximum_version is not ssl.TLSVersion.TLSv1_2:
                    break  # TLS 1.3: its Finished is in there
                self._flush()
                self._feed()
            except ssl.SSLError:
                self._flush()  # the alert
                raise
        if alert:
            self._incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that it can't read
            with contextlib.suppress(ssl.SSLError):
                self._tls.do_handshake()
            with contextlib.suppress(ssl.SSLError):
                while self._tls.read(65536):
                    pass  # what has come before it
        self._flush()
        if context.keylog_filename:
            name = (self._tls.cipher() or ("",))[0]
            self._scribe = Scribe(name, Path(context.keylog_filename), bytes(self._said))

    def say_aside(self, asides: Iterable[tuple[int, bytes]]) -> None:
        """Send these TLS records between those of the data. Raises OSError."""
        with self._lock:
            if self._scribe is not None:
                self._sock.sendall(b"".join(self._scribe.record(*aside) for aside in asides))

    def peek(self, size: int) -> bytes:
        """Return the first bytes that wait, without taking them; b"" at the end."""
        try:
            return self._sock.recv(size, socket.MSG_PEEK)
        except OSError:
            return b""

    def read(self, size: int = 65536) -> bytes:
        """Return the next bytes; b"" when the peer has ended, and `ended` says how."""
        while not self.ended:
            if self._tls is None:
                data = self._receive(size)
                if data:
                    return data
                continue
            with self._lock:
                try:
                    data = self._tls.read(size)
                    self._flush_quietly()
                    if data:
                        return data
                    self.ended = "close_notify"
                    break
                except ssl.SSLWantReadError:
                    self._flush_quietly()
                except ssl.SSLZeroReturnError:
                    self.ended = "close_notify"
                    break
                except ssl.SSLError:
                    self._flush_quietly()
                    self.ended = "broken"
                    break
            raw = self._receive(size)
            if raw:
                with self._lock:
                    self._incoming.write(raw)
        return b""

    def write(self, data: bytes) -> None:
        """Send `data`, encrypted once TLS is up. Raises OSError."""
        view = memoryview(data)
        for start in range(0, len(view), 1 << 18):
            with self._lock:
                self._sock.sendall(
                    self.encrypt(view[start : start + (1 << 18)]) if self._tls else view[start:][: 1 << 18]
                )

    def write_raw(self, data: bytes) -> None:
        """Send bytes as they are, TLS or not. Raises OSError."""
        with self._lock:
            self._sock.sendall(data)

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return the TLS records that carry `data`, to be sent (or spoilt) by the caller."""
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self.tls.write(view) :]
            return self._sealed()

    def alert(self) -> None:
        """Send a genuine fatal alert, made by giving our own TLS side a record nobody can decrypt."""
        with self._lock:
            self._incoming.write(_BROKEN_RECORD)
            with contextlib.suppress(ssl.SSLError):
                self.tls.read(1)
            self._flush()

    def close_notify(self) -> None:
        """Send the end of the TLS stream and do not wait for the peer's. Raises OSError."""
        with self._lock:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self._flush()

    def read_to_tcp_end(self) -> str:
        """Read what still comes and return how TCP ended: "fin", "reset", "timeout" or "here"."""
        before, self.ended = self.ended, ""
        while self._receive(65536):
            pass
        how, self.ended = self.ended, before or self.ended
        return how

    def fin(self) -> None:
        """Say FIN; reading goes on."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def wake(self) -> None:
        """End both directions from any thread: a read or write under way returns."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def wait_until_sent(self, seconds: float = 10.0) -> None:
        """Wait until the peer's kernel has acknowledged all we sent: a reset throws away what still waits here."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            waiting = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4))
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if waiting == bytes(4) or state not in (_ESTABLISHED, _CLOSE_WAIT):
                return
            time.sleep(0.005)

    def reset(self) -> None:
        """Close with a RST."""
        self._linger_never()
        self.close()

    def reset_from_any_thread(self) -> None:
        """Have the reading thread come back from its read; the close it does then sends a RST."""
        self._linger_never()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def _linger_never(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close as the kernel does it: FIN, or RST when bytes were left unread."""
        self._sock.close()

    def _feed(self) -> None:
        raw = self._receive(65536)
        if not raw:
            raise ConnectionError(f"peer ended in the handshake: {self.ended}")
        self._incoming.write(raw)

    def _receive(self, size: int) -> bytes:
        try:
            raw = self._sock.recv(size)
        except TimeoutError:
            self.ended = "timeout"
        except ConnectionResetError:
            self.ended = "reset"
        except OSError:
            self.ended = "here"
        else:
            if raw:
                return raw
            self.ended = "fin"
        return b""

    def _flush(self) -> None:
        with self._lock:
            raw = self._sealed()
            if raw:
                try:
                    self._sock.sendall(raw)
                except (ConnectionResetError, BrokenPipeError):
                    self.ended = "reset"
                    raise

    def _sealed(self) -> bytes:
        """What TLS wants to send."""
        raw = self._outgoing.read()
        if self._scribe is not None:
            return self._scribe.rewrite(raw)
        self._said += raw
        return raw

    def _flush_quietly(self) -> None:
        with contextlib.suppress(OSError):
            self._flush()
