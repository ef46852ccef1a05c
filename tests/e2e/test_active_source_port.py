"""Connections to clients in active mode come from the port that the operator has said, or the gateway says why not.

Where processes share the tests, each has a network of its own (support/network.py); else nobody here may have port 20.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.bad_client import BadClient
from tests.support.certificates import Certificates
from tests.support.gateway import configuration, start_gateway
from tests.support.servers import Server

CONTENT = b"of a till\n" * 1000
ENDED_BY = 60
LFTP = (
    "set cmd:fail-exit yes; set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 10; set cmd:interactive no;"
    "set xfer:clobber yes; set ftp:passive-mode no; set ftp:verify-port yes;"  # lftp itself wants 20
)


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Server]:
    with servers.vsftpd(certificates, host=request.param) as running:
        running.put("file", CONTENT)
        yield running


def listening(server: Server) -> str:
    return "[::1]:0" if ":" in server.host else "127.0.0.1:0"


def test_a_client_sees_port_20(server: Server, certificates: Certificates) -> None:
    """Several at once, each at a port of its own."""
    settings = {"active_source_port": 20}
    with start_gateway(server.url, certificates.ca_file, listen=listening(server), listener=settings) as gateway:
        at = gateway.endpoint
        verb = "EPRT" if ":" in server.host else "PORT"
        clients = [BadClient(at.port, host=at.host) for _ in range(3)]
        try:
            connections = []
            for client in clients:
                client.login(at.user, at.password)
                data = client.active(verb)
                assert client.command("RETR file").code == 150
                connections.append(data)
            assert [data.sock.getpeername()[1] for data in connections] == [20, 20, 20]
            assert [data.read_to_end().data for data in connections] == [CONTENT] * 3
            assert [client.reply().code for client in clients] == [226] * 3
        finally:
            for client in clients:
                client.close()


def test_a_client_that_takes_the_same_port_again(server: Server, certificates: Certificates) -> None:
    """That pair of ports is in use for a minute behind a download: it comes from another one, and the log says so."""
    settings = {"active_source_port": 20}
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with start_gateway(server.url, certificates.ca_file, listen=listening(server), listener=settings) as gateway:
        at = gateway.endpoint
        with BadClient(at.port, host=at.host) as client, socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((at.host, 0))
            listener.listen()
            listener.settimeout(ENDED_BY)
            client.login(at.user, at.password)
            ports = []
            for _ in range(2):
                argument = f"|{2 if ':' in at.host else 1}|{at.host}|{listener.getsockname()[1]}|"
                assert client.command(f"EPRT {argument}").code == 200
                assert client.command("RETR file").code == 150
                data, peer = listener.accept()
                ports.append(peer[1])
                with data, data.makefile("rb") as file:
                    assert file.read() == CONTENT
                assert client.reply().code == 226
        assert ports[0] == 20
        if ports[1] != 20:  # some systems let go of such a pair earlier
            assert gateway.wait_for_event("data.source_port_taken")["port"] == listener_port(argument)


def listener_port(argument: str) -> int:
    return int(argument.split("|")[-2])


def test_lftp_that_checks_it(certificates: Certificates, tmp_path: Path) -> None:
    """Up and down; from any other port it takes nothing."""
    local = tmp_path / "local"
    local.write_bytes(CONTENT)
    with servers.vsftpd(certificates) as server:
        for settings in ({"active_source_port": 20}, {}):
            with start_gateway(server.url, certificates.ca_file, listener=settings) as gateway:
                at = gateway.endpoint
                login = f"open -p {at.port} -u {at.user},{at.password} {at.host};"
                commands = f"{LFTP} {login} put {local} -o up; get up -o {tmp_path}/back; ls"
                done = subprocess.run(["lftp", "-c", commands], capture_output=True, text=True, timeout=ENDED_BY)
            assert (done.returncode == 0) == bool(settings), done.stderr
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_who_may_not_is_told_before_anybody_comes(certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(configuration("ftpes://127.0.0.1:9", certificates.ca_file, listener={"active_source_port": 20}))
    without = ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"]
    for command, code in (("run", 1), ("check", 0)):
        done = subprocess.run(
            [*without, sys.executable, "-m", "ftpsproxy", command, "-c", str(config)],
            capture_output=True,
            text=True,
            timeout=ENDED_BY,
        )
        assert done.returncode == code, done.stderr
        assert "listener 'tests': no connections from active_source_port 20: permission denied" in done.stderr
        assert "CAP_NET_BIND_SERVICE" in done.stderr
    assert "active data: from port 20" in done.stdout


def test_who_has_the_port_is_said(certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(
            configuration("ftpes://127.0.0.1:9", certificates.ca_file, listener={"active_source_port": port})
        )
        command = [sys.executable, "-m", "ftpsproxy", "run", "-c", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENDED_BY)
    assert done.returncode == 1
    assert "address already in use; another program has it" in done.stderr
