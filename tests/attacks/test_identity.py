"""The promise: nothing of a login leaves before the server has proved who it is.

The attack: certificates that name a host where names no longer count, that no parser likes, or a key exchange that
only costs. What must be seen: no session, one plain line, no crash.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.faults.test_refusals import _assert_refused
from tests.support.bad_server import Quirks
from tests.support.certificates import KeyPair


def test_a_host_named_by_the_subject_alone(stages: Stages) -> None:
    """Name constraints of an authority do not bind the subject (RFC 9525 section 2)."""
    stage = stages("named")
    pair = stage.certificates.issue("common-name-only", names=(), common_name="localhost")
    stage.play(Quirks(), certificate=pair)
    assert "subjectAltName" in _assert_refused(stage, "wrong_host")


@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_certificate_of_no_known_version(stages: Stages, tmp_path: Path, version: int) -> None:
    """With a pin its key is all that counts; the log leaves out what it can't read."""
    stage = stages("pin_only")
    good = stage.certificates.server
    der = bytearray(x509.load_pem_x509_certificate(good.certificate_file.read_bytes()).public_bytes(_DER))
    der[der.index(b"\xa0\x03\x02\x01") + 4] = version - 1
    chain = tmp_path / "chain.pem"
    chain.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))
    stage.play(Quirks(), certificate=replace(good, certificate_file=chain))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    secured = stage.event("upstream.secured")
    assert (secured["subject"], secured.get("days_left")) == ("", None)


_DER = serialization.Encoding.DER


def _element(tag: int, *content: bytes) -> bytes:
    """One element of DER."""
    joined = b"".join(content)
    size = len(joined)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, size] if size < 128 else [tag, 0x80 | len(octets), *octets]) + joined


def _forged(like: KeyPair, folder: Path, algorithm: bytes, subject: bytes) -> KeyPair:
    """A certificate by hand, of a key of its own. Nobody has signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _element(0x30, _element(0x31, _element(0x30, bytes.fromhex("0603550403"), subject)))
    time = _element(0x30, _element(0x17, b"200101000000Z"), _element(0x17, b"400101000000Z"))
    spki = key.public_key().public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = _element(0x30, bytes.fromhex("a003020102020105"), algorithm, name, time, name, spki)
    der = _element(0x30, signed, _ECDSA, _element(0x03, bytes.fromhex("003006020101020101")))
    certificate_file, key_file = folder / "forged.pem", folder / "forged.key"
    certificate_file.write_text(ssl.DER_cert_to_PEM_cert(der))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_file.chmod(0o600)
    return replace(like, certificate_file=certificate_file, key_file=key_file)


_ECDSA_OID = bytes.fromhex("06082a8648ce3d040302")
_ECDSA = _element(0x30, _ECDSA_OID)


def test_another_key_in_the_same_bytes(stages: Stages, tmp_path: Path) -> None:
    """OpenSSL reads BER: behind a length that is not said stands the pinned key, where a reader of DER would find it,
    and his own where OpenSSL does."""
    stage = stages("pin_only")
    pinned = stage.certificates.server.certificate.public_key()
    spki = pinned.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    algorithm = b"\x30\x80" + _ECDSA_OID + b"\x30\x80\x05\x00" + spki + bytes(4)
    stage.play(Quirks(), certificate=_forged(stage.certificates.server, tmp_path, algorithm, _element(0x0C, b"x")))
    _assert_refused(stage, "wrong_pin")


def test_a_subject_that_no_parser_can_read(stage: Stage, tmp_path: Path) -> None:
    """A string of bits, where cryptography raises a TypeError."""
    bits = _element(0x03, b"\0a")
    stage.play(Quirks(), certificate=_forged(stage.certificates.server, tmp_path, _ECDSA, bits))
    assert "Shown: pin sha256/" in _assert_refused(stage, "self_signed", "unknown_ca", "certificate")


def test_a_group_of_the_servers_choice(stage: Stage) -> None:
    """DHE: of 10,000 bits it costs half a second of everybody's time."""
    stage.play(Quirks(tls_max=ssl.TLSVersion.TLSv1_2, ciphers="DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"))
    _assert_refused(stage, "handshake_refused")
