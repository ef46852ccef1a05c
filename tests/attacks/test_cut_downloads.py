"""The promise: a torn file never passes for whole.

The attack: somebody on the network drops what is behind some record of a download, close_notify too, and ends the
connection by FIN; the honest server says 226. What must be seen: the client's connection is reset, it hears 426, and
the log names the setting that would take the server's word.
"""

from __future__ import annotations

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, Downloaded
from tests.support.bad_server import Fault, Quirks

CUT = Quirks(fault=Fault.FIN, fault_at=49_152)
WITHOUT_CLOSE_NOTIFY = Quirks(fault=Fault.FIN)


def _in_binary(stage: Stage) -> BadClient:
    client = stage.logged_in()
    assert client.command("TYPE I").code == 200
    return client


@pytest.mark.parametrize("before", [0, 1], ids=["from-the-start", "behind-a-whole-one"])
def test_a_cut_between_two_records(stage: Stage, before: int) -> None:
    with _in_binary(stage) as client:
        for _ in range(before):
            assert client.download()[1][-1].code == 226
        stage.server.quirks = CUT
        downloaded, replies = client.download()
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)
        assert b"SIZE says 320000" in replies[-1].raw
        stage.server.quirks = Quirks()
        assert client.download()[1][-1].code == 226  # the session goes on
    finished = stage.event("transfer.finished", before + 1)
    assert (finished["outcome"], finished["close_notify"]) == ("torn", False)


def test_a_whole_file_of_a_server_that_never_says_close_notify(stage: Stage) -> None:
    stage.play(WITHOUT_CLOSE_NOTIFY)
    with _in_binary(stage) as client:
        downloaded, replies = client.download()
        assert (downloaded, replies[-1].code) == (Downloaded(FILE, "fin"), 226)
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["remark"], finished["close_notify"]) == ("complete", "proved_by_size", False)


def test_the_rest_of_a_file(stage: Stage) -> None:
    stage.play(WITHOUT_CLOSE_NOTIFY)
    with _in_binary(stage) as client:
        assert client.command("REST 100000").code == 350
        downloaded, replies = client.download()
        assert (downloaded, replies[-1].code) == (Downloaded(FILE[100_000:], "fin"), 226)
        downloaded, replies = client.download()
        assert (downloaded, replies[-1].code) == (Downloaded(FILE, "fin"), 226)


@pytest.mark.parametrize(
    ("command", "sizes"),
    [("TYPE A", {}), ("TYPE I", {"SIZE": b"550 no\r\n"}), ("TYPE I", {"SIZE": b"213 many\r\n"})],
    ids=["ascii", "no-size", "odd-size"],
)
def test_what_can_not_be_proved_is_torn(stage: Stage, command: str, sizes: dict[str, bytes]) -> None:
    stage.play(Quirks(fault=Fault.FIN, replies=sizes))
    with stage.logged_in() as client:
        assert client.command(command).code == 200
        downloaded, replies = client.download()
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)
        assert b'close_notify = "reply"' in replies[-1].raw
        assert client.command("PWD").code == 257
    assert 'close_notify = "reply"' in stage.event("transfer.finished")["detail"]


def test_a_listing_is_taken_and_told_once(fresh_stages: Stages) -> None:
    stage = fresh_stages("default")
    stage.play(WITHOUT_CLOSE_NOTIFY)
    with stage.logged_in() as client:
        for verb in ("LIST", "NLST", "MLSD"):
            assert client.download("", verb=verb)[1][-1].code == 226
    stage.event("session.closed")
    assert [event["verb"] for event in stage.events("upstream.close_notify_missing")] == ["LIST"]


def test_a_listing_is_torn_where_its_server_is_known_to_say_close_notify(fresh_stages: Stages) -> None:
    stage = fresh_stages("default")
    with stage.logged_in() as client:
        assert client.download("", verb="LIST")[1][-1].code == 226
        stage.server.quirks = WITHOUT_CLOSE_NOTIFY
        downloaded, replies = client.download("", verb="LIST")
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)


def test_a_server_that_leaves_before_it_can_be_asked(stage: Stage) -> None:
    stage.play(Quirks(fault=Fault.FIN, close_after=frozenset({"SIZE"}), replies={"SIZE": b""}))
    with _in_binary(stage) as client:
        downloaded, _ = client.download()
        assert downloaded.ended == "reset"
    assert stage.event("transfer.finished")["outcome"] == "torn"
