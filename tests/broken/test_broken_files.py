"""Files and flags that are not as they should be: what `check` says of them is all it takes to mend them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ftpsproxy.cli.main import main
from tests.support.certificates import Certificates

UPSTREAM = '[upstream.partner]\nurl = "ftpes://ftp.example.com"\n'


class Check:
    """`ftpsproxy check`, and what it said."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> None:
        try:
            self.code = main(["check", *map(str, arguments)])
        except SystemExit as end:
            self.code = int(str(end.code))
        self.out, self.err = capfd.readouterr()
        assert "Traceback" not in self.err

    def printed(self, pattern: str) -> str:
        """What was printed there."""
        found = re.search(pattern, self.err)
        assert found is not None, self.err
        return found[1]


def test_many_faults_are_one_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each with its line, whatever else is wrong with its table; and mended by what stands beside it."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[[listener]]\nlisten = "::1"\nclients = ["10.0.0.0/33"]\npassive_ports = "50000"\n'
        '[upstream.a]\nurl = "ftp://a.example"\ntls_min = "1.3"\ntls_max = "1.2"\n'
        "[timeouts]\nidel = 5\nlogin = -1\n[process]\nworkers = 4\n"
    )
    said = Check(capfd, "-c", path)
    assert said.code == 2
    assert sorted(int(number) for number in re.findall(r"gateway\.toml:(\d+): ", said.err)) == [2, 3, 4, 6, 7, 10, 11]
    mended = path.read_text()
    for wrong, right in (
        ('::1"', said.printed(r"needs brackets: (\S+)") + '"'),
        ("10.0.0.0/33", said.printed(r"write it like (\S+) or")),
        ('"50000"', '"50000-50003"'),  # "one port for 4 workers; give at least one to each"
        ("ftp://", said.printed(r"; use (ftpes://) \(AUTH TLS")),
        ('tls_min = "1.3"', 'tls_min = "1.2"'),  # "is above tls_max 1.2; lower it"
        ("idel", said.printed(r"did you mean '(\w+)'")),
        ("-1", said.printed(r"must be from ([\d.]+) to")),
    ):
        assert mended.count(wrong) == 1
        mended = mended.replace(wrong, right)
    path.write_text(mended)
    assert Check(capfd, "-c", path).code == 0


@pytest.mark.parametrize("form", ["der", "pkcs7-der", "pkcs7-pem"])
def test_certificates_in_another_form(
    certificates: Certificates, tmp_path: Path, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    """The command that mends it is printed."""
    pem, wrong = certificates.ca_file, tmp_path / "partner.crt"
    outform = form.rpartition("-")[2].upper()
    if form == "der":
        made: tuple[str | Path, ...] = ("openssl", "x509", "-in", pem, "-outform", "DER", "-out", wrong)
    else:
        made = ("openssl", "crl2pkcs7", "-nocrl", "-certfile", pem, "-outform", outform, "-out", wrong)
    subprocess.run(made, check=True)
    path = tmp_path / "gateway.toml"
    path.write_text(f'{UPSTREAM}ca_file = "partner.crt"\n')
    said = Check(capfd, "-c", path)
    assert said.code == 2
    command = shlex.split(said.printed(r"wanted: (openssl .+)$"))
    subprocess.run(command, check=True, cwd=tmp_path)
    path.write_text(f'{UPSTREAM}ca_file = "{command[-1]}"\n')
    assert Check(capfd, "-c", path).code == 0


def test_what_windows_puts_before_a_file_is_no_fault(
    certificates: Certificates, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "partner.pem").write_bytes(mark + certificates.ca_file.read_bytes())
    path = tmp_path / "gateway.toml"
    path.write_bytes(mark + f'{UPSTREAM}ca_file = "partner.pem"\n'.encode().replace(b"\n", b"\r\n"))
    assert Check(capfd, "-c", path).code == 0


def test_a_host_name_with_letters_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    said = Check(capfd, "--upstream", "ftpes://bücher.example")
    assert (said.code, "xn--bcher-kva.example:21" in said.out) == (0, True)


def test_flags_and_secrets_that_are_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Check(capfd, "--frobnicate")
    assert (said.code, "did you mean" in said.err, "--listen" in said.printed("known: (.*)")) == (2, False, True)
    said = Check(capfd, "--lisen", "127.0.0.1:0")
    assert said.printed("did you mean '(.*)'") == "--listen"
    (tmp_path / "clientkey.pem").touch()
    monkeypatch.setenv("FTPSPROXY_SECRETS_DIR", str(tmp_path))
    said = Check(capfd, "--upstream", "ftpes://ftp.example.com")
    assert (said.code, "ca_file, cert_file and key_file name them" in said.err) == (2, True)
