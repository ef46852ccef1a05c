"""MODE B and C, where the end of a file stands in its data and the connection may outlive it (RFC 959 section 3.4)."""

from __future__ import annotations

import time

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient
from tests.support.bad_server import Fault, Final, Quirks

END_OF_FILE = {"MODE B": b"\x40\x00\x00", "MODE C": b"\x00\x40"}
LYING = b"226 all fine\r\n"


def _blocks(body: bytes, size: int = 32_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x00" + len(part).to_bytes(2, "big") + part for part in parts)


def _encoded(mode: str, body: bytes) -> bytes:
    """The file as it goes over the wire."""
    if mode == "MODE B":
        return _blocks(body) + END_OF_FILE[mode]
    parts = [body[at : at + 127] for at in range(0, len(body), 127)]
    return b"".join(bytes([len(part)]) + part for part in parts) + END_OF_FILE[mode]


def _in_mode(stage: Stage, mode: str) -> BadClient:
    client = stage.logged_in()
    assert client.command(mode).code == 200
    return client


@pytest.mark.parametrize("size", [0, 5, len(FILE)])
@pytest.mark.parametrize("mode", END_OF_FILE)
def test_a_download_whose_connection_stays_open(stages: Stages, mode: str, size: int) -> None:
    """The server never closes: its 2xx and the quiet behind the end of the file end the transfer."""
    stage = stages("brief_linger")
    body = _encoded(mode, FILE[:size])
    stage.play(Quirks(end_mark=END_OF_FILE[mode], final=b"250 done\r\n"), {b"file": body})
    with _in_mode(stage, mode) as client:
        started = time.monotonic()
        for _ in range(2):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "fin", 250)
        if mode == "MODE B":
            assert time.monotonic() - started < 2.0  # the end was seen, and nothing waited for
    finished = stage.event("transfer.finished", 2)
    assert (finished["outcome"], finished["remark"], finished["bytes"]) == ("complete", "ended_in_band", len(body))


@pytest.mark.parametrize("mode", END_OF_FILE)
def test_no_close_notify_is_owed_where_the_data_says_its_end(stages: Stages, mode: str) -> None:
    """Also not behind a download in MODE S that had one."""
    stage = stages("brief_linger")
    body = _encoded(mode, FILE)
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
        assert client.command(mode).code == 200
        stage.server.files = {b"file": body}
        stage.server.quirks = Quirks(end_mark=END_OF_FILE[mode])
        for _ in range(2):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "fin", 226)


def test_a_server_that_ends_an_upload_whose_data_has(stage: Stage) -> None:
    """MODE B: it closes at the block that ends the file, and takes its time with the 226."""
    body = _encoded("MODE B", FILE)
    stage.play(Quirks(fault=Fault.FIN, fault_at=len(body), final_when=Final.LATE, final_delay=1.5))
    with _in_mode(stage, "MODE B") as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(body)
        assert client.reply().code == 226
    assert stage.event("transfer.finished")["outcome"] == "complete"


@pytest.mark.parametrize("deeds", ["226 control_ends", "226 reset", "reset 226"])
def test_an_upload_whose_data_has_ended_is_whole_whoever_leaves(stage: Stage, deeds: str) -> None:
    body = _encoded("MODE B", FILE)
    # Not before its kernel has said that it has all.
    stage.play(Quirks(deeds=(*["pause"] * 6, *deeds.split()), fault_at=len(body)))
    for number in range(1, 9):
        with _in_mode(stage, "MODE B") as client:
            data = client.passive()
            assert client.command("STOR up").code == 150
            data.send(body)
            assert client.reply().code == 226
        assert stage.event("transfer.finished", number)["outcome"] == "complete"


@pytest.mark.parametrize("size", [0, 5, len(FILE)])
@pytest.mark.parametrize("mode", END_OF_FILE)
def test_an_upload_whose_connection_stays_open(stages: Stages, mode: str, size: int) -> None:
    """The client never closes its data connection; the server is told the end of the TLS stream all the same."""
    stage = stages("brief_linger")
    body = _encoded(mode, FILE[:size])
    stage.play(Quirks(end_mark=END_OF_FILE[mode]))
    with _in_mode(stage, mode) as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(body)
        assert client.reply().code == 226
        assert data.read_to_end().ended == "fin"
        assert client.command("PWD").code == 257
    stage.server.wait(lambda: stage.server.last.data[0].over)
    assert stage.server.files[b"up"] == body
    assert stage.server.last.data[0].ended == "close_notify"
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["remark"]) == ("complete", "ended_in_band")


