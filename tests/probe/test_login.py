"""What a login tells: data connections, files, and servers that misbehave there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.probe.conftest import Probe, Said
from tests.probe.gateway import accepted, carries_a_file
from tests.support.bad_server import BadServer, Fault, Quirks
from tests.support.certificates import Certificates
from tests.support.servers import PASSWORD


@pytest.fixture
def play(probe: Probe, bad_server: BadServer, certificates: Certificates, login: list[str]) -> Any:
    """Probe a server that behaves like this."""

    def run(quirks: Quirks, *arguments: str, files: dict[bytes, bytes] | None = None) -> Said:
        bad_server.play(quirks, files)
        return probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, *login, *arguments)

    return run


@pytest.mark.parametrize(
    ("quirks", "setting"),
    [
        (Quirks(passive={"EPSV": "229 here (|||{dead}|)\r\n"}), 'data_mode = "pasv"'),
        (Quirks(passive={"EPSV": "229 here (|||{deaf}|)\r\n"}), 'data_mode = "pasv"'),
        (Quirks(replies={"EPSV": b"500 what?\r\n"}), 'data_mode = "pasv"'),
        (Quirks(replies={"PASV": b"500 what?\r\n"}), ""),
        (Quirks(passive={"PASV": "227 at (10,1,2,3,{p1},{p2})\r\n"}), ""),
        (Quirks(replies=dict.fromkeys(("EPSV", "PASV"), b"502 no\r\n")), 'data_mode = "eprt"'),
        (Quirks(replies=dict.fromkeys(("EPSV", "PASV", "EPRT"), b"502 no\r\n")), 'data_mode = "port"'),
        (Quirks(requires_pret=True), ""),
    ],
    ids=["dead", "deaf", "no-epsv", "no-pasv", "nat", "active", "port", "pret"],
)
def test_ways_of_data(play: Any, tmp_path: Path, quirks: Quirks, setting: str) -> None:
    """What is set is what was seen to work, and it works."""
    said = play(quirks, "--upload", "/")
    assert said.code == 0, said.err
    assert setting in said.toml
    assert ("data_mode" in said.toml) is bool(setting)
    assert accepted(said.toml, tmp_path)
    carries_a_file(said.toml)


def test_an_address_that_is_another(play: Any) -> None:
    said = play(Quirks(passive={"PASV": "227 at (10,1,2,3,{p1},{p2})\r\n"}))
    assert "PASV names 10.1.2.3 port" in said.out
    assert "not its own address; reached at its own, 127.0.0.1" in said.out


def test_no_way_of_data(play: Any) -> None:
    refusal = b"425 not here\r\n"
    said = play(Quirks(replies=dict.fromkeys(("EPSV", "PASV", "EPRT", "PORT"), refusal)))
    line = said.refusal()
    assert "have its passive ports allowed from here" in line
    assert "EPSV: 425 not here" in line


def test_no_way_of_data_though_the_server_takes_port(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never comes, and never says so: no reply of it may be taken for that to another command."""
    monkeypatch.setattr("ftpsproxy.probe.data.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("ftpsproxy.probe.data._AFTER_FAILURE_SECONDS", 0.5)
    said = play(Quirks(replies=dict.fromkeys(("EPSV", "PASV"), b"425 not here\r\n"), never_calls=True))
    assert "no data connection can be had" in said.refusal()
    assert "the server opened no connection to 127.0.0.1:" in said.out


def test_a_data_connection_to_a_low_port_is_not_made(play: Any, bad_server: BadServer) -> None:
    said = play(Quirks(passive={"EPSV": "229 here (|||25|)\r\n"}))
    assert "EPSV names port 25; below 1024 is refused" in said.out
    assert 'data_mode = "pasv"' in said.toml


def test_files_without_an_end_that_proves_them(play: Any, tmp_path: Path) -> None:
    """Where SIZE proves them, nothing has to be set."""
    assert "close_notify" not in play(Quirks(fault=Fault.FIN), "--upload", "/").toml
    said = play(Quirks(fault=Fault.FIN, replies={"SIZE": b"500 what?\r\n"}), "--upload", "/")
    assert "listing, NO close_notify" in said.out
    assert 'close_notify = "reply"' in said.toml
    assert accepted(said.toml, tmp_path)
    carries_a_file(said.toml)


def test_a_server_that_never_resumes(play: Any) -> None:
    said = play(Quirks(forget_sessions_after=-1))
    assert said.code == 0
    assert "session NOT resumed" in said.out
    assert "the server does not resume sessions" in said.out


def test_a_server_that_demands_what_it_does_not_do(play: Any) -> None:
    """Neither version helps: no way."""
    said = play(Quirks(forget_sessions_after=-1, requires_reuse=b"522 session reuse required\r\n"))
    assert "data connections do not work: TLS 1.3: 522 session reuse required" in said.refusal()


def test_a_server_that_resumes_by_one_version_only(play: Any, tmp_path: Path) -> None:
    """It hands out no tickets, which is all there is in TLS 1.3, and demands to see one again."""
    said = play(Quirks(tickets=False, requires_reuse=b"522 session reuse required\r\n"), "--upload", "/")
    assert said.code == 0, said.err
    assert 'tls_max = "1.2"' in said.toml
    assert "with TLS 1.3 its data connections fail: 522 session reuse required" in said.toml
    assert accepted(said.toml, tmp_path)
    carries_a_file(said.toml)


def test_a_folder_that_only_takes_files(play: Any) -> None:
    """That it is not to be listed says nothing of its data connections; a file does."""
    quirks = Quirks(replies={"LIST": b"550 not to be listed\r\n"})
    said = play(quirks)
    assert said.code == 0, said.err
    assert "listings are refused: 550 not to be listed" in said.out
    assert "with --upload PATH/ a file would show it" in said.out
    said = play(quirks, "--upload", "/")
    assert said.code == 0, said.err
    assert "it came back as it went" in said.out


def test_data_in_clear_is_refused(play: Any, bad_server: BadServer) -> None:
    said = play(Quirks(replies={"PROT": b"536 not here\r\n"}))
    assert "it refuses PROT P, and nothing goes over them in clear" in said.refusal()
    assert not any(seen.data for seen in bad_server.sessions)


def test_data_from_another_server_is_refused(play: Any, certificates: Certificates) -> None:
    """A new handshake on the data connection has to prove what the first one did."""
    other = certificates.unknown_authority
    said = play(Quirks(data_certificate=(other.certificate_file, other.key_file)))
    assert "an issuer that is not trusted here" in said.refusal()


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_stays_as_it_is(play: Any, bad_server: BadServer) -> None:
    said = play(Quirks(), "--upload", "/orders.csv", files={b"/orders.csv": b"1;2;3"})
    assert "/orders.csv is there already, and is not overwritten" in said.refusal()
    assert bad_server.files == {b"/orders.csv": b"1;2;3"}
    assert not any(verb in ("STOR", "DELE") for seen in bad_server.sessions for verb in seen.verbs())


@pytest.mark.parametrize(
    "replies",
    [
        {"SIZE": b"502 no\r\n"},
        {"SIZE": b"202 superfluous\r\n"},
        {"SIZE": b"450 busy\r\n"},
        {"SIZE": b"530 not for you\r\n"},
        {"TYPE": b"504 no\r\n", "SIZE": b"550 SIZE not allowed in ASCII mode\r\n"},
    ],
)
def test_a_server_that_does_not_say_whether_it_is_there(
    play: Any, bad_server: BadServer, replies: dict[str, bytes]
) -> None:
    said = play(Quirks(replies=replies), "--upload", "/orders.csv")
    assert "give a folder" in said.refusal()
    assert "STOR" not in [verb for seen in bad_server.sessions for verb in seen.verbs()]


class Shortening(dict[bytes, bytes]):
    """Files of a server that keeps only the beginning of what it is given."""

    def __setitem__(self, name: bytes, content: bytes) -> None:
        super().__setitem__(name, content[:1000])


def test_a_file_that_comes_back_changed(
    probe: Probe, bad_server: BadServer, certificates: Certificates, login: list[str]
) -> None:
    """It is told, although the server has said 226, and what was sent is deleted."""
    bad_server.play(Quirks())
    bad_server.files = Shortening()
    where = f"127.0.0.1:{bad_server.port}"
    said = probe(where, "--ca-file", certificates.ca_file, *login, "--upload", "/new")
    assert "the file came back changed, with 1000 of 262144 bytes" in said.refusal()
    assert b"DELE /new" in [line for seen in bad_server.sessions for line in seen.commands]


def test_an_upload_that_breaks_off(play: Any, bad_server: BadServer) -> None:
    """What there may be of it is deleted."""
    said = play(Quirks(fault=Fault.FIN, fault_at=100_000, max_sessions=1), "--upload", "/new")
    assert said.code == 1
    assert b"DELE /new" in [line for seen in bad_server.sessions for line in seen.commands]


def test_an_upload_that_is_refused(play: Any) -> None:
    said = play(Quirks(replies={"STOR": b"553 read only\r\n"}), "--upload", "/new")
    assert "STOR /new: 553 read only" in said.refusal()
    assert "delete" not in said.out


def test_what_is_anothers_is_not_deleted(play: Any, bad_server: BadServer) -> None:
    """The server hides that it is there, and does not take ours."""
    hidden = {"SIZE": b"550 no such file\r\n", "STOR": b"450 somebody is writing it\r\n"}
    said = play(Quirks(replies=hidden), "--upload", "/orders.csv", files={b"/orders.csv": b"1;2;3"})
    assert "450 somebody is writing it" in said.refusal()
    assert bad_server.files == {b"/orders.csv": b"1;2;3"}
    assert "DELE" not in [verb for seen in bad_server.sessions for verb in seen.verbs()]


def test_a_password_that_is_no_utf_8_is_not_shown(
    probe: Probe, bad_server: BadServer, certificates: Certificates, tmp_path: Path
) -> None:
    bad_server.play(Quirks(replies={"PASS": b"530 wrong password gehe\xefm1 here\r\n"}))
    (tmp_path / "password").write_bytes(b"gehe\xefm1\n")
    where = [f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file]
    said = probe(*where, "--user", "anna", "--password-file", tmp_path / "password")
    assert "wrong password *** here" in said.refusal()


def test_ctrl_c_leaves_no_file(
    bad_server: BadServer, certificates: Certificates, login: list[str], tmp_path: Path
) -> None:
    """In the middle of a download, say: what was sent is deleted before it ends."""
    bad_server.play(Quirks(slow={"RETR": 5.0}))
    where = f"127.0.0.1:{bad_server.port}"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ftpsproxy",
            "probe",
            where,
            "--ca-file",
            certificates.ca_file,
            *login,
            "--upload",
            "/new",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "STOR /new" not in (line := process.stdout.readline()):
            assert line, "it has ended before"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "ftpsproxy: interrupted\n")
    assert "deleted: 250" in out
    assert b"DELE /new" in [line for seen in bad_server.sessions for line in seen.commands]


