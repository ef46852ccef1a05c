"""What stands in a server's certificate, for the log and for people, and its pin.

OpenSSL is who verifies it. Other parsers are stricter in what they like (letters of names, versions, serial numbers);
what they can't read is left out and is no reason to refuse a server. The pin is read from the bytes themselves.
"""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

_SEQUENCE, _VERSION = 0x30, 0xA0
# Of a certificate with hundreds of names, or with long ones: in a line for people, and in one of the log.
_MOST_NAMES, _SHOWN = 4, 80
_MOST_LOGGED, _LOGGED = 50, 255
_BEFORE_THE_KEY = 5  # serial number, signature, issuer, validity, subject (RFC 5280 section 4.1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What can be said of a certificate. Fingerprints are SHA-256 in hex, of the whole and of its public key (SPKI);
    `names` are those it is for (subjectAltName). Where only OpenSSL can read it, texts are empty and times None."""

    fingerprint: str
    key_fingerprint: str
    subject: str = ""
    names: tuple[str, ...] = ()
    issuer: str = ""
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def pin(self) -> str:
        """`sha256/` and base64 of the public key's digest, as other programs write it, too."""
        return "sha256/" + base64.b64encode(bytes.fromhex(self.key_fingerprint)).decode()

    @property
    def days_left(self) -> int | None:
        """Whole days until it expires; negative once it has."""
        return None if self.not_after is None else (self.not_after - datetime.now(UTC)).days

    @property
    def has_expired(self) -> bool:
        """Whether it has, as far as that can be read."""
        return self.not_after is not None and self.not_after < datetime.now(UTC)

    def is_among(self, pins: tuple[str, ...]) -> bool:
        """Whether one of them (config: `pins`) names it, or its key."""
        return not {self.pin, self.key_fingerprint, self.fingerprint}.isdisjoint(pins)

    @property
    def words(self) -> str:
        """One line for people: what can be compared with the partner first."""
        parts = [f"pin {self.pin}"]
        if self.names:
            parts.append(f"for {shown_names(self.names)}")
        if self.subject:
            parts.append(f"subject {_cut(self.subject)}")
        if self.issuer:
            parts.append("issued by itself" if self.issuer == self.subject else f"issuer {_cut(self.issuer)}")
        if self.not_before is not None and self.not_after is not None:
            parts.append(f"valid {day(self.not_before)} to {day(self.not_after)}")
        return ", ".join([*parts, f"SHA-256 {self.fingerprint}"])

    @property
    def facts(self) -> tuple[tuple[str, object], ...]:
        """The same for the log, by field."""
        return (
            ("certificate_sha256", self.fingerprint),
            ("pin", self.pin),
            ("subject", _cut(self.subject, _LOGGED) or None),
            ("names", [_cut(name, _LOGGED) for name in self.names[:_MOST_LOGGED]] or None),
            ("issuer", _cut(self.issuer, _LOGGED) or None),
            ("serial", self.serial or None),
            ("not_before", self.not_before.isoformat() if self.not_before is not None else None),
            ("not_after", self.not_after.isoformat() if self.not_after is not None else None),
        )


def day(time: datetime) -> str:
    """A date for people."""
    return time.date().isoformat()


def shown_names(names: tuple[str, ...]) -> str:
    """So many of them as a line has room for."""
    more = len(names) - _MOST_NAMES
    return ", ".join(map(_cut, names[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def _cut(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


@lru_cache(maxsize=256)
def read(der: bytes) -> Certificate:
    """What stands in it. Raises ValueError where not even its key can be found."""
    fingerprint = hashlib.sha256(der).hexdigest()
    key_fingerprint = hashlib.sha256(public_key(der)).hexdigest()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what will be refused by its parser one day
            parsed = x509.load_der_x509_certificate(der)
            return Certificate(
                fingerprint,
                key_fingerprint,
                parsed.subject.rfc4514_string(),
                names_of(parsed),
                parsed.issuer.rfc4514_string(),
                f"{parsed.serial_number:x}",
                parsed.not_valid_before_utc,
                parsed.not_valid_after_utc,
            )
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return Certificate(fingerprint, key_fingerprint)


def names_of(parsed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The host names and addresses it is for (subjectAltName), as far as they can be read."""
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    hosts = [str(name) for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


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
