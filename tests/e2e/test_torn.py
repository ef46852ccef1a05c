"""Torn transfers at real servers: nothing that broke on one side looks whole on the other, and the session goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from tests.e2e.flavours import Stage
from tests.support.bad_client import BadClient, DataConnection, Reply
from tests.support.descriptors import open_descriptors
from tests.support.gateway import Event
from tests.support.servers import descendants

_PROCESSES = ["vsftpd", "proftpd-standalone", "proftpd-standalone-tls12", "pureftpd", "netkit"]
PROCESS_EACH = pytest.mark.parametrize("stage", _PROCESSES, indirect=True)
SERVERS = pytest.mark.parametrize("stage", [*_PROCESSES, "aioftp", "twisted", "pyftpdlib-1.5"], indirect=True)
OFFSETS = pytest.mark.parametrize("offset", [0, 1, 16384, 1_000_003])
BIG = os.urandom(1 << 20) * 24  # more than the buffers between server and client hold
PATIENCE = 40.0


def login(stage: Stage) -> BadClient:
    """A session; the test ends it."""
    end = stage.gateway.endpoint
    client = BadClient(end.port, end.host, patience=PATIENCE)
    client.login(end.user, end.password)
    assert client.command("TYPE I").code == 200
    return client


def finished(stage: Stage, since: int) -> Event:
    """The log's account of the only transfer since."""
    return stage.gateway.wait_for_event("transfer.finished", PATIENCE, since=since)


def started(client: BadClient, command: str) -> DataConnection:
    """A transfer under way."""
    data = client.passive()
    assert 100 <= client.command(command).code < 200
    return data


def final(client: BadClient) -> Reply:
    """The next reply that is no 1xx: Pure-FTPd says 150 twice."""
    while (reply := client.reply()).code < 200:
        pass
    return reply


def torn_upload(stage: Stage, client: BadClient) -> bool:
    """Hears that the upload is torn, of the whole session perhaps; whether that goes on."""
    reply = final(client)
    if stage.flavour.fragile:
        while reply.code != 421:
            assert reply.code == 426, reply
            reply = client.reply()
        return False
    assert reply.code in (425, 426, 451), reply
    return True


def still_works(client: BadClient) -> None:
    """One good transfer each way in the same session."""
    assert client.upload(b"good", "after")[-1].good
    downloaded, replies = client.download("after")
    assert (downloaded.data, downloaded.ended, replies[-1].good) == (b"good", "fin", True)


@SERVERS
@OFFSETS
def test_an_upload_that_is_reset(stage: Stage, offset: int) -> None:
    since = stage.gateway.mark()
    with login(stage) as client:
        data = started(client, "STOR torn")
        data.send(BIG[:offset])
        data.reset()
        goes_on = torn_upload(stage, client)
        event = finished(stage, since)
        assert event["outcome"] == "torn", event
        if goes_on:
            still_works(client)


@SERVERS
def test_an_upload_whose_control_connection_is_lost(stage: Stage) -> None:
    since = stage.gateway.mark()
    with login(stage) as client:
        data = started(client, "STOR torn")
        data.send(BIG[:100_000])
        client.reset()
        assert data.read_to_end().ended == "reset"
    assert finished(stage, since)["outcome"] == "torn"
    stage.gateway.wait_for_event("session.closed", PATIENCE, since=since)


@SERVERS
@pytest.mark.parametrize("size", [0, 1000, 3 << 20])
def test_a_camera_leaves_behind_its_upload(stage: Stage, size: int) -> None:
    since = stage.gateway.mark()
    name = f"camera-{size}"
    with login(stage) as client:
        data = client.passive()
        client.send(f"STOR {name}\r\n".encode())
        data.send(BIG[:size])
        data.fin()
        client.close()
    event = finished(stage, since)
    assert (event["outcome"], event["bytes"]) == ("complete", size), event
    assert (stage.server.home / name).read_bytes() == BIG[:size]


@PROCESS_EACH
def test_a_server_killed_in_mid_download(stage: Stage) -> None:
    stage.server.put("big", BIG)
    before = set(descendants(stage.server.pid))
    since = stage.gateway.mark()
    with login(stage) as client:
        data = started(client, "RETR big")
        assert data.read(50_000) == BIG[:50_000]
        for pid in set(descendants(stage.server.pid)) - before:
            with contextlib.suppress(ProcessLookupError):  # vsftpd's second process goes with its first
                os.kill(pid, signal.SIGKILL)
        downloaded = data.read_to_end()
        assert (downloaded.ended, BIG.startswith(downloaded.data)) == ("reset", False)
        reply = final(client)
        assert reply.code in (421, 425, 426, 451), reply
    assert finished(stage, since)["outcome"] == "torn"


@SERVERS
def test_a_client_that_resets_its_download(stage: Stage) -> None:
    stage.server.put("big", BIG)
    since = stage.gateway.mark()
    with login(stage) as client:
        data = started(client, "RETR big")
        data.read(50_000)
        data.reset()
        reply = final(client)
        assert reply.code in (425, 426, 451), reply
        assert finished(stage, since)["outcome"] == "torn"
        still_works(client)


@SERVERS
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("command", ["RETR big", "STOR torn"])
def test_abor_and_on(stage: Stage, command: str, twice: bool) -> None:
    stage.server.put("big", BIG)
    since = stage.gateway.mark()
    with login(stage) as client:
        data = started(client, command)
        if command.startswith("STOR"):
            data.send(BIG[:100_000])
        else:
            data.read(50_000)
        client.send_synch_abort()
        if twice:
            client.send(b"ABOR\r\n")
        if command.startswith("STOR"):
            if not torn_upload(stage, client):
                assert finished(stage, since)["outcome"] == "aborted"
                return
        else:
            assert final(client).code in (425, 426, 451)
        assert final(client).code in (225, 226)
        if twice:
            assert client.reply().code in (225, 226, 500, 502)
        assert data.read_to_end().ended == "reset"
        assert finished(stage, since)["outcome"] == "aborted"
        still_works(client)


@SERVERS
def test_abandoned_sessions_leave_nothing(stage: Stage) -> None:
    """No descriptor, and no session of the server's, outlives its client."""
    since = stage.gateway.mark()
    with login(stage) as client:
        still_works(client)
    stage.gateway.wait_for_event("session.closed", PATIENCE, since=since)
    before = open_descriptors(stage.gateway.pid)
    for _ in range(25):
        with login(stage) as client:
            client.passive()
    until = time.monotonic() + PATIENCE
    while len(now := open_descriptors(stage.gateway.pid)) > len(before):
        assert time.monotonic() < until, f"{before} became {now}"
        time.sleep(0.05)
