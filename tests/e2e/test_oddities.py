"""What real servers do that no client should have to live with: never silently, never in clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.e2e.flavours import Stages
from tests.e2e.sessions import refusal
from tests.support import servers
from tests.support.bad_client import BadClient, Reply
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway

SECRET = b"the file's own bytes, which nobody on the way may read. " * 400


@contextlib.contextmanager
def _session(gateway: Gateway) -> Iterator[BadClient]:
    end = gateway.endpoint
    with BadClient(end.port, end.host, patience=40) as client:
        client.login(end.user, end.password)
        yield client


def _final(client: BadClient) -> Reply:
    while (reply := client.reply()).code < 200:
        pass
    return reply


def test_a_server_that_refuses_our_alpn(stages: Stages, certificates: Certificates) -> None:
    """Twisted without protocols of its own ends the handshake of whoever offers one (alert internal_error)."""
    server = stages("twisted").server
    with start_gateway(server.url, certificates.ca_file) as gateway:
        assert refusal(gateway.endpoint).startswith("530")
        assert gateway.wait_for_event("upstream.failed")["cause"] == "handshake_refused"


def test_an_empty_file_that_is_broken_off(stages: Stages) -> None:
    """Twisted resets the data connection of an empty file, if TLS does not stand before its command, and says 226.

    In TYPE I its SIZE proves that nothing was to come; in TYPE A nothing does.
    """
    stage = stages("twisted")
    stage.server.put("nothing", b"")
    stage.server.put("something", b"x")
    since = stage.gateway.mark()
    with _session(stage.gateway) as client:
        downloaded, replies = client.download("nothing")
        whole = (downloaded.ended, replies[-1].code) == ("fin", 226)
        assert whole or (downloaded.ended, replies[-1].code) == ("reset", 426), (downloaded, replies)
        event = stage.gateway.wait_for_event("transfer.finished", since=since)
        assert event["outcome"] == ("complete" if whole else "torn"), event
        assert client.command("TYPE I").code == 200
        downloaded, replies = client.download("nothing")
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (b"", "fin", 226)
        downloaded, replies = client.download("something")
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (b"x", "fin", 226)


def test_a_server_whose_data_connections_break_with_tls_1_3(stages: Stages, certificates: Certificates) -> None:
    """Netkit's ftpd has a handshake fail that it has spoilt itself, and says so in plain FTP: "425 ftpd: Verify ok"."""
    server = stages("netkit").server
    server.put("down", SECRET)
    with start_gateway(server.url, certificates.ca_file) as gateway, _session(gateway) as client:
        for _ in range(2):
            downloaded, replies = client.download("down")
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (b"", "reset", 425), replies
            data = client.passive()
            client.send(b"STOR up\r\n")
            assert _final(client).code == 425
            data.close()
        assert client.command("PWD").code == 257
        gateway.wait_for_event("transfer.finished", count=4)
        assert {event["outcome"] for event in gateway.events("transfer.finished")} == {"torn"}


def test_a_server_that_promises_tls_and_has_data_in_clear(certificates: Certificates) -> None:
    """A fork of ftp-srv says 200 to PROT P. It stores what it is sent: our half of a handshake, and nothing else."""
    limits = {"handshake": 2}
    for verb in ("RETR", "STOR"):
        with (
            servers.clear_data(certificates) as server,
            start_gateway(server.url, certificates.ca_file, timeouts=limits) as gateway,
        ):
            server.put("down", SECRET)
            with _session(gateway) as client:
                if verb == "RETR":
                    downloaded, _ = client.download("down")
                    assert (downloaded.data, downloaded.ended) == (b"", "reset")
                else:
                    data = client.passive()
                    client.send(b"STOR up\r\n")
                    with contextlib.suppress(OSError):
                        data.send(SECRET)
                        data.fin()
                    reply = _final(client)
                    assert reply.code in (425, 426), reply
            event = gateway.wait_for_event("transfer.finished")
            assert (event["verb"], event["outcome"]) == (verb, "torn")
            up = server.home / "up"
            assert not up.exists() or SECRET[:20] not in up.read_bytes()
