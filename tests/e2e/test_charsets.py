"""Names of devices in charsets of their own at servers whose names are UTF-8: up, down, listed, renamed."""

from __future__ import annotations

import ftplib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway
from tests.support.servers import Endpoint, Server

CONTENT = bytes(range(256)) * 400
"""Bytes of all kinds: files are never translated."""
NAMES = {
    "cp1252": ("Übersicht café ÿ.pdf", "Größe €.pdf"),
    "shift_jis": ("表ソ能 予定.txt", "十申.txt"),
    "euc_kr": ("보고서.txt", "한글 이름.txt"),
    "koi8-r": ("Отчёт Ъ.txt", "Я.txt"),
}
SERVERS: dict[str, Callable[[Certificates], AbstractContextManager[Server]]] = {
    "vsftpd": servers.vsftpd,
    "proftpd": servers.proftpd,
    "pureftpd": servers.pureftpd,
    "pyftpdlib": servers.pyftpdlib,
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Server]:
    with SERVERS[request.param](certificates) as running:
        yield running


def device(at: Endpoint, charset: str) -> ftplib.FTP:
    """Python's own client, its names in this charset."""
    client = ftplib.FTP(encoding=charset, timeout=30)
    client.connect(at.host, at.port)
    client.login(at.user, at.password)
    return client


def lines(client: ftplib.FTP, command: str) -> list[str]:
    said: list[str] = []
    client.retrlines(command, said.append)
    return said


@pytest.mark.parametrize("charset", NAMES)
def test_up_down_listed_renamed(server: Server, certificates: Certificates, charset: str) -> None:
    name, other = NAMES[charset]
    # What is not in the device's charset, and what is not in the server's: both are left out of listings.
    server.put("☃ not for all.txt", b"x")
    (server.home / os.fsdecode(b"old \xe9.txt")).write_bytes(b"x")
    with start_gateway(server.url, certificates.ca_file, listener={"client_charset": charset}) as gateway:
        with device(gateway.endpoint, charset) as client:
            client.storbinary(f"STOR {name}", io.BytesIO(CONTENT))
            assert (server.home / name).read_bytes() == CONTENT
            got = io.BytesIO()
            client.retrbinary(f"RETR {name}", got.write)
            assert got.getvalue() == CONTENT
            assert [one for one in lines(client, "NLST") if one.endswith(name)]
            listed = "\n".join(lines(client, "LIST"))
            assert name in listed
            assert "not for all" not in listed
            client.voidcmd("TYPE I")
            assert client.size(name) == len(CONTENT)
            client.rename(name, other)
            assert (server.home / other).read_bytes() == CONTENT
            directory = f"d {name}"
            client.mkd(directory)
            client.cwd(directory)
            assert client.pwd() == f"/{directory}"
            client.cwd("/")
            client.rmd(directory)
            client.delete(other)
            assert not (server.home / other).exists()
            with pytest.raises(ftplib.error_perm, match="504"):
                client.sendcmd("OPTS UTF8 ON")
        left_out = gateway.wait_for_event("session.names_left_out")
        assert left_out["count"] >= 1
        paths = {event["path"] for event in gateway.events("transfer.finished")}
    assert name in paths, "the log has names as the server has them"


def test_a_name_that_is_none_in_its_charset_never_gets_there(server: Server, certificates: Certificates) -> None:
    before = set(os.listdir(os.fsencode(server.home)))
    with start_gateway(server.url, certificates.ca_file, listener={"client_charset": "cp1252"}) as gateway:
        with device(gateway.endpoint, "latin-1") as client, pytest.raises(ftplib.error_perm, match="553"):
            client.storbinary("STOR \x81.txt", io.BytesIO(b"x"))
        assert gateway.wait_for_event("command.refused")["verb"] == "STOR"
    assert set(os.listdir(os.fsencode(server.home))) == before


def test_lftp_with_a_charset(server: Server, certificates: Certificates, tmp_path: Path) -> None:
    """lftp translates itself, and doubles 0xFF unless told not to."""
    local = tmp_path / "local"
    local.write_bytes(CONTENT)
    name = "Größe ÿ.pdf"

    def lftp(gateway: Gateway, commands: str) -> subprocess.CompletedProcess[str]:
        at = gateway.endpoint
        settings = (
            "set cmd:fail-exit yes; set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 30;"
            "set cmd:interactive no; set ftp:charset cp1252; set file:charset UTF-8; set ftp:use-utf8 no;"
        )
        login = f"open -p {at.port} -u {at.user},{at.password} {at.host};"
        environ = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)}
        command = ["lftp", "-c", f"{settings} {commands.replace('LOGIN', login)}"]
        return subprocess.run(command, capture_output=True, timeout=60, encoding="utf-8", env=environ)

    with start_gateway(server.url, certificates.ca_file, listener={"client_charset": "cp1252"}) as gateway:
        put = f'LOGIN put "{local}" -o "{name}"'
        assert lftp(gateway, put).returncode != 0, "ÿÿ or ÿ: nobody can tell"
        steps = f'cls -1; nlist; get "{name}" -o {tmp_path}/back; rm "{name}"'
        done = lftp(gateway, f"set ftp:use-telnet-iac no; {put}; {steps}")
        assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert (tmp_path / "back").read_bytes() == CONTENT
