"""The settings of an upstream's TLS that can't work are found before anybody connects."""

import contextlib
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.config import Upstream, names
from ftpsproxy.tls import TlsConfigError, build_context, certificate
from tests.support.certificates import Certificates


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    certificates: Certificates, tmp_path: Path, form: str
) -> None:
    pair = certificates.client
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(
        pair.key.private_bytes(
            serialization.Encoding.PEM,
            getattr(serialization.PrivateFormat, form),
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsConfigError, match="the key is encrypted"):
        build_context(Upstream("u", "localhost", cert_file=pair.certificate_file, key_file=key_file))


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("crt", "crt", "no private key in .*crt"),
        ("crt", None, "no private key in .*crt"),
        ("crt", "nothing", "no private key in .*nothing"),
        ("key", "key", "no certificate in .*key"),
        ("crt", "other", "the key is not the certificate's"),
        ("crt", "another", "the key is not the certificate's"),
        ("crt", "missing", "no such file"),
    ],
)
def test_a_client_certificate_that_is_none(
    certificates: Certificates, tmp_path: Path, certificate: str, key: str | None, why: str
) -> None:
    (tmp_path / "crt").write_bytes(certificates.client.certificate_file.read_bytes())
    (tmp_path / "key").write_bytes(certificates.client.key_file.read_bytes())
    (tmp_path / "other").write_bytes(certificates.server.key_file.read_bytes())
    another = certificates.issue("another", common_name="another.test", client=True)
    (tmp_path / "another").write_bytes(another.key_file.read_bytes())
    (tmp_path / "nothing").touch()
    with pytest.raises(TlsConfigError, match=why):
        build_context(
            Upstream("u", "localhost", cert_file=tmp_path / certificate, key_file=tmp_path / key if key else None)
        )


ODD_NAMES = {
    "an address of X.400": bytes.fromhex("300d 8209") + b"localhost" + bytes.fromhex("a300"),
    "one of EDI": bytes.fromhex("300d 8209") + b"localhost" + bytes.fromhex("a500"),
    "noise": b"\xff\x00\x01",
}


@pytest.mark.parametrize("names", ODD_NAMES.values(), ids=ODD_NAMES)
def test_names_that_only_openssl_can_read(certificates: Certificates, names: bytes) -> None:
    key = certificates.server.key
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    odd = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names), critical=False)
        .sign(key, hashes.SHA256())
    )
    known = certificate.read(odd.public_bytes(serialization.Encoding.DER))
    assert (known.subject, known.names, known.pin) == ("CN=odd", (), certificates.server.spki_pin)


def test_a_certificate_with_much_in_it_is_shown_in_a_line() -> None:
    names = tuple(f"{number}.{'x' * 9000}.example" for number in range(3000))
    known = certificate.Certificate("ab" * 32, "cd" * 32, "CN=" + "s" * 9000, names, "CN=" + "i" * 9000, "1")
    assert len(known.words) < 1000
    assert len(str(known.facts)) < 20_000


@pytest.mark.parametrize("form", ["DER", "PKCS7 PEM", "PKCS7 DER"])
def test_authorities_in_another_form_are_told_with_the_cure(
    certificates: Certificates, tmp_path: Path, form: str
) -> None:
    """The cure is what was printed."""
    parsed = x509.load_pem_x509_certificate(certificates.ca_file.read_bytes())
    encoding = serialization.Encoding.PEM if form.endswith("PEM") else serialization.Encoding.DER
    given = tmp_path / "partner.crt"
    if form == "DER":
        given.write_bytes(parsed.public_bytes(encoding))
    else:
        given.write_bytes(pkcs7.serialize_certificates([parsed], encoding))
    with pytest.raises(TlsConfigError) as caught:
        build_context(Upstream("u", "localhost", ca_file=given))
    cure = str(caught.value).rpartition(": ")[2]
    assert cure.startswith("openssl ")
    subprocess.run(shlex.split(cure), check=True, capture_output=True)
    build_context(Upstream("u", "localhost", ca_file=Path(f"{given}.pem")))


def test_a_name_too_long_to_be_asked_for_is_refused() -> None:
    with pytest.raises(TlsConfigError, match="server_name"):
        build_context(Upstream("u", "localhost", server_name="a." * 150, verify="pin", pins=("sha256/x",)))


def test_roots_of_the_system_that_are_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with pytest.raises(TlsConfigError, match=r"roots\.pem can't be used"):
        build_context(Upstream("u", "localhost"))


def _versions(der: bytes) -> dict[int, bytes]:
    """The same certificate with the version numbers 1 to 5, which are counted from 0 (RFC 5280 section 4.1.2.1)."""
    at = der.index(b"\xa0\x03\x02\x01") + 4
    return {number + 1: der[:at] + bytes([number]) + der[at + 1 :] for number in range(5)}


def test_the_key_is_found_in_any_certificate(certificates: Certificates) -> None:
    for pair in (certificates.server, certificates.client):
        parsed = x509.load_pem_x509_certificate(pair.certificate_file.read_bytes())
        key = parsed.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for der in _versions(parsed.public_bytes(serialization.Encoding.DER)).values():
            assert certificate.public_key(der) == key


@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_certificate_that_only_the_log_can_not_read_is_no_reason_to_refuse(
    certificates: Certificates, version: int
) -> None:
    """It has been verified, by its chain or its pin."""
    parsed = x509.load_pem_x509_certificate(certificates.server.certificate_file.read_bytes())
    known = certificate.read(_versions(parsed.public_bytes(serialization.Encoding.DER))[version])
    assert known.pin == certificates.server.spki_pin
    assert len(known.fingerprint) == 64
    assert (known.subject, known.days_left) == ("", None)


@given(st.binary(max_size=60), st.integers(0, 1000))
def test_a_broken_certificate_is_one_error(noise: bytes, place: int) -> None:
    whole = b"0\x82\x01\x00" + b"0\x20" + bytes(range(64))
    at = place % len(whole)
    with contextlib.suppress(ValueError):
        certificate.public_key(whole[:at] + noise)


NAMES = [
    ("ftp.example.com", "ftp.example.com", "ftp.example.com"),
    ("FTP.Example.COM.", "ftp.example.com.", "ftp.example.com"),
    ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
    ("my_host.local", "my_host.local", "my_host.local"),
    ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("[::ffff:192.0.2.1]", "192.0.2.1", "192.0.2.1"),
    ("[2001:DB8::0:1]", "2001:db8::1", "2001:db8::1"),
    ("[fe80::1%25eth0]", "fe80::1%eth0", "fe80::1"),
    ("[fe80::1%eth0]", "fe80::1%eth0", "fe80::1"),
]


@pytest.mark.parametrize(("written", "for_dns", "for_tls"), NAMES)
def test_one_name_for_four_things(written: str, for_dns: str, for_tls: str) -> None:
    assert names.host(written) == for_dns
    assert names.server_name(written) == for_tls
    build_context(Upstream("u", for_dns, verify="pin", pins=("sha256/x",)))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("127.1", "four decimal numbers"),
        ("0x7f.1", "four decimal numbers"),
        ("2130706433", "four decimal numbers"),
        ("010.0.0.1", "four decimal numbers"),
        ("a..b", "no host name"),
        ("-a.b", "no host name"),
        ("a" * 64 + ".b", "no host name"),
        (".", "no host name"),
        ("☃..example", "IDNA 2008"),
        ("[fe80::1%]", "no IPv6 address"),
        ("[12::34::56]", "no IPv6 address"),
    ],
)
def test_what_is_no_name_is_said_at_once(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        names.host(written)
