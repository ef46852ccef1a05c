"""Two connections have news at the same moment: whichever is read first, what is torn is torn.

Each case is played several times. Where the order is to be certain the gateway is stopped (SIGSTOP) meanwhile.
"""

from __future__ import annotations

import signal
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Quirks

TIMES = 8


def outcomes(stage: Stage) -> Counter[str]:
    return Counter(event["outcome"] for event in stage.events("transfer.finished"))


@contextmanager
def frozen(stage: Stage) -> Iterator[None]:
    """What happens meanwhile is all there at once."""
    stage.gateway.signal(signal.SIGSTOP)
    try:
        yield
        time.sleep(0.05)  # loopback is not quite at once
    finally:
        stage.gateway.signal(signal.SIGCONT)


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    "deeds",
    [
        "fin reset 226",
        "close_notify fin reset 226",
        "fin pause reset pause 226",
        "fin 226 reset",
        "reset 226",
        "226 reset",
        "226 fin reset",
        "226 pause reset",
        "226 pause fin reset",
    ],
)
def test_a_server_that_has_not_read_an_upload_says_that_it_has(stage: Stage, deeds: str, tls: ssl.TLSVersion) -> None:
    """A FIN hides the RST behind it; and what its kernel has not taken lies in ours."""
    quirks = Quirks(deeds=("pause", *deeds.split()), fault_at=30_000, receive_buffer=8192, tls_max=tls)
    stage.play(quirks)
    for _ in range(TIMES):
        with stage.logged_in() as client:
            assert client.upload(FILE, "up")[-1].code == 426
    stage.event("transfer.finished", TIMES)
    assert outcomes(stage) == {"torn": TIMES}


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("size", [0, 5, 20_000])
def test_an_alert_in_one_piece_with_the_end_of_the_handshake(stage: Stage, size: int, tls: ssl.TLSVersion) -> None:
    deeds = ("226 done", "fin")
    stage.play(Quirks(alert_in_finished=True, forget_sessions_after=0, tls_max=tls, deeds=deeds, fault_at=0))
    for _ in range(TIMES):
        with stage.logged_in() as client:
            assert client.upload(FILE[:size], "up")[-1].code >= 400
    stage.event("transfer.finished", TIMES)
    assert outcomes(stage) == {"torn": TIMES}


@pytest.mark.parametrize("end", ["", "fin"])
def test_an_early_226_and_an_alert_behind_the_end(stage: Stage, end: str) -> None:
    for number in range(1, TIMES + 1):
        stage.play(Quirks(deeds=("wait", "226 done", "alert", *end.split()), fault_at=1000))
        with stage.logged_in() as client:
            data = client.passive()
            assert client.command("STOR up").code == 150
            data.send(FILE[:1000])
            stage.server.wait(lambda: bool(stage.server.last.data) and stage.server.last.data[-1].received == 1000)
            with frozen(stage):
                data.fin()
                stage.server.release()
            assert client.reply().code == 426
        stage.event("transfer.finished", number)
    assert outcomes(stage) == {"torn": TIMES}


@pytest.mark.parametrize("before", range(22, 33))
def test_abor_before_the_end_of_the_data_is_heard_wherever_it_stands(stage: Stage, before: int) -> None:
    """The gateway takes a turn after so many lines; what it has read by then the client has said."""
    with stage.logged_in() as client:
        for _ in range(before):
            assert client.command("NOOP").code == 200
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE[:1000])
        stage.server.wait(lambda: bool(stage.server.last.data) and stage.server.last.data[-1].received == 1000)
        with frozen(stage):
            client.send(b"NOOP\r\nABOR\r\n")
            data.fin()
        assert [client.reply().code for _ in range(3)] == [200, 426, 226]
        stage.server.wait(lambda: bool(stage.server.last.data[-1].ended))
        assert stage.server.last.data[-1].ended == "reset"
    assert stage.event("transfer.finished")["outcome"] == "aborted"


@pytest.mark.parametrize("line", ["PWD", "QUIT"])
def test_abor_behind_a_line_that_has_to_wait_is_heard(stage: Stage, line: str) -> None:
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE[:1000])
        client.send(line.encode() + b"\r\n")
        time.sleep(0.1)  # the line comes by itself, and waits, before ABOR does
        client.send(b"ABOR\r\n")
        assert client.reply().code == 426
    assert stage.event("transfer.finished")["outcome"] == "aborted"


@pytest.mark.parametrize("size", [0, 1000, 50_000])
def test_a_camera_is_done_and_gone_before_its_data_connection_is_accepted(stage: Stage, size: int) -> None:
    """All is there at once; its control connection's end may be heard first."""
    for number in range(1, TIMES + 1):
        with stage.logged_in() as client:
            address = client.passive_address()
            with frozen(stage):
                data = client.dial(address)
                client.send(b"STOR up\r\n")
                data.send(FILE[:size])
                data.fin()
                client.close()
        event = stage.event("transfer.finished", number)
        assert (event["outcome"], event["bytes"]) == ("complete", size), event
        assert stage.server.files[b"up"] == FILE[:size]
