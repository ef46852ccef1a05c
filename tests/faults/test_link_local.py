"""Addresses that lead somewhere only with their zone, on both sides: fe80::1 is another host on each interface."""

from __future__ import annotations

import pytest

from tests.faults.stage import FILE
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.link_local import with_link_local


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("upstream_mode", ["auto", "eprt"])
def test_data_connections(fault_certificates: Certificates, upstream_mode: str, workers: int) -> None:
    """Passive and active, at the client and at the server; nobody is told a zone, and the log has none."""
    pair = fault_certificates.server

    def play(addresses: list[str]) -> None:
        ours, server_host, client_host = addresses
        with (
            BadServer(pair.certificate_file, pair.key_file, host=server_host) as server,
            start_gateway(
                f"ftpes://[{server_host}]:{server.port}",
                fault_certificates.ca_file,
                env={"FTPSPROXY_WORKERS": str(workers)},
                listen=f"[{ours}]:0",
                upstream={"server_name": "localhost", "data_mode": upstream_mode},
            ) as gateway,
            BadClient(gateway.endpoint.port, ours, local=client_host) as client,
        ):
            server.files[b"file"] = FILE
            client.login()
            for mode in ("EPSV", "EPRT"):
                downloaded, replies = client.download(mode=mode)
                assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
                replies += client.upload(FILE, f"up-{mode}", mode=mode)
                assert replies[-1].code == 226
                assert server.files[f"up-{mode}".encode()] == FILE
            assert client.command("EPRT |2|fe80::ffff|50000|").code == 500
            assert client.command("QUIT").code == 221
            server.wait(lambda: server.last.over)
            assert ("EPRT" in server.last.verbs()) == (upstream_mode == "eprt")
            assert not [line for line in server.last.commands if b"%" in line]
            assert gateway.wait_for_event("session.closed")["client"] == client_host.partition("%")[0]
            assert not [event for event in gateway.events() if event["event"] != "gateway.ready" and "%" in str(event)]

    with_link_local(3, play)
