"""Every wait ends: each with its own reply and its own word in the log. The gateway here is in a hurry (1 to 3 s)."""

from __future__ import annotations

import socket

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient
from tests.support.bad_server import Fault, Final, Handshake, Quirks
from tests.support.ports import deaf

BODY = bytes(48 << 20)
"""More than all buffers between server and client hold."""


@pytest.fixture
def hasty(stages: Stages) -> Stage:
    return stages("hasty")


def test_a_server_that_hangs_in_the_handshake(hasty: Stage) -> None:
    hasty.play(Quirks(handshake=Handshake.HANG))
    with hasty.client(greeting=False) as client:
        client.send(b"USER anna\r\n")
        assert [client.reply().code for _ in range(2)] == [220, 530]
        client.rest()
    assert hasty.event("upstream.failed")["cause"] == "handshake_timeout"
    assert b"USER" not in hasty.server.last.in_clear


def test_a_server_that_never_greets(hasty: Stage) -> None:
    hasty.play(Quirks(greeting=b""))
    with hasty.client() as client:
        assert client.refusal().code == 530
    assert hasty.event("upstream.failed")["cause"]


def test_a_server_that_is_always_about_to_be_ready(hasty: Stage) -> None:
    """No single wait is long; all of them together have the time of a login."""
    hasty.play(Quirks(instead_of_greeting=b"120 in a minute\r\n"))
    with hasty.client() as client:
        assert client.refusal().code == 530
    assert hasty.event("upstream.failed")["cause"] == "timeout"
    assert hasty.event("session.closed")["seconds"] >= 2.9  # timeouts.login


def test_a_server_that_does_not_answer_auth(hasty: Stage) -> None:
    hasty.play(Quirks(auth={"TLS": b""}))
    with hasty.client() as client:
        assert client.refusal().code == 530
    assert hasty.event("upstream.failed")["cause"]


def test_a_server_that_cannot_be_reached(stages: Stages) -> None:
    """connect_timeout: a full backlog swallows the SYN."""
    with deaf() as port:
        stage = stages("hasty", upstream_port=port)
        with stage.client() as client:
            assert client.refusal().code == 530
        assert stage.event("upstream.failed")["cause"] == "connect_timeout"


def _leave(client: BadClient, how: str) -> None:
    client.close() if how == "fin" else client.reset()


def _assert_gone(stage: Stage) -> None:
    """Long before the server's time is up."""
    closed = stage.event("session.closed")
    assert closed["cause"] == "client_gone"
    assert closed["seconds"] < 5
    assert not stage.events("upstream.failed")


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_leaves_while_the_server_is_connected_to(stages: Stages, how: str) -> None:
    """Its seat is free at once, not when the server's time is up."""
    with deaf() as port:
        stage = stages("default", upstream_port=port)
        with stage.client(greeting=False) as client:
            client.send(b"USER anna\r\n")
            stage.event("session.opened")
            _leave(client, how)
            _assert_gone(stage)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize(
    ("profile", "quirks"),
    [
        ("default", Quirks(greeting=b"")),
        ("default", Quirks(handshake=Handshake.HANG)),
        ("implicit", Quirks(implicit=True, handshake=Handshake.HANG)),
        ("default", Quirks(replies={"PBSZ": b""})),
    ],
    ids=["greeting", "auth", "implicit", "pbsz"],
)
def test_a_client_that_leaves_during_the_opening(stages: Stages, profile: str, quirks: Quirks, how: str) -> None:
    stage = stages(profile)
    stage.play(quirks)
    with stage.client(greeting=False) as client:
        client.send(b"USER anna\r\n")
        stage.server.wait(lambda: stage.server.sessions)
        _leave(client, how)
        _assert_gone(stage)
    stage.server.wait(lambda: stage.server.last.over)


