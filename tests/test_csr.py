"""`ftpsproxy csr`: our own key and request, and what is in such files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ftpsproxy.cli.main import main
from tests.support.certificates import Certificates


class Said:
    """What a command has said, and its exit code."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> None:
        try:
            self.code = main([str(one) for one in arguments])
        except SystemExit as end:
            self.code = int(str(end.code))
        self.out, self.err = capfd.readouterr()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("more", "kind"), [([], "EC secp256r1"), (["--rsa"], "RSA 3072")])
def test_a_key_and_a_request(capfd: pytest.CaptureFixture[str], folder: Path, more: list[str], kind: str) -> None:
    names = ["--name", "till-7.example", "--name", "192.0.2.7", "--name", "b\u00fccher.example"]
    said = Said(capfd, "csr", "--subject", "CN=till-7, O=Example, C=DE", *names, *more)
    assert (said.code, said.err) == (0, "")
    assert stat.S_IMODE((folder / "client.key").stat().st_mode) == 0o600
    request = x509.load_pem_x509_csr((folder / "client.csr").read_bytes())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=till-7,O=Example,C=DE"
    key = serialization.load_pem_private_key((folder / "client.key").read_bytes(), None)
    assert key.public_key() == request.public_key()
    shown = Said(capfd, "csr", "--show", "client.key", "client.csr")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        f"client.key: private key, {kind}, readable by its owner only",
        "client.csr: signing request for CN=till-7,O=Example,C=DE for till-7.example, "
        f"xn--bcher-kva.example, 192.0.2.7, {kind}",
        "belong together, one key: client.key, client.csr",
    ]


@pytest.mark.parametrize("there", ["client.key", "client.csr"])
def test_nothing_is_overwritten(capfd: pytest.CaptureFixture[str], folder: Path, there: str) -> None:
    (folder / there).write_text("precious")
    said = Said(capfd, "csr", "--subject", "till-7")
    assert said.code == 2
    assert f"{there} is there already, and is not overwritten" in said.err
    assert [path.name for path in folder.iterdir()] == [there]
    assert (folder / there).read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say whose certificate it is to be"),
        (["--subject", "C=Germany"], "--subject: "),
        (["--subject", "X=1=2,"], "--subject: "),
        (["--subject", "CN=a", "--name", "a b"], "--name: "),
        (["--subject", "CN=a", "--key", "nowhere/client.key"], "nowhere/client.key can't be written: no such file"),
        (["--subject", "CN=a", "--key", "x", "--out", "x"], "name the same file"),
        (["--subject", "CN=a", "--out", "nowhere/x"], "nowhere/x can't be written: no such file"),
        (["--subject", "CN=a", "--key", "k" * 300], "can't be written: file name too long"),
        (["--subject", " "], "--subject: "),
        (["--show", "/dev/null"], "/dev/null: not a file"),
        (["--show", "missing.pem"], "missing.pem: no such file or directory"),
        (["--show", "."], ".: is a directory"),
    ],
)
def test_mistakes(capfd: pytest.CaptureFixture[str], folder: Path, arguments: list[str], told: str) -> None:
    said = Said(capfd, "csr", *arguments)
    assert said.code in (1, 2)
    assert told in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(folder.iterdir())


def test_what_is_in_the_files_of_others(
    capfd: pytest.CaptureFixture[str], folder: Path, certificates: Certificates
) -> None:
    pair, other = certificates.client, certificates.expired
    (folder / "c.der").write_bytes(
        x509.load_pem_x509_certificate(pair.certificate_file.read_bytes()).public_bytes(serialization.Encoding.DER)
    )
    (folder / "noise").write_bytes(b"no such thing")
    open_key = folder / "open.key"
    open_key.write_bytes(pair.key_file.read_bytes())
    open_key.chmod(0o644)
    said = Said(capfd, "csr", "--show", "c.der", "open.key", other.certificate_file, "noise")
    assert said.code == 2
    assert said.err == "ftpsproxy: noise: neither a certificate, a signing request nor a key, in PEM or DER\n"
    lines = said.out.splitlines()
    assert lines[0].startswith("c.der: certificate of ")
    assert " days left)" in lines[0]
    assert "others may read it (mode 0644): chmod 600" in lines[1]
    assert "(EXPIRED)" in lines[2]
    assert "belong together, one key: c.der, open.key" in lines
    assert f"{other.certificate_file} belongs to none of the others" in lines


def test_a_key_with_a_passphrase(capfd: pytest.CaptureFixture[str], folder: Path, certificates: Certificates) -> None:
    key = certificates.client.key
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "locked.key").write_bytes(encrypted)
    assert "locked.key: the key is encrypted" in Said(capfd, "csr", "--show", "locked.key").err
