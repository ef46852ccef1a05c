"""Real servers: what is found out of each is what is known of it, and the settings it prints carry a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.probe.conftest import Probe
from tests.probe.gateway import accepted, carries_a_file
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.servers import Server


@dataclass(frozen=True, slots=True)
class Known:
    """What a server is known to be. `resumes` and `demands`: by TLS version; `folder`: where its user may write."""

    start: Callable[[Certificates], contextlib.AbstractContextManager[Server]]
    resumes: dict[str, bool]
    demands: bool = False
    settings: tuple[str, ...] = ()
    folder: str = "/"
    broken: frozenset[str] = field(default_factory=frozenset)


BOTH = {"1.3": True, "1.2": True}
KNOWN = {
    "vsftpd": Known(servers.vsftpd, BOTH, demands=True),
    "vsftpd-lenient": Known(lambda made: servers.vsftpd(made, session_reuse=False), BOTH),
    "vsftpd-implicit": Known(lambda made: servers.vsftpd(made, implicit=True), BOTH, demands=True),
    "proftpd": Known(servers.proftpd, {"1.3": True}, demands=True),
    "proftpd-tls12": Known(lambda made: servers.proftpd(made, protocols="TLSv1.2"), {"1.2": True}, demands=True),
    "pureftpd": Known(servers.pureftpd, {"1.3": False, "1.2": True}),
    "pyftpdlib": Known(servers.pyftpdlib, BOTH),
    "netkit": Known(
        servers.netkit,
        {"1.2": True},
        settings=('tls_max = "1.2"',),
        folder="/home/",
        broken=frozenset({"1.3"}),
    ),
    "aioftp": Known(servers.aioftp, BOTH),  # it takes PBSZ and PROT behind the login only
    "twisted": Known(servers.twisted, {"1.3": False, "1.2": False}, settings=("alpn = false",)),
    "ftp-srv": Known(servers.ftp_srv, {"1.3": False, "1.2": False}),
}


STEPS = {"connect", "greeting", "tls", "certificate", "name", "roots", "version", "verified", "pbsz", "prot", "feat"}
STEPS |= {"login", "epsv", "pasv", "data", "resumption", "stor", "retr", "dele", "compare"}


def verdicts(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was found out of data connections, by TLS version."""
    return {step["facts"]["version"]: step["facts"] for step in told["steps"] if step["name"] == "resumption"}


@pytest.mark.parametrize("name", KNOWN)
def test_what_it_is_and_the_settings_that_work(
    certificates: Certificates, tmp_path: Path, probe: Probe, login: list[str], name: str
) -> None:
    known, file = KNOWN[name], tmp_path / "server.toml"
    with known.start(certificates) as server:
        server.put("listed", b"so that no listing is empty, for which Twisted breaks the connection")
        said = probe(
            f"{server.host}:{server.port}",  # whether it is implicit is for the probe to find out
            *("--ca-file", certificates.ca_file),
            *login,
            *("--upload", known.folder),
            *("--write", file),
            "--json",
        )
        assert (said.code, said.err) == (0, "")
        told, toml = said.told, file.read_text()
        assert toml == told["toml"]
        assert told["ok"] is True
        assert told["kind"] == ("implicit" if server.implicit else "explicit")
        assert told["url"] == server.url
        assert told["certificates"][0]["pin"] == certificates.server.spki_pin
        assert told["tls"].keys() == known.resumes.keys() | known.broken
        assert {step["name"] for step in told["steps"]} >= STEPS
        seen = verdicts(told)
        assert {version: one["resumes"] for version, one in seen.items() if one["works"]} == known.resumes
        for version, one in seen.items():
            assert one["works"] is (version not in known.broken), one
            if one["works"] and known.resumes[version]:
                assert one["demanded"] is known.demands, one
        settings = [line.partition("  #")[0].rstrip() for line in toml.splitlines()[1:] if not line.startswith("#")]
        assert settings == [f'url = "{server.url}"', f'ca_file = "{certificates.ca_file}"', *known.settings]
        assert [path.name for path in server.home.iterdir()] == ["listed"]
        assert accepted(toml, tmp_path)
        carries_a_file(toml, known.folder)


def test_each_step_is_told(certificates: Certificates, probe: Probe, login: list[str]) -> None:
    """For people: what was done, whether it went well, and how long it took."""
    with servers.vsftpd(certificates) as server:
        said = probe(server.url, "--ca-file", certificates.ca_file, *login)
    assert said.code == 0
    for words in (
        f"connected to 127.0.0.1 port {server.port}",
        "greeting in clear: 220 (vsFTPd",
        "AUTH TLS: 234",
        "subject  CN=ftps.test",
        "names    localhost, 127.0.0.1, ::1",
        "issuer   CN=ftpsproxy tests CA",
        f"pin      {certificates.server.spki_pin}",
        "the name 127.0.0.1: among its names",
        "TLS 1.2: ECDHE-RSA-",
        "PBSZ 0: 200",
        "PROT P: 200",
        "FEAT: AUTH TLS, EPRT, EPSV,",
        f"login as {servers.USER}: 230",
        "EPSV names 127.0.0.1 port",
        "PASV names 127.0.0.1 port",
        "TLS 1.3, data connection 3: session resumed, listing, close_notify, final reply after",
        "the server demands resumption; without it: 522",
    ):
        assert words in said.out
    assert "✓" in said.out


def test_without_a_login(certificates: Certificates, probe: Probe) -> None:
    """Up to FEAT, and nobody logs in."""
    with servers.pyftpdlib(certificates) as server:
        said = probe(server.url, "--ca-file", certificates.ca_file)
        assert "USER" not in server.log()
    assert said.code == 0
    assert "say --user NAME" in said.out
    assert accepted(said.toml, certificates.folder)


def test_a_wrong_password(certificates: Certificates, probe: Probe, tmp_path: Path) -> None:
    """Said in the server's words, and tried once only: servers ban who tries again."""
    password = tmp_path / "wrong"
    password.write_text("not-this-one\n")
    with servers.proftpd(certificates) as server:
        said = probe(server.url, "--ca-file", certificates.ca_file, "--user", servers.USER, "--password-file", password)
        tried = server.log().count("Incorrect password")
    assert "530 Login incorrect" in said.refusal()
    assert tried == 1
    assert "not-this-one" not in said.out + said.err