# --- what a server says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("verb", ["USER", "PASS", "FEAT", "EPSV", "LIST"])
def test_a_server_that_repeats_the_password(play: Any, verb: str, more: list[str]) -> None:
    """It is in nothing that is said, in whatever case (the fixture looks for it, too)."""
    echo = f"530 {PASSWORD} {PASSWORD.upper()} \x1b[31m\x07\r\n".encode()
    said = play(Quirks(replies={verb: echo}), *more)
    assert PASSWORD.lower() not in (said.out + said.err).lower()
    assert not {"\x1b", "\x07"} & set(said.out + said.err)


def test_replies_without_end(play: Any) -> None:
    said = play(Quirks(replies={"FEAT": b"211-\r\n" + b" \x1b]0;title\x07\r\n" * 5000 + b"211 end\r\n"}))
    assert "reply of more than" in said.refusal()


def test_a_server_that_wants_an_account(play: Any) -> None:
    said = play(Quirks(replies={"PASS": b"332 account, please\r\n"}))
    assert "the server wants an account (ACCT)" in said.refusal()


def test_a_second_greeting_behind_tls(play: Any, bad_server: BadServer) -> None:
    """Then all replies would be those to other commands: no login."""
    said = play(Quirks(replies={"PBSZ": b"220 welcome\r\n"}))
    assert "greets once more behind TLS" in said.refusal()
    assert not any("USER" in seen.verbs() for seen in bad_server.sessions)


def test_one_session_at_a_time(play: Any) -> None:
    """To a server that allows an address no more."""
    said = play(Quirks(max_sessions=1), "--upload", "/")
    assert said.code == 0, said.err


def test_all_of_it_has_an_end(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsproxy.probe.probe.TOTAL_SECONDS", 1.0)
    said = play(Quirks(slow={"FEAT": 3.0}))
    assert "it was not over in 1 s" in said.refusal()
