"""What TLS does in mid-transfer: tickets, new keys (TLS 1.3), new handshakes (TLS 1.2), each begun by the server.

Servers end such transfers by `end=wait`: what the gateway has answered lies unread at one that closes at once, and
makes its close a reset.
"""

from __future__ import annotations

import pytest

from tests.stacks.cases import able
from tests.stacks.stacks import RENEGOTIATE, REQUEST, TICKET, UPDATE
from tests.stacks.stage import BIGGEST, CHUNK, CONTENT, Stage, assert_whole_upload

SIZE = 1_000_000
HALF = 500_000

# GnuTLS takes eight KeyUpdates in a second, and breaks the connection over the ninth.
OFTEN = 5

once_or_often = pytest.mark.parametrize(
    ("at", "times"), [(0, 1), (HALF, 1), (100_000, OFTEN)], ids=["before", "middle", "often"]
)
any_deed = able(TICKET, UPDATE, REQUEST, RENEGOTIATE)


@once_or_often
@any_deed
def test_in_a_download(stage: Stage, deed: str, at: int, times: int) -> None:
    with stage.logged_in(f"do={deed} at={at} times={times} end=wait reuse=required") as client:
        downloaded, replies = client.download(str(SIZE))
        assert (downloaded.ended, replies[-1].code) == ("fin", 226), replies
        assert downloaded.data == CONTENT[:SIZE]
        event = stage.finished()
        assert (event["outcome"], event["bytes"], event["close_notify"]) == ("complete", SIZE, True), event
        assert stage.said(f"did {deed}", times) == [f"did {deed}"] * times
        stage.wait_for("peer close_notify")
        # The session that the next one resumes has been through it.
        stage.site(client, "reuse=required")
        assert_whole_upload(client.upload(CONTENT[:1])[-1], CONTENT[:1])


@any_deed
def test_behind_a_downloads_last_byte(stage: Stage, deed: str) -> None:
    with stage.logged_in(f"do={deed} at={SIZE} end=wait") as client:
        downloaded, replies = client.download(str(SIZE))
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (CONTENT[:SIZE], "fin", 226), replies
        assert stage.said(f"did {deed}") == [f"did {deed}"]


@pytest.mark.parametrize("at", [0, HALF])
@any_deed
def test_in_an_upload(stage: Stage, deed: str, at: int) -> None:
    """The client sends as fast as it can, and keeps the last 16 KiB until the server has got what it wants of TLS."""
    with stage.logged_in(f"do={deed} at={at} end=wait reuse=required") as client:
        data = client.passive()
        assert client.command("STOR file").code == 150
        data.send(CONTENT[:-CHUNK])
        stage.wait_for(f"did {deed}")
        data.send(CONTENT[-CHUNK:])
        data.fin()
        assert_whole_upload(client.reply(), CONTENT)
        event = stage.finished()
        assert (event["outcome"], event["bytes"]) == ("complete", BIGGEST), event
        if deed == REQUEST and stage.stack.tells_updates:
            stage.wait_for("peer update")  # RFC 8446 section 4.6.3: before any more data
        stage.site(client, "reuse=required")
        downloaded, _ = client.download("1")
        assert (downloaded.data, downloaded.ended) == (b"0", "fin")


@able(TICKET, UPDATE, REQUEST)
def test_often_in_an_upload(stage: Stage, deed: str) -> None:
    with stage.logged_in(f"do={deed} at=100000 times={OFTEN} end=wait") as client:
        assert_whole_upload(client.upload(CONTENT[:SIZE])[-1], CONTENT[:SIZE])
        assert stage.finished()["outcome"] == "complete"
        assert stage.said("did", OFTEN) == [f"did {deed}"] * OFTEN


@pytest.mark.parametrize("size", [0, 1, SIZE])
@able(TICKET, UPDATE, REQUEST, RENEGOTIATE, such=lambda stack: stack.takes_ends)
def test_in_an_upload_that_ends_meanwhile(stage: Stage, deed: str, size: int) -> None:
    """The client has said its end before the server has got an answer, if it ever gets one: the file is whole."""
    with stage.logged_in(f"do={deed} at=0 end=wait") as client:
        assert_whole_upload(client.upload(CONTENT[:size])[-1], CONTENT[:size])
        assert stage.finished()["outcome"] == "complete"
        assert stage.said("stored") == [f"stored {size} close_notify"]


@able(TICKET, UPDATE, REQUEST)
def test_behind_an_uploads_last_byte(stage: Stage, deed: str) -> None:
    """The client's end may have been passed on before the server's words arrive, or not."""
    with stage.logged_in(f"do={deed} at={SIZE} end=wait") as client:
        assert_whole_upload(client.upload(CONTENT[:SIZE])[-1], CONTENT[:SIZE])
        assert stage.finished()["outcome"] == "complete"
        stage.wait_for(f"did {deed}")


@any_deed
def test_while_an_uploading_client_pauses(stage: Stage, deed: str) -> None:
    """Three times it waits until the server has got what it wants of TLS, and goes on."""
    part = 100_000
    with stage.logged_in(f"do={deed} at={part} times=3 end=wait") as client:
        data = client.passive()
        assert client.command("STOR file").code == 150
        for turn in range(3):
            data.send(CONTENT[turn * part : (turn + 1) * part])
            stage.wait_for(f"did {deed}", count=turn + 1)
        data.send(CONTENT[3 * part : SIZE])
        data.fin()
        assert_whole_upload(client.reply(), CONTENT[:SIZE])
        assert stage.finished()["outcome"] == "complete"


@any_deed
def test_before_an_upload_of_nothing(stage: Stage, deed: str) -> None:
    with stage.logged_in(f"do={deed} at=0 end=wait") as client:
        data = client.passive()
        assert client.command("STOR file").code == 150
        stage.wait_for(f"did {deed}")
        data.fin()
        assert_whole_upload(client.reply(), b"")


@able(TICKET, UPDATE, REQUEST, RENEGOTIATE, such=lambda stack: stack.renegotiates_new_sessions)
def test_on_the_control_connection(stage: Stage, deed: str) -> None:
    """And the data connections behind it resume its session."""
    with stage.logged_in() as client:
        for turn in range(1, 4):
            stage.site(client, f"NOW {deed}")
            stage.site(client, "reuse=required")
            stage.wait_for(f"did {deed}", count=turn)
            downloaded, replies = client.download("16384")
            assert (downloaded.data, downloaded.ended) == (CONTENT[:16384], "fin"), replies
            assert_whole_upload(client.upload(CONTENT[:16384])[-1], CONTENT[:16384])
    assert stage.said("data", 6) == ["data resumed=yes"] * 6
