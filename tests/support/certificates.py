"""Throw-away certificates: one authority, and server and client certificates good and bad.

Server keys are RSA, the kind every FTP server's certificate setting takes; keys are few and made on first use.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""What a good server certificate is made out to."""

_DAY = datetime.timedelta(days=1)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: Key) -> bytes:
    # PKCS #1 / SEC 1 form: old servers do not know PKCS #8.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key as PEM files; ``combined_file`` holds both, key first."""

    certificate: x509.Certificate
    key: Key
    certificate_file: Path
    key_file: Path
    combined_file: Path

    @property
    def spki_pin(self) -> str:
        """The pin of its public key: ``sha256/`` and the base64 of its SubjectPublicKeyInfo's SHA-256 (RFC 7469)."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(
            self.certificate.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return "sha256/" + base64.b64encode(digest.finalize()).decode()


class Certificates:
    """One authority with all it issues; files are written below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _write(self, stem: str, certificate: x509.Certificate, key: Key) -> KeyPair:
        certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        key_pem = _key_pem(key)
        pair = KeyPair(
            certificate,
            key,
            self.folder / f"{stem}.crt",
            self.folder / f"{stem}.key",
            self.folder / f"{stem}.pem",
        )
        pair.certificate_file.write_bytes(certificate_pem)
        for path, content in ((pair.key_file, key_pem), (pair.combined_file, key_pem + certificate_pem)):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return pair

    def _authority(self, stem: str, common_name: str) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(_name(common_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _DAY)
            .not_valid_after(_now() + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(subject_key, critical=False)
            .sign(key, hashes.SHA256())
        )
        return self._write(stem, certificate, key)

    @cached_property
    def authority(self) -> KeyPair:
        return self._authority("ca", "ftpsproxy tests CA")

    @cached_property
    def other_authority(self) -> KeyPair:
        return self._authority("other-ca", "some other CA")

    @property
    def ca_file(self) -> Path:
        """The root a gateway under test trusts."""
        return self.authority.certificate_file

    @cached_property
    def _server_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    def issue(
        self,
        stem: str,
        *,
        names: tuple[str, ...] = LOOPBACK_NAMES,
        common_name: str = "ftps.test",
        not_before_days: float = -1,
        not_after_days: float = 20,
        authority: KeyPair | None = None,
        key: Key | None = None,
        client: bool = False,
    ) -> KeyPair:
        """A certificate signed by ``authority`` (default: ours), valid between the two moments, in days from now.

        Without ``names`` it has no subjectAltName.
        """
        issuer = authority or self.authority
        own_key = key or (ec.generate_private_key(ec.SECP256R1()) if client else self._server_key)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(issuer.certificate.subject)
            .public_key(own_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() + not_before_days * _DAY)
            .not_valid_after(_now() + not_after_days * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
                critical=False,
            )
        )
        if not client and names:
            alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return self._write(stem, builder.sign(issuer.key, hashes.SHA256()), own_key)

    @cached_property
    def server(self) -> KeyPair:
        """Good: made out to localhost, 127.0.0.1 and ::1."""
        return self.issue("server")

    @cached_property
    def expired(self) -> KeyPair:
        return self.issue("expired", not_before_days=-10, not_after_days=-1)

    @cached_property
    def not_yet_valid(self) -> KeyPair:
        return self.issue("not-yet-valid", not_before_days=2, not_after_days=10)

    @cached_property
    def wrong_host(self) -> KeyPair:
        return self.issue("wrong-host", names=("elsewhere.example", "192.0.2.1"))

    @cached_property
    def unknown_authority(self) -> KeyPair:
        """Good but for its issuer, whom nobody trusts."""
        return self.issue("unknown-ca", authority=self.other_authority)

    @cached_property
    def revoked(self) -> KeyPair:
        """Good but for standing in ``crl_file``."""
        return self.issue("revoked")

    @cached_property
    def self_signed(self) -> KeyPair:
        key = self._server_key
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("self-signed.test"))
            .issuer_name(_name("self-signed.test"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _DAY)
            .not_valid_after(_now() + 20 * _DAY)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in LOOPBACK_NAMES]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return self._write("self-signed", certificate, key)

    @cached_property
    def client(self) -> KeyPair:
        """A client certificate of the same authority."""
        return self.issue("client", common_name="gateway.test", client=True)

    @cached_property
    def crl_file(self) -> Path:
        """A PEM revocation list of our authority that names ``revoked``."""
        revoked = (
            x509.RevokedCertificateBuilder()
            .serial_number(self.revoked.certificate.serial_number)
            .revocation_date(_now() - _DAY)
            .build()
        )
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.authority.certificate.subject)
            .last_update(_now() - _DAY)
            .next_update(_now() + 20 * _DAY)
            .add_revoked_certificate(revoked)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key()),
                critical=False,
            )
            .add_extension(x509.CRLNumber(1), critical=False)
            .sign(self.authority.key, hashes.SHA256())
        )
        path = self.folder / "revoked.crl"
        path.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        return path


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
