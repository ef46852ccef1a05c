"""A data connection whose server renegotiates TLS 1.2 in mid-transfer, as ProFTPD's TLSRenegotiate does (U10).

Python's `ssl` cannot start a renegotiation, pyOpenSSL can.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from OpenSSL import SSL

_CHUNK = 16384
_Result = TypeVar("_Result")


def _context(certificate: Path, key: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))
    context.set_session_id(b"renegotiating")
    return context


class Renegotiating:
    """The server's side of one data connection; renegotiates once, after `at` bytes, and says to `note` when that has
    come about. Raises OSError when it fails."""

    def __init__(self, sock: socket.socket, certificate: Path, key: Path, at: int, note: Callable[[int], None]) -> None:
        self._sock = sock
        self._note = note
        self._at = at
        self._tls = SSL.Connection(_context(certificate, key), None)
        self._tls.set_accept_state()
        self._asked = False
        self._pump(self._tls.do_handshake)

    @property
    def renegotiations(self) -> int:
        """How many were asked for and have come about."""
        if not self._asked or self._tls.renegotiate_pending():
            return 0
        return int(self._tls.total_renegotiations())

    def send(self, body: bytes) -> None:
        """Send all of `body`, then the end."""
        for start in range(0, len(body), _CHUNK):
            if start >= self._at and not self._asked:
                self._ask()
                self._hear_answer()
            self._pump(partial(self._tls.sendall, body[start : start + _CHUNK]))
        self._tls.shutdown()
        self._flush()
        self._sock.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        """Return all that comes until the peer's close_notify."""
        data = bytearray()
        while True:
            try:
                data += self._pump(lambda: self._tls.recv(_CHUNK))
            except SSL.ZeroReturnError:
                self._tls.shutdown()
                self._flush()
                return bytes(data)
            if len(data) >= self._at and not self._asked:
                self._ask()  # the answer is dealt with on the way

    def _ask(self) -> None:
        self._asked = True
        self._tls.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            self._tls.do_handshake()
        self._flush()

    def _hear_answer(self) -> None:
        """Until the new handshake is done; the peer of a download says nothing else, and unread it would reset us."""
        while self._tls.renegotiate_pending():
            with contextlib.suppress(SSL.WantReadError):
                self._tls.recv(1)
            self._flush()
            if self._tls.renegotiate_pending():
                raw = self._sock.recv(65536)
                if not raw:
                    raise ConnectionError("the peer ended")
                self._tls.bio_write(raw)

    def _pump(self, act: Callable[[], _Result]) -> _Result:
        while True:
            try:
                result = act()
            except SSL.WantReadError:
                self._flush()
                self._note(self.renegotiations)
                raw = self._sock.recv(65536)
                if not raw:
                    raise ConnectionError("the peer ended") from None
                self._tls.bio_write(raw)
            except SSL.ZeroReturnError:
                raise
            except SSL.Error as error:
                raise ConnectionError(f"TLS failed: {error}") from None
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        while True:
            try:
                raw = self._tls.bio_read(65536)
            except SSL.WantReadError:
                return
            self._sock.sendall(raw)
