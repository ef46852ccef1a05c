"""Certificates that nothing vouches for: what is shown, that nothing of a login is said, and each cured with nothing
but what was printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from tests.probe.conftest import Probe
from tests.probe.gateway import accepted, carries_a_file
from tests.support import servers
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates, KeyPair


def certificate(certificates: Certificates, name: str) -> KeyPair:
    found = getattr(certificates, name)
    assert isinstance(found, KeyPair)
    return found


@pytest.mark.parametrize(
    ("name", "with_roots", "told"),
    [
        ("self_signed", True, "self-signed"),
        ("server", False, "an issuer that is not trusted here"),
        ("unknown_authority", True, "an issuer that is not trusted here"),
        ("expired", True, "expired on"),
    ],
)
def test_cured_by_the_pin(
    certificates: Certificates, tmp_path: Path, probe: Probe, login: list[str], name: str, with_roots: bool, told: str
) -> None:
    """`--trust` with what was printed; or the two lines taken in."""
    pair = certificate(certificates, name)
    roots = ["--ca-file", certificates.ca_file] if with_roots else []
    with servers.vsftpd(certificates, certificate=pair) as server:
        said = probe(server.url, *roots, *login)
        assert told in said.refusal()
        assert "USER" not in server.log()
        assert "compare all of this pin with the partner" in said.toml
        pin = said.printed(r"--trust (\S+)")
        assert pin == pair.spki_pin
        assert f'\n#verify = "pin"\n#pins = ["{pin}"]\n' in said.toml
        assert accepted(said.toml, tmp_path)  # as it stands: nothing is trusted by itself
        assert accepted(said.enabled, tmp_path)
        carries_a_file(said.enabled)
        cured = probe(server.url, *roots, *login, "--trust", pin)
        assert cured.code == 0, cured.err
        assert f'pins = ["{pin}"]' in cured.toml
        assert accepted(cured.toml, tmp_path)
        carries_a_file(cured.toml)


def test_cured_by_the_authority(certificates: Certificates, tmp_path: Path, probe: Probe, login: list[str]) -> None:
    with servers.pyftpdlib(certificates) as server:
        said = probe(server.url, *login)
        assert "ask for that" in said.toml
        assert said.printed(r"(--ca-file) FILE")
        cured = probe(server.url, "--ca-file", certificates.ca_file, *login)
        assert cured.code == 0
        assert accepted(cured.toml, tmp_path)
        carries_a_file(cured.toml)


def test_two_things_are_wrong_with_it(certificates: Certificates, probe: Probe) -> None:
    """Its authority and its name: the second cure is told with the first."""
    with servers.vsftpd(certificates, certificate=certificates.wrong_host) as server:
        said = probe(server.url)
        assert "an issuer that is not trusted here" in said.refusal()
        assert said.printed(r"(--ca-file) FILE")
        assert said.printed(r"--server-name (\S+)") == "elsewhere.example"


def test_cured_by_the_name(certificates: Certificates, tmp_path: Path, probe: Probe, login: list[str]) -> None:
    with servers.vsftpd(certificates, certificate=certificates.wrong_host) as server:
        said = probe(server.url, "--ca-file", certificates.ca_file, *login)
        assert "is for elsewhere.example, 192.0.2.1, not for 127.0.0.1" in said.refusal()
        assert "the name 127.0.0.1: NOT among its names" in said.out
        assert "USER" not in server.log()
        assert accepted(said.toml, tmp_path)
        carries_a_file(said.enabled)
        cured = probe(
            server.url, "--ca-file", certificates.ca_file, *login, "--server-name", said.printed(r"--server-name (\S+)")
        )
        assert cured.code == 0, cured.err
        assert accepted(cured.toml, tmp_path)
        carries_a_file(cured.toml)


def test_nothing_but_auth_and_quit_before_trust(probe: Probe, bad_server: BadServer, login: list[str]) -> None:
    """Whatever is known of the server by then: its certificate is vouched for by nobody."""
    bad_server.play(Quirks())
    assert probe(f"127.0.0.1:{bad_server.port}", *login, "--upload", "/").code == 1
    assert len(bad_server.sessions) > 1
    for seen in bad_server.sessions:
        assert set(bytes(seen.plaintext).split(b"\r\n")) <= {b"AUTH TLS", b"QUIT", b""}, seen
        assert seen.verbs() in ([], ["QUIT"]), seen


def test_a_pin_that_is_anothers(
    certificates: Certificates, probe: Probe, bad_server: BadServer, login: list[str]
) -> None:
    bad_server.play(Quirks())
    said = probe(f"127.0.0.1:{bad_server.port}", *login, "--trust", certificates.client.spki_pin)
    assert "another certificate than the one to be trusted" in said.refusal()
    assert "somebody stands between, or the partner has a new key" in said.toml
    assert "\npins" not in said.toml
    assert all(seen.verbs() in ([], ["QUIT"]) for seen in bad_server.sessions)


@pytest.mark.parametrize("form", ["sha256/{}", "{}", "{:colons}"])
def test_fingerprints_as_they_are_shown_elsewhere(
    certificates: Certificates, probe: Probe, bad_server: BadServer, form: str
) -> None:
    """The pin is what is written into the settings, whichever of them was compared."""
    bad_server.play(Quirks())
    pair = certificates.server
    digest = pair.certificate.fingerprint(hashes.SHA256())
    trust = {"sha256/{}": pair.spki_pin, "{}": digest.hex(), "{:colons}": digest.hex(":").upper()}[form]
    said = probe(f"127.0.0.1:{bad_server.port}", "--trust", trust)
    assert said.code == 0
    assert f'pins = ["{pair.spki_pin}"]' in said.toml


def test_a_pin_beside_a_chain_that_holds(certificates: Certificates, probe: Probe, bad_server: BadServer) -> None:
    """Both have to hold from then on."""
    bad_server.play(Quirks())
    pin = certificates.server.spki_pin
    said = probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--trust", pin)
    assert said.code == 0
    assert f'pins = ["{pin}"]' in said.toml
    assert "verify" not in said.toml


def test_names_in_a_certificate_write_no_settings(
    certificates: Certificates, tmp_path: Path, probe: Probe, bad_server: BadServer
) -> None:
    """Whoever is on the way may show any certificate; what stands in it is shown in one line, and in no setting."""
    pair = certificates.issue(
        "odd", names=("*.example", "a.example"), common_name='x"\n[upstream.evil]\nurl = "\x1b[31m'
    )
    bad_server.play(Quirks(), certificate=(pair.certificate_file, pair.key_file))
    said = probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file)
    assert said.code == 1
    assert "\x1b" not in said.out + said.err
    assert "\n[upstream.evil]" not in said.out
    assert '#server_name = "a.example"' in said.toml
    assert accepted(said.toml, tmp_path)


def test_a_server_that_answers_to_one_name_only(
    certificates: Certificates, probe: Probe, bad_server: BadServer, login: list[str]
) -> None:
    bad_server.play(Quirks(strict_sni="localhost"))
    arguments = [f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, *login]
    assert "say --server-name NAME" in probe(*arguments).refusal()
    said = probe(*arguments, "--server-name", "localhost")
    assert said.code == 0, said.err
    carries_a_file(said.toml)


def test_a_server_that_wants_our_certificate(
    certificates: Certificates, tmp_path: Path, probe: Probe, bad_server: BadServer, login: list[str]
) -> None:
    bad_server.play(Quirks(client_ca=certificates.ca_file))
    arguments = [f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, *login]
    assert "wants a client certificate (see cert_file)" in probe(*arguments).refusal()
    ours = certificates.client
    said = probe(*arguments, "--cert-file", ours.certificate_file, "--key-file", ours.key_file)
    assert said.code == 0, said.err
    assert accepted(said.toml, tmp_path)
    carries_a_file(said.toml)
