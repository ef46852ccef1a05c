"""The gateway as a process: its log as an account of a session, and its end."""

from __future__ import annotations

import contextlib
import ftplib
import io
import signal
import socket

import pytest

from tests.e2e.flavours import Stages
from tests.e2e.script import content, sha256
from tests.e2e.sessions import logged_in
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.servers import PASSWORD, USER, Endpoint


def test_log_tells_the_story(stages: Stages) -> None:
    gateway = stages("proftpd").gateway
    since = gateway.mark()
    with logged_in(gateway.endpoint) as ftp:
        ftp.storbinary("STOR story", io.BytesIO(b"x" * 5000))
        ftp.retrbinary("RETR story", lambda data: None)
    closed = gateway.wait_for_event("session.closed", since=since)
    mine = [event for event in gateway.events(since=since) if event.get("session") == closed["session"]]
    told = [event["event"] for event in mine if event["level"] != "debug"]
    assert told == [
        "session.opened",
        "upstream.secured",
        "session.login",
        "transfer.finished",
        "transfer.finished",
        "session.closed",
    ]
    by_name = {event["event"]: event for event in mine}
    assert by_name["session.login"]["user"] == USER
    assert by_name["session.login"]["ok"] is True
    assert by_name["upstream.secured"]["subject"] == "CN=ftps.test"
    assert by_name["transfer.finished"]["path"] == "story"
    assert (closed["transfers"], closed["torn"]) == (2, 0)
    assert (closed["bytes_up"], closed["bytes_down"]) == (5000, 5000)


@pytest.mark.parametrize("server", ["vsftpd", "proftpd", "pureftpd", "pyftpdlib"])
def test_each_line_about_a_file_stands_alone(stages: Stages, server: str) -> None:
    stage = stages(server)
    gateway, since = stage.gateway, stage.gateway.mark()
    with logged_in(gateway.endpoint) as ftp:
        home = ftp.pwd()
        ftp.mkd("alone")
        ftp.cwd("alone")
        ftp.storbinary("STOR a", io.BytesIO(b"x" * 5000))
        ftp.retrbinary("RETR a", lambda data: None, rest=2000)
        ftp.rename("a", "b")
        with pytest.raises(ftplib.error_perm):
            ftp.delete("a")
        ftp.delete("b")
        with pytest.raises(ftplib.error_perm):
            ftp.retrbinary("RETR a", lambda data: None)
        there = ftp.pwd()
        ftp.cwd("..")
        ftp.rmd("alone")
    gateway.wait_for_event("session.closed", since=since)
    secured, up, down = (
        gateway.events(name, since=since)[at]
        for name, at in (("upstream.secured", 0), ("transfer.finished", 0), ("transfer.finished", 1))
    )
    assert (up["offset"], up["bytes"], down["offset"], down["bytes"]) == (0, 5000, 2000, 3000)
    assert there == f"{home.rstrip('/')}/alone"
    about = [*gateway.events("file.changed", since=since), up, down, gateway.events("transfer.refused", since=since)[0]]
    for event in about:
        assert event["user"] == USER
        assert event["server"] == f"{stage.server.host}:{stage.server.port}"
        assert event["server_address"] == "127.0.0.1"
        assert event["certificate_sha256"] == secured["certificate_sha256"]
        assert event["directory"] == (home if event.get("path") == "alone" else there)
        assert "directory_relative" not in event
    changed = [(event["action"], event["path"], event["ok"]) for event in gateway.events("file.changed", since=since)]
    assert changed == [
        ("directory_made", "alone", True),
        ("renamed", "a", True),
        ("deleted", "a", False),
        ("deleted", "b", True),
        ("directory_removed", "alone", True),
    ]


def test_wrong_password_is_logged_without_it(stages: Stages) -> None:
    gateway = stages("proftpd").gateway
    since = gateway.mark()
    with ftplib.FTP(timeout=60) as ftp:
        ftp.connect(gateway.endpoint.host, gateway.endpoint.port)
        with pytest.raises(ftplib.error_perm, match="530"):
            ftp.login(USER, "not" + PASSWORD)
    event = gateway.wait_for_event("session.login", since=since)
    assert event["ok"] is False
    assert event["reply"] == 530
    assert PASSWORD not in gateway.text


def test_feat_promises_no_tls_to_the_client(stages: Stages) -> None:
    with logged_in(stages("proftpd").gateway.endpoint) as ftp:
        features = ftp.sendcmd("FEAT").upper()
        assert not {"AUTH", "PBSZ", "PROT", "CCC"} & set(features.split())
        assert "EPSV" in features
        for command in ("AUTH TLS", "PBSZ 0", "PROT P", "CCC"):
            with pytest.raises(ftplib.error_perm):
                ftp.sendcmd(command)
        assert ftp.pwd() == "/"


def _lets_in(endpoint: Endpoint) -> bool:
    # A listener that is closing may still complete a handshake, but never greets.
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=30) as late:
            return late.recv(100).startswith(b"220")
    except OSError:
        return False


def test_sigterm_lets_a_transfer_end(certificates: Certificates) -> None:
    """The transfer runs to its end, an idle client hears 421, nobody new gets in, the exit code is 0."""
    data = content(8 * 1024 * 1024, "drain")
    with (
        servers.vsftpd(certificates) as server,
        start_gateway(server.url, certificates.ca_file, timeouts={"drain": 60}) as gateway,
    ):
        server.put("drain", data)
        endpoint = gateway.endpoint
        with contextlib.closing(ftplib.FTP(timeout=60)) as busy, contextlib.closing(ftplib.FTP(timeout=60)) as idle:
            for ftp in (busy, idle):
                ftp.connect(endpoint.host, endpoint.port)
                ftp.login(USER, PASSWORD)
            busy.voidcmd("TYPE I")
            with busy.transfercmd("RETR drain") as channel:
                got = [channel.recv(1000)]
                gateway.signal(signal.SIGTERM)
                gateway.wait_for_event("gateway.draining")
                assert idle.getline().startswith("421")
                assert idle.sock is not None
                assert idle.sock.recv(1) == b""
                assert not _lets_in(endpoint)
                while part := channel.recv(1 << 16):
                    got.append(part)
            assert busy.getresp().startswith("226")
            assert busy.getline().startswith("421")
        assert gateway.wait() == 0
        assert sha256(b"".join(got)) == sha256(data)
        assert gateway.events("gateway.stopped")
        assert [event["outcome"] for event in gateway.events("transfer.finished")] == ["complete"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_gateway_stops_at_once(certificates: Certificates, number: signal.Signals) -> None:
    with (
        servers.plaintext() as server,
        start_gateway(server.url, certificates.ca_file) as gateway,
    ):
        gateway.signal(number)
        assert gateway.wait(20) == 0


def test_second_signal_stops_a_drain(certificates: Certificates) -> None:
    with (
        servers.vsftpd(certificates) as server,
        start_gateway(server.url, certificates.ca_file, timeouts={"drain": 300}) as gateway,
    ):
        server.put("drain", content(8 * 1024 * 1024, "drain"))
        with contextlib.closing(ftplib.FTP(timeout=60)) as ftp:
            ftp.connect(gateway.endpoint.host, gateway.endpoint.port)
            ftp.login(USER, PASSWORD)
            ftp.voidcmd("TYPE I")
            with ftp.transfercmd("RETR drain") as channel:
                channel.recv(1000)
                gateway.signal(signal.SIGTERM)
                gateway.wait_for_event("gateway.draining")
                gateway.signal(signal.SIGTERM)
                assert gateway.wait(30) == 0
