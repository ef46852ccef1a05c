"""A server's name with several addresses: data goes where the control connection went (U14)."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio

from ftpsproxy import net
from ftpsproxy.config import Listener, Settings, Timeouts, Upstream
from ftpsproxy.serve import process
from tests.faults.stage import FILE
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates

NAME = "balanced.example"


def _transfers(port: int) -> None:
    with BadClient(port) as client:
        client.login()
        for mode in ("EPSV", "PASV"):
            downloaded, replies = client.download(mode=mode)
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
            assert client.upload(FILE, "up", mode=mode)[-1].code == 226


@pytest.mark.parametrize("data_mode", ["epsv", "pasv", "eprt"])
async def test_data_goes_where_control_went(
    fault_certificates: Certificates, monkeypatch: pytest.MonkeyPatch, data_mode: str
) -> None:
    """Two servers, one name, the answers of the resolver in turns; a dead address comes first each time."""
    pair = fault_certificates.server
    with (
        socket.socket() as dead,
        BadServer(pair.certificate_file, pair.key_file, host="127.0.0.2") as one,
        BadServer(pair.certificate_file, pair.key_file, host="127.0.0.3") as other,
    ):
        dead.bind(("127.0.0.4", 0))
        servers = [one, other]
        asked: list[str] = []

        async def resolve(_: net.Resolver, host: str, port: int) -> list[net.Address]:
            asked.append(host)
            servers.reverse()
            addresses = [dead.getsockname(), *((server.host, server.port) for server in servers)]
            return [(socket.AF_INET, address) for address in addresses]

        monkeypatch.setattr(net.Resolver, "resolve", resolve)
        for server in servers:
            # What a balanced server says in its 227 is often the name's other address.
            passive = "227 Entering Passive Mode (127,0,0,9,{p1},{p2})\r\n"
            server.play(Quirks(passive={"PASV": passive}), {b"file": FILE})
        upstream = Upstream(
            "u",
            NAME,
            server_name="localhost",
            ca_file=fault_certificates.ca_file,
            data_mode=data_mode,  # type: ignore[arg-type] # one of its literals
        )
        settings = Settings((Listener("a", "127.0.0.1", 0, "u"),), {"u": upstream}, timeouts=Timeouts(drain=5))
        stop = trio.Event()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                _, real = await nursery.start(partial(process.serve, settings, stop=stop))
                for _ in range(4):
                    await trio.to_thread.run_sync(_transfers, real.listeners[0].port)
                stop.set()
        assert asked == [NAME] * 4  # once for each control connection, never for data
        for server in servers:
            assert len(server.sessions) == 2
            assert all(len(seen.data) == 4 for seen in server.sessions)
            assert all(data.secured and data.ended == "close_notify" for seen in server.sessions for data in seen.data)
            assert server.files[b"up"] == FILE
