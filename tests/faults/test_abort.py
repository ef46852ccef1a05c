"""ABOR, QUIT, STAT, NOOP and the loss of a connection in the middle of a transfer, and what comes after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, DataConnection
from tests.support.bad_server import Fault, Final, Quirks

STALLED = Quirks(fault=Fault.STALL, fault_at=100_000)
"""A transfer that is certainly not over yet."""
ABORS = {
    "426+226": b"426 aborted\r\n226 abort done\r\n",
    "426+225": b"426 aborted\r\n225 abort done\r\n",
    "226+226": b"226 transfer complete\r\n226 abort done\r\n",
    "226": b"226 abort done\r\n",
    "225": b"225 abort done\r\n",
    "426": b"426 aborted\r\n",
    "451+226": b"451 local error\r\n226 abort done\r\n",
}


@pytest.fixture
def stage(stages: Stages) -> Stage:
    """One that does not wait five seconds, as by default, before it sends ABOR itself."""
    return stages("brief_abort")


def _begin(stage: Stage, client: BadClient, verb: str) -> DataConnection:
    """Bring a transfer to its middle."""
    data = client.passive()
    assert client.command(f"{verb} file").code == 150
    if verb == "STOR":
        data.send(FILE[:100_000])
        stage.server.wait(lambda: stage.server.last.data[-1].received >= 100_000)
    else:
        assert data.read(100_000) == FILE[:100_000]
    return data


def _assert_usable(stage: Stage, client: BadClient) -> None:
    """The next commands get their own replies and the next transfers work."""
    stage.server.quirks = replace(stage.server.quirks, fault=Fault.NONE, fault_at=None)
    assert client.command("PWD").code == 257
    assert client.command("SYST").code == 215
    stage.server.files[b"file"] = FILE
    downloaded, replies = client.download()
    assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
    assert client.upload(FILE, "up")[-1].code == 226
    assert stage.server.files[b"up"] == FILE
    assert client.command("QUIT").code == 221


@pytest.mark.parametrize("synch", [False, True], ids=["plain", "synch"])
@pytest.mark.parametrize("verb", ["RETR", "STOR"])
@pytest.mark.parametrize("abor", ABORS)
def test_abor(stage: Stage, abor: str, verb: str, synch: bool) -> None:
    """Whatever the server answers, once or twice: 426, then 2xx, and never one reply too many or too few."""
    stage.play(replace(STALLED, abor=ABORS[abor]))
    with stage.logged_in() as client:
        data = _begin(stage, client, verb)
        if synch:
            client.send_synch_abort()
        else:
            client.send(b"ABOR\r\n")
        first, second = client.reply(), client.reply()
        assert 400 <= first.code < 500
        assert second.good
        assert data.read_to_end().ended == "reset"
        _assert_usable(stage, client)
    assert stage.event("transfer.finished")["outcome"] == "aborted"
    assert "ABOR" in stage.server.last.verbs()


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_abor_twice(stage: Stage, verb: str) -> None:
    stage.play(STALLED)
    with stage.logged_in() as client:
        _begin(stage, client, verb)
        client.send(b"ABOR\r\nABOR\r\nNOOP\r\n")
        codes = [client.reply().code for _ in range(4)]
        assert codes[0] == 426
        assert all(200 <= code < 300 for code in codes[1:]), codes
        _assert_usable(stage, client)


def test_abor_with_nothing_to_abort(stage: Stage) -> None:
    with stage.logged_in() as client:
        assert client.command("ABOR").good
        client.send_synch_abort()
        assert client.reply().good
        _assert_usable(stage, client)


def test_abor_between_pasv_and_the_transfer(stage: Stage) -> None:
    with stage.logged_in() as client:
        client.passive("PASV")
        assert client.command("ABOR").good
        _assert_usable(stage, client)


def test_abor_when_the_data_is_through_and_the_226_is_not(stage: Stage) -> None:
    stage.play(Quirks(final_when=Final.HELD))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        assert data.read(len(FILE)) == FILE
        stage.server.wait(lambda: stage.server.last.data[0].ended)
        client.send(b"ABOR\r\n")
        first, second = client.reply(), client.reply()
        assert first.code == 426
        assert second.good
        assert data.read_to_end().ended == "reset"
        stage.server.quirks = Quirks()
        _assert_usable(stage, client)


def test_abor_pipelined_behind_the_transfer_command(stage: Stage) -> None:
    stage.play(STALLED)
    with stage.logged_in() as client:
        client.passive()
        client.send(b"RETR file\r\nABOR\r\n")
        codes = [client.reply().code]
        while codes[-1] < 200 or codes[-1] >= 400:
            codes.append(client.reply().code)
        assert 426 in codes or codes[0] >= 200
        _assert_usable(stage, client)


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_noop_and_stat_during_a_transfer_are_answered_here(stage: Stage, verb: str) -> None:
    """U30: no server says which of its replies answers which."""
    stage.play(STALLED)
    with stage.logged_in() as client:
        data = _begin(stage, client, verb)
        assert client.command("NOOP").code == 200
        assert client.command("STAT").code == 211
        if verb == "STOR":
            data.fin()
        stage.server.quirks = Quirks()
        stage.server.release()
        if verb == "RETR":
            # The server has given up its stalled transfer; what it then says is its own affair.
            data.read_to_end()
        client.reply()
        assert client.command("PWD").code == 257
    assert not {"NOOP", "STAT"} & set(stage.server.last.verbs())


def test_quit_during_a_download_waits_for_its_end(stage: Stage) -> None:
    body = bytes(range(256)) * (32 << 10)
    stage.play(Quirks(), {b"file": body})
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"RETR file\r\nQUIT\r\n")
        assert client.reply().code == 150
        downloaded = data.read_to_end()
        assert (len(downloaded.data), downloaded.ended) == (len(body), "fin")
        assert client.reply().code == 226
        assert client.reply().code == 221
        assert client.rest() == (b"", "fin")
    assert stage.event("session.closed")["cause"] == "quit"


def test_quit_during_an_upload_waits_for_its_end(stage: Stage) -> None:
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"STOR up\r\n")
        assert client.reply().code == 150
        data.send(FILE[:1000])
        client.send(b"QUIT\r\n")
        data.send(FILE[1000:])
        data.fin()
        assert client.reply().code == 226
        assert client.reply().code == 221
    assert stage.server.files[b"up"] == FILE


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_lost_control_connection_ends_a_download(stage: Stage, how: str) -> None:
    stage.play(STALLED)
    with stage.logged_in() as client:
        data = _begin(stage, client, "RETR")
        if how == "fin":
            client.close()
        else:
            client.reset()
        assert data.read_to_end().ended == "reset"
    stage.server.wait(lambda: stage.server.last.over)
    assert stage.event("transfer.finished")["outcome"] in ("torn", "aborted")
    assert stage.event("session.closed")["torn"] == 1


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
@pytest.mark.parametrize("when", ["passive", "connected", "commanded"])
def test_a_control_connection_lost_round_a_transfers_start(stage: Stage, verb: str, when: str) -> None:
    stage.play(STALLED)
    with stage.logged_in() as client:
        if when == "passive":
            client.passive_address("EPSV")
        else:
            client.passive()
            if when == "commanded":
                client.send(f"{verb} file\r\n".encode())
        client.reset()
    stage.event("session.closed")
    stage.server.wait(lambda: stage.server.last.over)


@pytest.mark.parametrize("held", [b"", b"PWD\r\n"], ids=["alone", "another-held"])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_lost_while_the_server_is_silent(stage: Stage, held: bytes, how: str) -> None:
    """The session ends with its client, not with the server's next word; a pipelined command hides nothing."""
    stage.play(Quirks(replies={"SITE": b""}))
    with stage.logged_in() as client:
        client.send(b"SITE slow\r\n" + held)
        stage.server.wait(lambda: "SITE" in stage.server.last.verbs())
        if how == "fin":
            client.close()
        else:
            client.reset()
    stage.event("session.closed")
    stage.server.wait(lambda: stage.server.last.over)


