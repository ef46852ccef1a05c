"""What stands in a server's certificate, for the log and for people, and its pin.

OpenSSL is who verifies it. Other parsers are stricter in what they like (letters of names, versions, serial numbers);
what they can't read is left out and is no reason to refuse a server. A server's pin is of the key that OpenSSL has
found, and the handshake proved: who reads the bytes by rules of his own may be shown another one.
"""

import base64
import hashlib
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

_SEQUENCE, _INTEGER, _VERSION = b"\x30", b"\x02", b"\xa0"
# Of a certificate with hundreds of names, or with long ones: in a line for people, and in one of the log.
_MOST_NAMES, _SHOWN = 4, 80
_MOST_LOGGED, _LOGGED = 50, 255
# Serial number, signature, issuer, validity, subject (RFC 5280 section 4.1).
_BEFORE_THE_KEY = (_INTEGER, *(_SEQUENCE,) * 4)


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
def read(der: bytes, key: bytes | None = None) -> Certificate:
    """What stands in it; `key` is its public key in OpenSSL's reading, which is the one that counts where a server has
    proved to have it. Raises ValueError where not even its key can be found."""
    known = Certificate(hashlib.sha256(der).hexdigest(), hashlib.sha256(key or public_key(der)).hexdigest())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what will be refused by its parser one day
        try:
            parsed = x509.load_der_x509_certificate(der)
            known = replace(
                known,
                serial=f"{parsed.serial_number:x}",
                not_before=parsed.not_valid_before_utc,
                not_after=parsed.not_valid_after_utc,
                names=names_of(parsed),
            )
            return replace(known, subject=parsed.subject.rfc4514_string(), issuer=parsed.issuer.rfc4514_string())
        except Exception:  # whatever a parser makes of a stranger's bytes: this is to be shown, and decides nothing
            return known


def names_of(parsed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The host names and addresses it is for (subjectAltName), as far as they can be read."""
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    hosts = [str(name) for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def public_key(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, as it stands there. Raises ValueError for what is no strict DER up to
    there: OpenSSL takes more, and would find another key in it."""
    begin, end = _inside(der, 0, len(der), _SEQUENCE)
    at, end = _inside(der, begin, end, _SEQUENCE)
    if der[at : at + 1] == _VERSION:
        _, at = _inside(der, at, end, _VERSION)
    for tag in _BEFORE_THE_KEY:
        _, at = _inside(der, at, end, tag)
    _, after = _inside(der, at, end, _SEQUENCE)
    return der[at:after]


def _inside(der: bytes, at: int, end: int, tag: bytes) -> tuple[int, int]:
    """Where the content of the element at this place, of that tag, begins and ends (X.690 section 10.1: the length is
    definite, in as few octets as can be). Raises ValueError."""
    if der[at : at + 1] != tag or at + 2 > end:
        raise ValueError("no certificate in DER")
    size, begin = der[at + 1], at + 2
    if size & 0x80:
        begin += size & 0x7F
        octets = der[at + 2 : begin]
        size = int.from_bytes(octets, "big")
        if not octets or octets[0] == 0 or size < 0x80:
            raise ValueError("a length that is no DER")
    if begin + size > end:
        raise ValueError("it ends too early")
    return begin, begin + size