def test_a_server_that_does_not_answer_a_command(hasty: Stage) -> None:
    hasty.play(Quirks(replies={"PWD": b""}))
    with hasty.logged_in() as client:
        assert client.command("PWD").code == 421
        client.rest()
    assert hasty.event("session.closed")["cause"]


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_server_that_never_gives_its_verdict(hasty: Stage, verb: str) -> None:
    """Without it the file is torn, whatever came."""
    hasty.play(Quirks(final_when=Final.NEVER))
    with hasty.logged_in() as client:
        data = client.passive()
        assert client.command(f"{verb} file").code == 150
        if verb == "STOR":
            data.send(FILE)
            data.fin()
        else:
            assert data.read(len(FILE)) == FILE
        assert client.reply().code in (421, 426, 451)
        assert data.read_to_end().ended == "reset"
    assert hasty.event("transfer.finished")["outcome"] == "torn"


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_server_that_stalls(hasty: Stage, verb: str) -> None:
    """server_stall."""
    hasty.play(Quirks(fault=Fault.STALL, fault_at=100_000), {b"file": BODY})
    with hasty.logged_in() as client:
        data = client.passive()
        assert client.command(f"{verb} file").code == 150
        if verb == "STOR":
            data.send_what_fits(BODY, 0.5)
        assert client.reply().code in (421, 426, 451)
        assert data.read_to_end().ended == "reset"
    finished = hasty.event("transfer.finished")
    assert finished["outcome"] == "torn"
    assert "server" in finished["detail"]


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_client_that_stalls(hasty: Stage, verb: str) -> None:
    """client_stall: upstream the upload is reset, never ended."""
    hasty.play(Quirks(), {b"file": BODY})
    with hasty.logged_in(receive_buffer=8192) as client:
        data = client.passive()
        assert client.command(f"{verb} file").code == 150
        if verb == "STOR":
            data.send(FILE)
        assert client.reply().code in (421, 426, 451)
    finished = hasty.event("transfer.finished")
    assert finished["outcome"] == "torn"
    assert "client" in finished["detail"]
    hasty.server.wait(lambda: hasty.server.last.data[0].over)
    if verb == "STOR":
        assert hasty.server.last.data[0].ended == "reset"


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_client_that_never_connects(hasty: Stage, verb: str) -> None:
    """data_connect, passive."""
    with hasty.logged_in() as client:
        client.passive_address()
        client.send(f"{verb} file\r\n".encode())
        replies = [client.reply()]
        if replies[0].code == 150:
            replies.append(client.reply())
        assert replies[-1].code in (421, 425, 426)
        assert client.command("PWD").code == 257
    assert hasty.server.files.get(b"file") in (FILE, b"")
    hasty.server.wait(lambda: all(data.over for data in hasty.server.last.data))
    assert all(data.ended != "close_notify" for data in hasty.server.last.data if verb == "STOR")


def test_an_active_client_that_does_not_listen(hasty: Stage) -> None:
    """A refused connection is no wait at all."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        with hasty.logged_in() as client:
            assert client.command(f"EPRT |1|127.0.0.1|{port}|").code in (200, 425)
            client.send(b"RETR file\r\n")
            replies = [client.reply()]
            if replies[0].code == 150:
                replies.append(client.reply())
            assert replies[-1].code in (425, 426, 503)
            assert client.command("PWD").code == 257
            assert client.download()[0].data == FILE


def test_a_data_handshake_that_is_never_answered(hasty: Stage) -> None:
    hasty.play(Quirks(data_hangs=True))
    with hasty.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended) == (b"", "reset")
        assert replies[-1].code in (421, 425, 426, 451)
    assert hasty.event("transfer.finished")["outcome"] == "torn"


def test_an_abor_that_is_never_answered(hasty: Stage) -> None:
    hasty.play(Quirks(fault=Fault.STALL, fault_at=1000, abor=b"", replies={"PWD": b""}))
    with hasty.logged_in() as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        data.read(1000)
        client.send(b"ABOR\r\n")
        reply = client.reply()
        assert reply.code in (421, 426), reply
        assert data.read_to_end().ended == "reset"
    assert hasty.event("session.closed")


def test_a_client_that_never_logs_in(hasty: Stage) -> None:
    with hasty.client() as client:
        assert client.reply().code == 421
        client.rest()
    assert hasty.event("session.closed")["cause"]


def test_a_client_that_falls_asleep(hasty: Stage) -> None:
    """idle."""
    with hasty.logged_in() as client:
        assert client.reply().code == 421
        client.rest()
    assert hasty.event("session.closed")["cause"] == "idle_timeout"
    hasty.server.wait(lambda: hasty.server.last.over)


def test_a_transfer_is_not_idle(hasty: Stage) -> None:
    """Nothing on the control connection while data trickles for longer than `idle` and every stall limit."""
    hasty.play(Quirks(read_pause=0.5))
    with hasty.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        for _ in range(6):
            data.send(FILE[:16_000])
            hasty.server.wait(lambda: hasty.server.last.data[0].received % 16_000 == 0)
            client.sock.settimeout(0.6)
            with pytest.raises(TimeoutError):
                client.sock.recv(1)
            client.sock.settimeout(20)
        data.fin()
        assert client.reply().code == 226
        assert client.command("PWD").code == 257