def _break_off(stage: Stage, client: BadClient, number: int) -> None:
    """As clients do: the last bytes, ABOR and the data's end come at once."""
    data = client.passive()
    assert client.command("STOR up").code == 150
    data.send(FILE[:1000])
    stage.server.wait(lambda: stage.server.last.data[number].received == 1000)
    data.send(FILE[1000:2000])
    client.send(b"ABOR\r\n")
    data.close()
    assert [client.reply().code for _ in range(2)] == [426, 226]
    stage.server.wait(lambda: stage.server.last.data[number].over)
    assert stage.server.last.data[number].ended == "reset"


def test_abor_right_before_the_end_of_the_data_is_heard_before_it(stage: Stage) -> None:
    with stage.logged_in() as client:
        for number in range(10):
            _break_off(stage, client, number)
    assert {event["outcome"] for event in stage.events("transfer.finished")} == {"aborted"}


def test_commands_sent_during_a_transfer_keep_their_order(stage: Stage) -> None:
    """3proxy#638: the next command does not overtake the upload's end."""
    stage.play(Quirks(final_when=Final.LATE, final_delay=0.5))
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"STOR up\r\nSYST\r\nPWD\r\n")
        assert client.reply().code == 150
        data.send(FILE)
        data.fin()
        assert [client.reply().code for _ in range(3)] == [226, 215, 257]
    assert stage.server.files[b"up"] == FILE
    assert [verb for verb in stage.server.last.verbs() if verb in ("STOR", "SYST", "PWD")] == ["STOR", "SYST", "PWD"]
