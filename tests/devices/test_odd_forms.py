"""Odd forms of commands, of no device by name: blanks where none belong, lower case, missing arguments.

vsftpd, ProFTPD, Pure-FTPd and pyftpdlib, asked one by one, take each form of PORT, PASV and EPSV here; `PASV x` the
first and the third of them.
"""

from __future__ import annotations

import socket

import pytest

from tests.devices.stage import ScriptedStages
from tests.faults.stage import Stage
from tests.support.bad_client import BadClient, active_argument


@pytest.fixture
def stage(scripted_stages: ScriptedStages) -> Stage:
    return scripted_stages("odd-forms")


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        (b"TYPE\r\n", b"TYPE"),
        (b"type i\r\n", b"TYPE i"),
        (b"TYPE I \r\n", b"TYPE I "),
        (b"CLNT Scanner 1.0\r\n", b"CLNT Scanner 1.0"),
        (b"CWD \\scans\\a b\r\n", b"CWD \\scans\\a b"),
        (b"CWD  /scans\r\n", b"CWD  /scans"),
        (b"opts utf8 on\n", b"OPTS utf8 on"),
    ],
)
def test_what_is_the_servers_goes_to_the_server(stage: Stage, line: bytes, heard: bytes) -> None:
    """As it is, but for the verb's case and the line's end: what it means is the server's to say."""
    with stage.logged_in() as client:
        client.send(line)
        assert client.reply().good
    assert heard in stage.server.last.commands


@pytest.mark.parametrize(("user", "password"), [("anna ", "secret "), ("anna", ""), ("dom\\anna", "p w")])
def test_logins(stage: Stage, user: str, password: str) -> None:
    with stage.client() as client:
        assert client.command(f"USER {user}").code == 331
        assert client.command(f"PASS {password}").code == 230
        assert client.command("NOOP ").good
    assert [f"USER {user}".encode(), f"PASS {password}".encode()] == stage.server.last.commands[2:4]


def test_a_password_that_is_not_even_empty(stage: Stage) -> None:
    with stage.client() as client:
        assert client.command("USER anonymous").code == 331
        assert client.command("PASS").code == 230


@pytest.mark.parametrize("name", [" two blanks", "trailing ", "a  b", "ä.tif", "[Untitled]_{1}.pdf", "'HLQ.DATA(M)'"])
def test_names_of_files(stage: Stage, name: str) -> None:
    with stage.logged_in() as client:
        data = client.passive("PASV")
        assert client.command(f"STOR {name}").code == 150
        data.send(b"scan")
        data.fin()
        assert client.reply().code == 226
        data.close()
    stage.server.wait(lambda: stage.server.files.get(name.encode()) == b"scan")


def _uploads_after(client: BadClient, line: str, listener: socket.socket) -> bool:
    """Whether an upload works behind this form of PORT."""
    if client.command(line).code != 200 or client.command("STOR up").code != 150:
        return False
    data, _ = listener.accept()
    with data:
        data.sendall(b"scan")
    return client.reply().code == 226


@pytest.mark.parametrize("form", ["PORT {}", "PORT  {}", "PORT {} ", "port {}"])
@pytest.mark.parametrize("digits", ["{}", "{:03}"], ids=["plain", "three-digits"])
def test_forms_of_port(stage: Stage, form: str, digits: str) -> None:
    with stage.logged_in() as client, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        numbers = active_argument("PORT", "127.0.0.1", listener.getsockname()[1]).split(",")
        argument = ",".join(digits.format(int(number)) for number in numbers)
        assert _uploads_after(client, form.format(argument), listener)


@pytest.mark.parametrize("form", ["PASV ", "pasv", "PASV x", "EPSV ", "epsv"])
def test_forms_of_pasv(stage: Stage, form: str) -> None:
    with stage.logged_in() as client:
        data = client.dial(client.passive_address(form))
        assert client.command("STOR up").code == 150
        data.send(b"scan")
        data.fin()
        assert client.reply().code == 226
        data.close()
        assert client.command("QUIT ").code == 221


def test_blanks_between_the_numbers_of_port(stage: Stage) -> None:
    """vsftpd, Pure-FTPd and pyftpdlib answer 200 to blanks behind the commas; ProFTPD 501, too many parameters."""
    with stage.logged_in() as client, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        argument = active_argument("PORT", "127.0.0.1", listener.getsockname()[1])
        assert _uploads_after(client, f"PORT {argument.replace(',', ', ')}", listener)
