"""The way data travels upstream is independent of the client's way: every data_mode with passive and active clients."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.flavours import Flavour, flavour
from tests.e2e.script import content
from tests.e2e.sessions import logged_in
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.clients import BY_NAME
from tests.support.gateway import start_gateway
from tests.support.servers import Server


@pytest.fixture(scope="module", params=["vsftpd", "proftpd-standalone", "pureftpd", "netkit", "pyftpdlib-1.5"])
def running(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[Flavour, Server]]:
    found = flavour(request.param)
    with found.start(certificates) as started:
        yield found, started


@pytest.mark.parametrize("mode", ["epsv", "pasv", "eprt", "port"])
def test_upstream_mode(running: tuple[Flavour, Server], certificates: Certificates, mode: str) -> None:
    kind, server = running
    settings = {**kind.upstream, "data_mode": mode}
    with start_gateway(server.url, certificates.ca_file, upstream=settings) as gateway:
        for passive in (True, False):
            with logged_in(gateway.endpoint, passive=passive) as ftp:
                for size in (0, 1, 300_007):
                    data = content(size, mode)
                    ftp.storbinary("STOR mode", io.BytesIO(data))
                    assert (server.home / "mode").read_bytes() == data
                    got = io.BytesIO()
                    ftp.retrbinary("RETR mode", got.write)
                    assert got.getvalue() == data
                assert "mode" in ftp.nlst()
        gateway.wait_for_event("transfer.finished", count=14)
        for event in gateway.events("transfer.finished"):
            assert event["upstream_mode"] == mode, event
            assert event["outcome"] == "complete", event
            assert event["resumed"] is True or not kind.resumes, event


@pytest.fixture(scope="module")
def server_ipv6(certificates: Certificates) -> Iterator[Server]:
    with servers.vsftpd(certificates, host="::1") as started:
        yield started


@pytest.mark.parametrize("client", [name for name, client in BY_NAME.items() if client.ipv6])
def test_script_is_sound_on_ipv6(client: str, plaintext_server_ipv6: Server, tmp_path: Path) -> None:
    _up_and_down(client, plaintext_server_ipv6, plaintext_server_ipv6.endpoint, tmp_path)


@pytest.fixture(scope="module", params=["4-6", "6-4", "6-6"])
def families(
    request: pytest.FixtureRequest, certificates: Certificates, server_ipv6: Server
) -> Iterator[tuple[str, Server, servers.Endpoint]]:
    """The client's address family and the server's, with that server and a gateway in front."""
    front, back = request.param.split("-")
    with contextlib.ExitStack() as stack:
        server = server_ipv6 if back == "6" else stack.enter_context(servers.vsftpd(certificates))
        listen = "[::1]:0" if front == "6" else "127.0.0.1:0"
        gateway = stack.enter_context(start_gateway(server.url, certificates.ca_file, listen=listen))
        yield front, server, gateway.endpoint


@pytest.mark.parametrize("client", [name for name, client in BY_NAME.items() if client.ipv6])
def test_address_families(families: tuple[str, Server, servers.Endpoint], client: str, tmp_path: Path) -> None:
    front, server, endpoint = families
    assert (":" in endpoint.host) is (front == "6")
    _up_and_down(client, server, endpoint, tmp_path)


def _up_and_down(client: str, server: Server, endpoint: servers.Endpoint, scratch: Path) -> None:
    program = BY_NAME[client]
    data = content(100_003, client)
    source, target = scratch / "source", scratch / "target"
    source.write_bytes(data)
    server.put("family-down", data)
    program.download(endpoint, target, "family-down")
    assert target.read_bytes() == data
    if program.upload is not None:
        program.upload(endpoint, source, f"family-{client}")
        assert (server.home / f"family-{client}").read_bytes() == data
    if program.list is not None:
        assert "family-down" in program.list(endpoint, "")
