"""`ftpsproxy csr`: a private key and a signing request for the certificate that we show to servers that want one
(`cert_file`, `key_file`); with --show, what is in such files, and which of them belong together."""

import argparse
import contextlib
import ipaddress
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import NameOID

from ftpsproxy import errors
from ftpsproxy.cli.files import write_new
from ftpsproxy.cli.terminal import FAILED, WRONG, fail, fail_all, say
from ftpsproxy.config import host_name
from ftpsproxy.tls import certificate

_RSA_BITS = 3072  # NIST SP 800-57: 128 bits of strength, as P-256 has
_AFTER_COMMA = re.compile(r"(?<!\\),[ ]+")  # as people write it
_PRIVATE, _PUBLIC = 0o600, 0o644
_PUBLIC_FORM = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def csr(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    if options.show:
        return _show([Path(name) for name in options.show])
    if not options.subject:
        return fail("say whose certificate it is to be: --subject 'CN=till-7,O=Example', or --show FILE", WRONG)
    try:
        subject = _subject(options.subject)
        names = [_name(written) for written in options.name]
    except ValueError as error:
        return fail(error, WRONG)
    if options.key == options.out:
        return fail("--key and --out name the same file", WRONG)
    for path in (options.key, options.out):
        if os.path.lexists(path):
            return fail(f"{path} is there already, and is not overwritten: name another file by --key or --out", WRONG)
    key: Key = rsa.generate_private_key(65537, _RSA_BITS) if options.rsa else ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        write_new(options.key, secret, _PRIVATE)
        try:
            write_new(options.out, request, _PUBLIC)
        except BaseException:
            options.key.unlink()  # made for that request alone
            raise
    except OSError as error:
        return fail(f"{error.filename} can't be written: {errors.words(error)}", FAILED)
    say(f"{options.key}: the private key; it stays here, readable by you only")
    say(f"{options.out}: the signing request; send it to whoever issues the certificate")
    say(f'then: cert_file = "the certificate they send", key_file = "{options.key}"')
    return 0


def _subject(written: str) -> x509.Name:
    """RFC 4514, or a common name alone. Raises ValueError."""
    words = _AFTER_COMMA.sub(",", written.strip())
    try:
        if not words:
            raise ValueError("it is empty")
        if "=" not in words:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])
        return x509.Name.from_rfc4514_string(words)
    except ValueError as error:
        why = f": {error}" if str(error) else ""
        raise ValueError(f"--subject: {written!r} can't be one, write 'CN=till-7,O=Example,C=DE'{why}") from None


def _name(written: str) -> x509.GeneralName:
    """A host name or an address. Raises ValueError."""
    try:
        host = host_name(written)
    except ValueError as error:
        raise ValueError(f"--name: {error}") from None
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- what is in a file ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """One thing that a file holds; `key` is its public key in DER, by which things belong together."""

    path: Path
    words: str
    key: bytes


def _show(paths: list[Path]) -> int:
    found: list[_Found] = []
    faults = []
    for path in paths:
        try:
            found += _read(path)
        except OSError as error:
            faults.append(f"{path}: {errors.words(error)}")
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            faults.append(f"{path}: {error}")
    for one in found:
        say(f"{one.path}: {one.words}")
    if len(found) > 1:
        for line in _together(found):
            say(line)
    return fail_all(faults, WRONG) if faults else 0


def _together(found: list[_Found]) -> Iterable[str]:
    for key in dict.fromkeys(one.key for one in found):
        paths = list(dict.fromkeys(str(one.path) for one in found if one.key == key))
        things = [one for one in found if one.key == key]
        if len(things) > 1:
            yield f"belong together, one key: {', '.join(paths)}"
        else:
            yield f"{paths[0]} belongs to none of the others"


def _read(path: Path) -> list[_Found]:
    """What a file holds, in PEM or DER. Raises OSError, ValueError, TypeError, UnsupportedAlgorithm."""
    if not path.is_file() and not path.is_dir() and path.exists():
        raise ValueError("not a file")
    content = path.read_bytes()
    found = []
    if b"PRIVATE KEY-----" in content:
        found.append(_of_key(path, content))
    if b"CERTIFICATE REQUEST-----" in content:
        found.append(_of_request(path, x509.load_pem_x509_csr(content)))
    if b"-----BEGIN CERTIFICATE-----" in content:
        found += [_of_certificate(path, one) for one in x509.load_pem_x509_certificates(content)]
    if found:
        return found
    with contextlib.suppress(ValueError):
        return [_of_certificate(path, x509.load_der_x509_certificate(content))]
    with contextlib.suppress(ValueError):
        return [_of_request(path, x509.load_der_x509_csr(content))]
    raise ValueError("neither a certificate, a signing request nor a key, in PEM or DER")


def _of_key(path: Path, content: bytes) -> _Found:
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise ValueError("the key is encrypted; the gateway needs one without a passphrase") from None
    mode = stat.S_IMODE(path.stat().st_mode)
    who = "readable by its owner only" if not mode & 0o077 else f"and others may read it (mode {mode:04o}): chmod 600"
    return _Found(path, f"private key, {_kind(key.public_key())}, {who}", _public(key.public_key()))


def _of_request(path: Path, request: x509.CertificateSigningRequest) -> _Found:
    valid = "" if request.is_signature_valid else "; its signature is wrong"
    words = f"signing request for {request.subject.rfc4514_string()}{_names(request)}"
    return _Found(path, f"{words}, {_kind(request.public_key())}{valid}", _public(request.public_key()))


def _of_certificate(path: Path, shown: x509.Certificate) -> _Found:
    begins, ends, now = shown.not_valid_before_utc, shown.not_valid_after_utc, datetime.now(UTC)
    state = f"{(ends - now).days} days left" if begins <= now <= ends else "EXPIRED" if now > ends else "NOT YET VALID"
    words = (
        f"certificate of {shown.subject.rfc4514_string()}{_names(shown)}, issued by "
        f"{shown.issuer.rfc4514_string()}, valid {begins.date()} to {ends.date()} ({state}), "
        f"{_kind(shown.public_key())}"
    )
    return _Found(path, words, _public(shown.public_key()))


def _names(parsed: x509.Certificate | x509.CertificateSigningRequest) -> str:
    names = certificate.names_of(parsed)
    return f" for {', '.join(names)}" if names else ""


def _kind(key: PublicKeyTypes) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(*_PUBLIC_FORM)
