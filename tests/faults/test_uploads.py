"""Uploads: a torn one never looks whole to the server, and a whole one arrives to the last byte."""

from __future__ import annotations

import ssl
import time

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Control, Fault, Final, Quirks

BIG = bytes(range(256)) * (32 << 10)
"""8 MiB."""
LYING = b"226 all fine\r\n"


def _assert_server_saw_it_torn(stage: Stage) -> None:
    stage.server.wait(lambda: stage.server.last.data and stage.server.last.data[0].over)
    seen = stage.server.last.data[0]
    # A reset may also hit the TLS handshake: then not a byte of the file was taken.
    assert seen.ended == "reset" or (not seen.secured and seen.ended == "broken"), seen
    assert stage.event("transfer.finished")["outcome"] == "torn"


@pytest.mark.parametrize("mode", ["EPSV", "PORT"])
@pytest.mark.parametrize("sent", [0, 1, 16384, 1 << 20])
@pytest.mark.parametrize("final_torn", [Quirks().final_torn, LYING], ids=["strict", "lying-226"])
def test_a_reset_upload_is_reset_upstream(stage: Stage, sent: int, mode: str, final_torn: bytes) -> None:
    """Even when the server calls the torn file complete, the client does not hear so."""
    stage.play(Quirks(final_torn=final_torn))
    with stage.logged_in() as client:
        data = client.data(mode)
        assert client.command("STOR up").code == 150
        data.send(BIG[:sent])
        stage.server.wait(lambda: stage.server.last.data[0].received == sent or sent == 1 << 20)
        data.reset()
        assert client.reply().code >= 400
        assert client.command("PWD").code == 257
    _assert_server_saw_it_torn(stage)
    assert BIG.startswith(stage.server.files[b"up"])


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_lost_control_connection_tears_the_upload(stage: Stage, how: str) -> None:
    """The client's control connection goes in mid-upload, its data connection stays."""
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE)
        stage.server.wait(lambda: stage.server.last.data[0].received == len(FILE))
        if how == "fin":
            client.close()
        else:
            client.reset()
        _assert_server_saw_it_torn(stage)
        stage.server.wait(lambda: stage.server.last.over)
    assert stage.event("session.closed")["torn"] == 1


@pytest.mark.parametrize("size", [0, 5, len(BIG)])
@pytest.mark.parametrize("mode", ["EPSV", "PORT"])
def test_a_client_that_leaves_after_its_last_byte_has_delivered(stage: Stage, size: int, mode: str) -> None:
    """Cameras and meters close control right after the data's FIN and never wait for 226."""
    stage.play(Quirks(final_when=Final.LATE, final_delay=0.3))
    with stage.logged_in() as client:
        data = client.data(mode)
        client.send(b"STOR up\r\n")
        data.send(BIG[:size])
        data.fin()
        client.close()
        data.close()
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["remark"]) == ("complete", "client_gone_before_226")
    assert stage.server.files[b"up"] == BIG[:size]
    assert stage.server.last.data[0].ended == "close_notify"
    stage.server.wait(lambda: stage.server.last.over)


@pytest.mark.parametrize("size", [0, 5000])
@pytest.mark.parametrize("pause", [0.001, 0.3])
def test_a_client_that_breaks_off_before_150_has_not_delivered(stage: Stage, size: int, pause: float) -> None:
    """Its control connection ends, then its data, before the server takes any of it: not a byte came between."""
    stage.play(Quirks(slow={"STOR": 1.0}))
    with stage.logged_in() as client:
        data = client.passive()
        data.send(BIG[:size])
        client.send(b"STOR up\r\n")
        stage.server.wait(lambda: "STOR" in stage.server.last.verbs())
        client.close()
        time.sleep(pause)  # the gateway hears of it
        data.fin()
        _assert_server_saw_it_torn(stage)


