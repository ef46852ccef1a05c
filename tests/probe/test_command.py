"""The command as people and scripts use it: what is wrong usage, where the password comes from, what is written."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.probe.conftest import Probe
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.servers import PASSWORD, USER

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "ftpsproxy", "probe"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say which server: ftpsproxy probe ftp.example.com"),
        (["a.example", "b.example"], "one server at a time"),
        (["ftp://a.example"], "ftp:// would send passwords and files in clear"),
        (["ftpes://anna:secret@a.example"], "must not hold a user name or password"),
        (["a.example:66000"], "port 66000 does not exist"),
        (["a.example/folder"], "no path, only a host"),
        (["a.example", "--trust", "x"], "--trust: 'x' can't be a pin"),
        (["a.example", "--ca-file", "/no/such.pem"], "--ca-file: cannot read /no/such.pem: no such file"),
        (["a.example", "--ca-file", "/etc/hostname"], "ca_file /etc/hostname can't be used"),
        (["a.example", "--server-name", "a b"], "--server-name: 'a b' is no host name"),
        (["a.example", "--upload", "/"], "--upload: that needs a login; say --user NAME, too"),
        (["a.example", "--password-file", "x"], "--password-file: that needs a login"),
        (["a.example", "--user", "anna\r\nDELE x"], "--user: must not be empty or hold control characters"),
        (["a.example", "--user", "anna", "--password-file", "/no/such"], "cannot read /no/such"),
        (["a.example", "--user", "anna", "--password-file", "/dev/null"], "no password in /dev/null"),
        (["a.example", "--key-file", "/etc/hostname"], "a key without a certificate"),
        (["a.example", "--write", ""], "--write: name a file"),
        (["a.example", "--password", "secret"], "unknown argument '--password'; did you mean '--password-file'?"),
    ],
)
def test_wrong_usage(probe: Probe, arguments: list[str], told: str) -> None:
    said = probe(*arguments)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert said.err.count("\n") == 1
    assert "secret" not in said.err


def test_no_standard_input(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    said = probe("a.example", "--user", "anna")
    assert (said.code, "no password in standard input" in said.err) == (2, True)


def test_what_is_written_overwrites_nothing(
    probe: Probe, bad_server: BadServer, certificates: Certificates, tmp_path: Path
) -> None:
    bad_server.play(Quirks())
    arguments = [f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--write", tmp_path / "a.toml"]
    said = probe(*arguments)
    assert said.code == 0
    written = (tmp_path / "a.toml").read_text()
    assert written in said.out
    assert f"ftpsproxy check -c {tmp_path / 'a.toml'}" in said.out
    met = len(bad_server.sessions)
    again = probe(*arguments)
    assert (again.code, again.out) == (2, "")
    assert "is there already, and is not overwritten" in again.err
    assert (tmp_path / "a.toml").read_text() == written
    assert len(bad_server.sessions) == met  # before anybody was asked


def test_settings_that_do_not_work_are_not_written(probe: Probe, bad_server: BadServer, tmp_path: Path) -> None:
    """They would pass for some that do, and be in the way of those."""
    bad_server.play(Quirks())
    said = probe(f"127.0.0.1:{bad_server.port}", "--write", tmp_path / "a.toml")
    assert "not trusted here" in said.refusal()
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written(
    probe: Probe, bad_server: BadServer, certificates: Certificates, tmp_path: Path
) -> None:
    bad_server.play(Quirks())
    file = tmp_path / "no" / "a.toml"
    said = probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--write", file)
    assert said.code == 1
    assert f"{file} can't be written: no such file or directory" in said.err


def test_for_machines(probe: Probe) -> None:
    """Also where there is no way: one document on standard output, one line on standard error."""
    said = probe("127.0.0.1:1", "--json")
    told = said.told
    assert (said.code, told["ok"], told["reason"]) == (1, False, "connect_failed")
    assert told["detail"] in said.refusal()
    assert told["toml"] is None


def test_the_password_from_standard_input(bad_server: BadServer, certificates: Certificates) -> None:
    """Its first line; nothing of it is shown."""
    bad_server.play(Quirks())
    done = subprocess.run(
        [*COMMAND, f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--user", USER, "--json"],
        input=f"{PASSWORD}\nmore\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    assert json.loads(done.stdout)["ok"] is True
    assert f"PASS {PASSWORD}".encode() in [line for seen in bad_server.sessions for line in seen.commands]


def test_the_password_from_a_prompt(bad_server: BadServer, certificates: Certificates) -> None:
    """At a terminal it is asked for, and not echoed."""
    bad_server.play(Quirks())
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--user", USER],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that there is no other terminal to ask
    )
    try:
        assert process.stderr is not None
        asked = process.stderr.read1(100)  # type: ignore[attr-defined] # it is a BufferedReader
        os.write(ours, f"{PASSWORD}\n".encode())  # what was typed before would be thrown away
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0, err
    assert asked == f"password of {USER}: ".encode()
    assert PASSWORD.encode() not in out + err


def test_each_step_is_told_as_it_goes_and_ctrl_c_ends_it(bad_server: BadServer) -> None:
    bad_server.play(Quirks(greeting=b""))
    process = subprocess.Popen(
        [*COMMAND, f"127.0.0.1:{bad_server.port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"127.0.0.1 port {bad_server.port}\n"
        assert f"connected to 127.0.0.1 port {bad_server.port}" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "ftpsproxy: interrupted\n")


def test_output_that_nobody_reads(bad_server: BadServer) -> None:
    bad_server.play(Quirks())
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, f"127.0.0.1:{bad_server.port}"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "ftpsproxy: cannot write to standard output: no space left on device\n",
    )


def test_a_terminal_that_knows_ascii_only(bad_server: BadServer) -> None:
    bad_server.play(Quirks())
    done = subprocess.run(
        [*COMMAND, f"127.0.0.1:{bad_server.port}"],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert b"  ok" in done.stdout
    assert b"  NO" in done.stdout
    assert done.stdout.isascii()
