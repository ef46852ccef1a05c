"""The settings of an upstream's TLS that can't work are found before anybody connects."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ftpsproxy.config import Upstream
from ftpsproxy.tls import TlsConfigError, build_context
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


def test_a_name_too_long_to_be_asked_for_is_refused() -> None:
    with pytest.raises(TlsConfigError, match="server_name"):
        build_context(Upstream("u", "localhost", server_name="a." * 150, verify="pin", pins=("sha256/x",)))


def test_roots_of_the_system_that_are_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    with pytest.raises(TlsConfigError, match=r"roots\.pem can't be used"):
        build_context(Upstream("u", "localhost"))