@pytest.mark.parametrize("mode", END_OF_FILE)
def test_a_slow_reader_gets_all_of_it(stages: Stages, mode: str) -> None:
    """A client that pauses for longer than the quiet is no end of the file."""
    stage = stages("brief_linger")
    body = _encoded(mode, FILE * 40)
    stage.play(Quirks(end_mark=END_OF_FILE[mode], final_when=Final.EARLY), {b"file": body})
    with stage.logged_in(receive_buffer=8192) as client:
        client.command(mode)
        data = client.passive()
        client.send(b"RETR file\r\n")
        assert client.reply().code == 150
        time.sleep(2.5)
        downloaded = data.read_to_end()
        assert (len(downloaded.data), downloaded.ended, client.reply().code) == (len(body), "fin", 226)
        assert downloaded.data == body


@pytest.mark.parametrize("mode", END_OF_FILE)
def test_connections_that_are_closed_as_ever(stage: Stage, mode: str) -> None:
    body = _encoded(mode, FILE)
    stage.play(Quirks(), {b"file": body})
    with _in_mode(stage, mode) as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "fin", 226)
        assert client.upload(body, "up")[-1].code == 226
    assert stage.server.files[b"up"] == body
    assert not any("remark" in event for event in stage.events("transfer.finished"))


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CUT_RECORD, Fault.CORRUPT, Fault.ALERT, Fault.HALF_RECORD])
@pytest.mark.parametrize("mode", END_OF_FILE)
def test_a_break_is_torn(stages: Stages, mode: str, fault: Fault) -> None:
    """Whatever the server says of it, before or behind."""
    stage = stages("hasty")
    early = fault is Fault.HALF_RECORD
    quirks = Quirks(
        end_mark=END_OF_FILE[mode],
        fault=fault,
        fault_at=100_000,
        final=LYING,
        final_when=Final.EARLY if early else Final.AFTER,
    )
    stage.play(quirks, {b"file": _encoded(mode, FILE)})
    with _in_mode(stage, mode) as client:
        downloaded, replies = client.download()
        assert downloaded.ended == "reset"
        assert replies[-1].code == 426
    assert stage.event("transfer.finished")["outcome"] == "torn"


def test_mode_b_without_the_end_of_its_file_is_not_whole(stages: Stages) -> None:
    """A 2xx and silence are not enough where the end can be seen."""
    stage = stages("hasty")
    body = _blocks(FILE)
    stage.play(Quirks(end_mark=b"never"), {b"file": body})
    with _in_mode(stage, "MODE B") as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "reset", 426)


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_nothing_changes_in_mode_s(stages: Stages, verb: str) -> None:
    """A connection that stays open behind the 226 is torn by the stall limit."""
    stage = stages("hasty")
    body = _encoded("MODE B", FILE)
    stage.play(Quirks(end_mark=END_OF_FILE["MODE B"]), {b"file": body})
    with _in_mode(stage, "MODE B") as client:
        assert client.command("MODE S").code == 200
        data = client.passive()
        assert client.command(f"{verb} file").code == 150
        if verb == "STOR":
            data.send(body)
        assert client.reply().code == 426
        assert data.read_to_end().ended == "reset"


@pytest.mark.parametrize("how", ["reset", "control"])
def test_a_broken_upload_is_torn(stage: Stage, how: str) -> None:
    stage.play(Quirks(end_mark=END_OF_FILE["MODE B"]))
    with _in_mode(stage, "MODE B") as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(_blocks(FILE))
        stage.server.wait(lambda: stage.server.last.data[0].received == len(_blocks(FILE)))
        if how == "reset":
            data.reset()
            assert client.reply().code >= 400
        else:
            client.close()
        stage.server.wait(lambda: stage.server.last.data[0].over)
    assert stage.server.last.data[0].ended == "reset"
    assert stage.event("transfer.finished")["outcome"] == "torn"


@pytest.mark.parametrize("leaves", ["data first", "control first", "data open"])
def test_a_client_that_leaves_behind_its_block_of_the_end_has_delivered(stage: Stage, leaves: str) -> None:
    """What ended the file stands in it, whatever ends first now, and whenever the server's reply comes."""
    body = _encoded("MODE B", FILE)
    stage.play(Quirks(end_mark=END_OF_FILE["MODE B"], final_when=Final.HELD))
    with _in_mode(stage, "MODE B") as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(body)
        stage.server.wait(lambda: stage.server.last.data[0].received == len(body))
        if leaves == "data first":
            data.fin()
        client.close()
        if leaves == "control first":
            data.fin()
        time.sleep(0.1)  # the gateway hears of it before the server's reply
        stage.server.release()
        finished = stage.event("transfer.finished")
        assert (finished["outcome"], finished["bytes"]) == ("complete", len(body))
        assert stage.server.files[b"up"] == body


def test_close_notify_may_still_be_required(stages: Stages) -> None:
    """close_notify = "require" takes no file without one, in band or not."""
    stage = stages("close_notify_required")
    body = _encoded("MODE B", FILE)
    stage.play(Quirks(end_mark=END_OF_FILE["MODE B"]), {b"file": body})
    with _in_mode(stage, "MODE B") as client:
        downloaded, replies = client.download()
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)
