"""TLS 1.3 records made by hand: what a server may say beside its data, which no library sends when told to.

A `Scribe` takes over the sending side of a connection from Python's `ssl`: it opens each record that comes out of it
and seals it anew under a count of its own, so that others can be put between (RFC 8446 sections 5.2, 5.3, 4.6, 6).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT, HANDSHAKE, DATA = 21, 22, 23
CLOSE_NOTIFY, USER_CANCELED = bytes([1, 0]), bytes([1, 90])
KEY_UPDATE, KEY_UPDATE_REQUESTED = bytes([24, 0, 0, 1, 0]), bytes([24, 0, 0, 1, 1])
_HEADER = 5


@dataclass(frozen=True, slots=True)
class _Suite:
    """What a cipher suite is made of."""

    hash: type[SHA256 | SHA384]
    key_bytes: int
    cipher: type[AESGCM | ChaCha20Poly1305]


_SUITES = {
    "TLS_AES_128_GCM_SHA256": _Suite(SHA256, 16, AESGCM),
    "TLS_AES_256_GCM_SHA384": _Suite(SHA384, 32, AESGCM),
    "TLS_CHACHA20_POLY1305_SHA256": _Suite(SHA256, 32, ChaCha20Poly1305),
}


class _Keys:
    """One direction's keys, and the number of its next record."""

    def __init__(self, suite: _Suite, secret: bytes) -> None:
        self._suite = suite
        self._secret = secret
        self._aead = suite.cipher(self._expand("key", suite.key_bytes))
        self._iv = self._expand("iv", 12)
        self.number = 0

    def _expand(self, label: str, size: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        return HKDFExpand(algorithm=self._suite.hash(), length=size, info=info).derive(self._secret)

    def next(self) -> _Keys:
        """Those behind a KeyUpdate."""
        return _Keys(self._suite, self._expand("traffic upd", self._suite.hash.digest_size))

    def _nonce(self) -> bytes:
        mask = int.from_bytes(self._iv, "big") ^ self.number
        self.number += 1
        return mask.to_bytes(12, "big")

    def seal(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        header = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        return header + self._aead.encrypt(self._nonce(), inner, header)

    def open(self, record: bytes) -> tuple[int, bytes]:
        """A whole record → kind and content. Raises InvalidTag, and does not count, for one under other keys."""
        number = self.number
        try:
            inner = self._aead.decrypt(self._nonce(), record[_HEADER:], record[:_HEADER]).rstrip(b"\0")
        except InvalidTag:
            self.number = number
            raise
        return inner[-1], inner[:-1]


class Scribe:
    """The sending side of a server whose `ssl` context writes its secrets to `keylog`.

    `said` is all the server has sent so far, its last words of the handshake included.
    """

    def __init__(self, cipher: str, keylog: Path, said: bytes) -> None:
        secrets = [line.split()[2] for line in keylog.read_text().splitlines() if line.startswith("SERVER_TRAFFIC_SEC")]
        suite = _SUITES[cipher]
        self._theirs = _Keys(suite, bytes.fromhex(secrets[-1]))
        self._ours = _Keys(suite, bytes.fromhex(secrets[-1]))
        for record in _records(said):
            try:
                self._theirs.open(record)
            except InvalidTag:
                continue  # in clear, or under the keys of the handshake
        self._ours.number = self._theirs.number

    def rewrite(self, ciphertext: bytes) -> bytes:
        """What `ssl` wants to send (whole records), as it can be sent now."""
        return b"".join(self._ours.seal(*self._theirs.open(record)) for record in _records(ciphertext))

    def record(self, kind: int, content: bytes) -> bytes:
        """A record of our own; behind a KeyUpdate the next keys are used."""
        sealed = self._ours.seal(kind, content)
        if kind == HANDSHAKE and content in (KEY_UPDATE, KEY_UPDATE_REQUESTED):
            self._ours = self._ours.next()
        return sealed


def _records(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        size = _HEADER + int.from_bytes(data[at + 3 : at + 5], "big")
        found.append(data[at : at + size])
        at += size
    return found