@pytest.mark.parametrize("tls_max", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_every_byte_reaches_a_slow_reader(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """U6, U7: 8 MiB, a small window, TLS 1.3 tickets that nobody asked for: close_notify, FIN, no reset."""
    stage.play(Quirks(tls_max=tls_max, receive_buffer=8192, read_pause=0.001))
    with stage.logged_in() as client:
        assert [reply.code for reply in client.upload(BIG, "up")] == [150, 226]
    seen = stage.server.last.data[0]
    assert (seen.ended, seen.tcp_ended) == ("close_notify", "fin")
    assert stage.server.files[b"up"] == BIG
    finished = stage.event("transfer.finished")
    assert (finished["bytes"], finished["outcome"]) == (len(BIG), "complete")


@pytest.mark.parametrize("verb", ["STOR", "APPE", "STOU"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_small_and_empty_uploads(stage: Stage, verb: str, size: int) -> None:
    """U12: the TLS handshake is made, and properly ended, when not a single byte follows."""
    stage.play(Quirks(), {b"up": b"before"} if verb == "APPE" else {})
    with stage.logged_in() as client:
        assert client.upload(FILE[:size], "" if verb == "STOU" else "up", verb=verb)[-1].code == 226
    seen = stage.server.last.data[0]
    assert (seen.secured, seen.ended, seen.tcp_ended) == (True, "close_notify", "fin")
    name, before = {"STOR": (b"up", b""), "APPE": (b"up", b"before"), "STOU": (b"unique-1", b"")}[verb]
    assert stage.server.files[name] == before + FILE[:size]


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(final_when=Final.EARLY),
        Quirks(final_when=Final.LATE, final_delay=0.5),
        Quirks(preliminary=b"125 go on\r\n"),
        Quirks(preliminary=b"226 no 150 from me\r\n", final_when=Final.NEVER),
    ],
    ids=["early-226", "late-226", "125", "no-150"],
)
def test_whole_uploads(stage: Stage, quirks: Quirks) -> None:
    """U18, U26: an early 226 ends nothing, a late one is waited for."""
    stage.play(quirks)
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"STOR up\r\n")
        if b"226" not in quirks.preliminary:
            assert 100 < client.reply().code < 200
        data.send(FILE)
        data.fin()
        assert client.reply().code == 226
        stage.server.wait(lambda: stage.server.last.data[0].over)
        assert stage.server.files[b"up"] == FILE
        assert client.command("PWD").code == 257
    assert stage.event("transfer.finished")["outcome"] == "complete"


@pytest.mark.parametrize("final", [b"451 disk\r\n", b"552 quota exceeded\r\n"], ids=["451", "552"])
def test_the_servers_verdict_on_an_upload_is_passed_on(stage: Stage, final: bytes) -> None:
    stage.play(Quirks(final=final))
    with stage.logged_in() as client:
        assert client.upload(FILE, "up")[-1].code == int(final[:3])
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["reply"]) == ("torn", int(final[:3]))


@pytest.mark.parametrize("final", [b"552 quota exceeded\r\n", LYING], ids=["552", "lying-226"])
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.FIN, Fault.ALERT], ids=lambda fault: fault.value)
def test_a_server_that_ends_an_upload_early(stage: Stage, fault: Fault, final: bytes) -> None:
    """The rest of the file goes nowhere: the client hears an error and loses its data connection."""
    stage.play(Quirks(fault=fault, fault_at=65536, final=final))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        with pytest.raises(ConnectionError):
            data.send(bytes(512 << 20))  # it must end long before
        reply = client.reply()
        assert reply.code == 552 if final != LYING else reply.code >= 400
        assert client.command("PWD").code == 257
    assert stage.event("transfer.finished")["outcome"] == "torn"


@pytest.mark.parametrize("control", [Control.FIN, Control.RESET, Control.SHUTS_DOWN], ids=lambda control: control.value)
def test_without_the_servers_control_connection_an_upload_is_torn(stage: Stage, control: Control) -> None:
    """U27."""
    stage.play(Quirks(fault_at=65536, control=control))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(BIG[:65536])
        assert client.reply().code in (421, 426, 451)
        assert data.read_to_end().ended == "reset"
    _assert_server_saw_it_torn(stage)


def test_an_error_in_place_of_the_data_handshake_ends_an_upload(stage: Stage) -> None:
    stage.play(Quirks(refuse_data_tls=b"553 not here\r\n"))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        assert client.reply().code == 553
        assert data.read_to_end().ended == "reset"
        stage.server.quirks = Quirks()
        assert client.upload(FILE, "up")[-1].code == 226


def test_an_upload_that_waits_for_the_server_takes_bounded_memory(stages: Stages) -> None:
    """A server that reads nothing: the client can hand over only so much."""
    stage = stages("default")
    stage.play(Quirks(fault=Fault.STALL, fault_at=1, receive_buffer=8192))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        taken = data.send_what_fits(bytes(64 << 20), 1.0)
        assert 0 < taken < 32 << 20  # kernel buffers, mostly: 6 MiB each way at most by default
        data.reset()
        stage.server.release()
        assert client.reply().code >= 400
