"""What a device may not do: it hears why, the server never hears of it, the log says which setting it was; and a file
that grows too large is torn on both sides."""

from __future__ import annotations

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Quirks

MOST = 100_000
LYING = b"226 all fine\r\n"


@pytest.fixture
def small_files(stages: Stages) -> Stage:
    return stages("small_files")


@pytest.mark.parametrize("mode", ["EPSV", "PORT"])
@pytest.mark.parametrize("final_torn", [Quirks().final_torn, LYING], ids=["strict", "lying-226"])
def test_an_upload_that_grows_too_large_is_torn(small_files: Stage, mode: str, final_torn: bytes) -> None:
    stage = small_files
    stage.play(Quirks(final_torn=final_torn))
    with stage.logged_in() as client:
        data = client.data(mode)
        assert client.command("STOR up").code == 150
        data.send_what_fits(FILE, 0.5)
        reply = client.reply()
        assert reply.code == 552
        assert "max_file_bytes" in reply.text
        assert client.command("PWD").code == 257
    seen = stage.server.last.data[0]
    stage.server.wait(lambda: seen.over)
    assert seen.ended == "reset"
    assert seen.received <= MOST
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["cause"], finished["side"]) == ("torn", "too_large", "client")
    assert "max_file_bytes" in stage.event("data.failed")["hint"]


def test_one_byte_decides(small_files: Stage) -> None:
    stage = small_files
    with stage.logged_in() as client:
        assert client.upload(FILE[:MOST])[-1].code == 226
        assert client.upload(FILE[: MOST + 1])[-1].code == 552
    stage.event("transfer.finished", 2)
    assert [one["outcome"] for one in stage.events("transfer.finished")] == ["complete", "torn"]


def test_a_download_that_is_too_large_is_torn(small_files: Stage) -> None:
    """A listing may be as long as it likes."""
    stage = small_files
    stage.play(Quirks(), {b"file": FILE, b"small": FILE[:MOST]})
    with stage.logged_in() as client:
        downloaded, replies = client.download("file")
        assert (downloaded.ended, replies[-1].code) == ("reset", 552)
        assert len(downloaded.data) <= MOST
        downloaded, replies = client.download("small")
        assert (downloaded.ended, replies[-1].code) == ("fin", 226)
    assert stage.event("transfer.finished")["cause"] == "too_large"


def test_what_is_there_already_counts(small_files: Stage) -> None:
    stage = small_files
    with stage.logged_in() as client:
        assert client.command("TYPE I").code == 200
        assert client.command("ALLO 100001").code == 552
        assert client.command(f"REST {MOST - 5}").code == 350
        assert client.upload(FILE[:6])[-1].code == 552
        assert client.command("REST 100001").code == 350
        client.passive()
        assert client.command("STOR up").code == 552
        assert client.command("PWD").code == 257
    assert b"ALLO" not in b" ".join(stage.server.last.commands)
    refused = stage.events("command.refused")
    assert [(one["verb"], one["detail"][-16:]) for one in refused] == [
        ("ALLO", "(max_file_bytes)"),
        ("STOR", "(max_file_bytes)"),
    ]


def test_what_is_not_allowed_never_reaches_the_server(stages: Stages) -> None:
    stage = stages("uploads_only")
    with stage.logged_in() as client:
        for line in ("RETR /in/x", "DELE /in/x", "XMKD /in/x", "SITE EXEC ls", "XFOO", "STOR /x", "SIZE /x", "LIST /"):
            if line.startswith(("RETR", "STOR", "LIST")):
                client.passive()
            assert client.command(line).code == 550, line
        client.passive()
        assert client.upload(b"x", "/in/x")[-1].code == 226
    assert not set(stage.server.last.verbs()) & {"RETR", "DELE", "MKD", "XMKD", "SITE", "XFOO", "SIZE", "LIST"}
    refused = [
        (one["verb"], one.get("argument"), one["detail"].rpartition(" ")[2]) for one in stage.events("command.refused")
    ]
    assert refused[0] == ("RETR", "/in/x", "(allow)")
    assert refused[2:4] == [("XMKD", "/in/x", "(deny)"), ("SITE", "*** ****", "(allow)")]
    assert refused[4] == ("(4 letters, in no table)", None, "(allow)")
    assert refused[5:] == [("STOR", "/x", "(paths)"), ("SIZE", "/x", "(paths)"), ("LIST", "/", "(paths)")]
    assert stage.event("transfer.finished")["outcome"] == "complete"
