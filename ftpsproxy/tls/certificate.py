"""What the log says of a server's certificate, and its pin.

OpenSSL has verified it by then. Other parsers are stricter in what they like (letters of names, versions, serial
numbers); what they can't read is left out of the log and is no reason to refuse a server. The pin is read from the
bytes themselves.
"""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from ftpsproxy.tls.connection import Connection
from ftpsproxy.tls.errors import Refused

_SEQUENCE, _VERSION = 0x30, 0xA0
_BEFORE_THE_KEY = 5  # serial number, signature, issuer, validity, subject (RFC 5280 section 4.1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the log says of a server's certificate. `pin` is `sha256/` and base64 of its public key (SPKI); `subject` is
    empty and `not_after` None where they can't be read."""

    fingerprint: str
    subject: str
    pin: str
    not_after: datetime | None

    @property
    def days_left(self) -> int | None:
        """Whole days until it expires; negative once it has."""
        return None if self.not_after is None else (self.not_after - datetime.now(UTC)).days


@lru_cache(maxsize=256)
def _certificate(der: bytes) -> Certificate:
    pin = "sha256/" + base64.b64encode(hashlib.sha256(public_key(der)).digest()).decode()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what will be refused by its parser one day
            parsed = x509.load_der_x509_certificate(der)
            subject, not_after = parsed.subject.rfc4514_string(), parsed.not_valid_after_utc
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return Certificate(hashlib.sha256(der).hexdigest(), "", pin, None)
    return Certificate(hashlib.sha256(der).hexdigest(), subject, pin, not_after)


def certificate_of(tls: Connection) -> Certificate:
    """The server's certificate. Raises Refused when there is none or it can't be read."""
    der = tls.certificate
    if der is None:
        raise Refused("no_certificate", "the server showed no certificate")
    try:
        return _certificate(der)
    except ValueError as error:
        raise Refused("certificate", f"the server's certificate can't be read: {error}") from None


def check_pins(tls: Connection, pins: tuple[str, ...]) -> None:
    """Raises Refused unless the server's key is one of `pins` (none: any)."""
    if pins and (pin := certificate_of(tls).pin) not in pins:
        raise Refused("wrong_pin", f"the server's key is not among the pins; it is {pin}")


def public_key(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, as it stands there. Raises ValueError."""
    _, at, _ = _element(der, 0)
    _, at, end = _element(der, at)
    tag, _, after = _element(der, at)
    if tag == _VERSION:
        at = after
    for _ in range(_BEFORE_THE_KEY):
        _, _, at = _element(der, at)
    tag, _, after = _element(der, at)
    if tag != _SEQUENCE or after > end:
        raise ValueError("no public key where it should be")
    return der[at:after]


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """The element at this place of a DER structure: its tag, where its content begins and where it ends (X.690)."""
    if at + 2 > len(der):
        raise ValueError("it ends too early")
    size, begin = der[at + 1], at + 2
    if size & 0x80:
        begin += size & 0x7F
        size = int.from_bytes(der[at + 2 : begin], "big")
    if begin + size > len(der):
        raise ValueError("it ends too early")
    return der[at], begin, begin + size
