"""Whatever goes wrong with a data connection, whoever's and whenever: the client hears why, in time, and the log has it
in one line, with the cause, the address and what to do (`data.failed`)."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, Ended
from tests.support.bad_server import Fault, Quirks
from tests.support.gateway import Event

DEAD = {"EPSV": "229 ok (|||{dead}|)\r\n", "PASV": "227 ok (127,0,0,1,{p1},{p2})\r\n"}
DEAF = {"EPSV": "229 ok (|||{deaf}|)\r\n"}


@pytest.fixture
def hasty(stages: Stages) -> Stage:
    return stages("hasty")


def failed(stage: Stage, side: str, cause: str, **more: Any) -> Event:
    """The one line of that."""
    event = stage.event("data.failed")
    assert len(stage.events("data.failed")) == 1, stage.events("data.failed")
    assert event["level"] == "warning"
    assert {"side": side, "cause": cause, **more}.items() <= event.items(), event
    return event


@pytest.mark.parametrize("how", ["no answer", "refused"])
def test_the_servers_passive_port_is_closed_to_us(hasty: Stage, how: str) -> None:
    """A firewall that drops, one that says no: EPSV is tried, then PASV, which the server does not know here."""
    hasty.play(Quirks(passive=DEAF if how == "no answer" else DEAD, replies={"PASV": b"502 no PASV\r\n"}))
    with hasty.logged_in() as client:
        said = client.command("PASV")
        assert said.code == 502
    first, second = hasty.event("data.failed"), hasty.event("data.failed", 2)
    cause = "no_answer" if how == "no answer" else "refused"
    assert (first["side"], first["mode"], first["cause"], first["address"]) == ("server", "epsv", cause, "127.0.0.1")
    assert first["port"] > 1024
    assert "passive ports" in first["hint"]
    assert (second["mode"], second["cause"], second["detail"]) == ("pasv", "not_offered", "PASV: 502 no PASV")
    assert "data_mode" in second["hint"]


def test_the_client_hears_of_a_closed_port_in_time(stages: Stages) -> None:
    """EPSV has half of the time, PASV the rest; without another way it has all."""
    stage = stages("pasv_hasty")
    stage.play(Quirks(passive={"PASV": "227 ok (127,0,0,1,{deaf1},{deaf2})\r\n"}))
    with stage.logged_in() as client:
        said = client.command("PASV")
        assert said.code == 425
        assert b"no answer from 127.0.0.1 port" in said.raw
    failed(stage, "server", "no_answer", mode="pasv", address="127.0.0.1")


@pytest.mark.parametrize("mode", ["eprt", "port"])
def test_a_server_that_never_calls(stages: Stages, mode: str) -> None:
    stage = stages(f"{mode}_hasty")
    stage.play(Quirks(never_calls=True))
    with stage.logged_in() as client:
        client.passive()
        assert client.command("RETR file").code == 150
        said = client.reply()
        assert said.code == 425
        assert b"the server opened no data connection in time" in said.raw
    assert "active_address" in failed(stage, "server", "never_came", mode=mode, address="127.0.0.1")["hint"]


def test_a_server_whose_certificate_is_refused_on_data(stages: Stages) -> None:
    stage = stages("hasty")
    other = stage.certificates.wrong_host
    stage.play(Quirks(data_certificate=(other.certificate_file, other.key_file), tickets=False))
    with stage.logged_in() as client:
        assert client.download()[1][-1].code == 425
    failed(stage, "server", "tls", mode="epsv")


def test_a_server_that_never_answers_tls_on_data(hasty: Stage) -> None:
    hasty.play(Quirks(data_hangs=True))
    with hasty.logged_in() as client:
        assert client.download()[1][-1].code == 425
    failed(hasty, "server", "tls", mode="epsv")


# --- the client's side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_client_that_never_comes(hasty: Stage, verb: str) -> None:
    with hasty.logged_in() as client:
        _, port = client.passive_address()
        assert client.command(f"{verb} file").code == 150
        assert client.reply().code == 425
    event = failed(hasty, "client", "never_came", mode="passive", address="127.0.0.1", port=port)
    assert "passive_address" in event["hint"]


def test_a_client_that_asks_for_a_port_and_no_more(stages: Stages) -> None:
    stage = stages("unused_soon")
    with stage.logged_in() as client:
        _, port = client.passive_address()
        failed(stage, "client", "never_came", mode="passive", address="127.0.0.1", port=port)
        assert client.command("RETR file").code == 425


@pytest.mark.parametrize("leaves", ["never", "behind RETR", "before RETR"])
def test_a_client_that_comes_from_another_address(hasty: Stage, leaves: str) -> None:
    """A load balancer, a second interface. Programs such as curl leave at once when they are reset."""
    with hasty.logged_in() as client:
        address = client.passive_address("PASV")
        with BadClient(hasty.port, local="127.0.0.3") as other:
            with contextlib.suppress(ConnectionResetError):  # as early as in connect, on loopback
                assert other.dial(address).read_to_end().ended == "reset"
            if leaves != "before RETR":
                assert client.command("RETR file").code == 150
            if leaves == "never":
                said = client.reply()
                assert (said.code, b"127.0.0.3" in said.raw) == (425, True)
            else:
                client.close()
    event = failed(hasty, "client", "foreign_address", mode="passive", port=address[1], came_from="127.0.0.3")
    assert "load balancer" in event["hint"]


@pytest.mark.parametrize("how", ["refused", "no answer"])
def test_an_active_client_that_can_not_be_reached(hasty: Stage, how: str) -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        if how == "no answer":
            deaf.listen(0)
            for _ in range(6):  # a full backlog lets nobody in
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(deaf.getsockname())
        with hasty.logged_in() as client:
            assert client.command(f"EPRT |1|127.0.0.1|{port}|").code == 200
            assert client.command("RETR file").code == 150
            said = client.reply()
            assert said.code == 425
            assert b"data port" in said.raw
    cause = "refused" if how == "refused" else "no_answer"
    event = failed(hasty, "client", cause, mode="active", address="127.0.0.1", port=port)
    assert "passive mode" in event["hint"]


# --- in the transfer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause"),
    [(Fault.RESET, "broken"), (Fault.CUT_RECORD, "cut"), (Fault.CORRUPT, "tls"), (Fault.STALL, "stalled")],
    ids=lambda value: getattr(value, "value", value),
)
def test_a_server_that_breaks_off_a_download(hasty: Stage, fault: Fault, cause: str) -> None:
    hasty.play(Quirks(fault=fault, fault_at=65536))
    with hasty.logged_in() as client:
        assert client.download()[1][-1].code == 426
    failed(hasty, "server", cause, mode="epsv")


@pytest.mark.parametrize(("how", "cause"), [("reset", "broken"), ("stall", "stalled")])
def test_a_client_that_breaks_off_an_upload(hasty: Stage, how: str, cause: str) -> None:
    with hasty.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE)
        hasty.server.wait(lambda: hasty.server.last.data[0].received == len(FILE))
        if how == "reset":
            data.reset()
        assert client.reply().code == 426
    failed(hasty, "client", cause, mode="passive")


def test_what_the_client_has_broken_off_itself_is_no_failure(hasty: Stage) -> None:
    """A file that fits into no buffer on the way: ABOR comes in the middle of it."""
    hasty.play(Quirks(), {b"file": FILE * 60})
    with hasty.logged_in(receive_buffer=4096) as client:
        client.passive()
        assert client.command("RETR file").code == 150
        with contextlib.suppress(Ended):
            client.send(b"ABOR\r\n")
            assert client.reply().code in (226, 425, 426)  # 425 of the server's, where TLS did not stand yet
    hasty.event("session.closed")
    assert hasty.events("data.failed") == []
