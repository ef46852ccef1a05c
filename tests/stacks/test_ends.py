"""How data connections end with every TLS stack: early, torn, waited for."""

from __future__ import annotations

import pytest

from tests.stacks.cases import everywhere
from tests.stacks.stage import CONTENT, Stage, assert_whole_upload

SIZE = 1_000_000
HALF = 500_000


@pytest.mark.parametrize("reply", [226, 426])
@pytest.mark.parametrize("end", ["cut", "reset"])
@everywhere
def test_a_download_that_breaks_off(stage: Stage, end: str, reply: int) -> None:
    """FIN or RST in mid-file, without close_notify. The server has said one before, and so must say it again."""
    with stage.logged_in() as client:
        downloaded, _ = client.download("16384")
        assert downloaded.ended == "fin"
        stage.site(client, f"stop={HALF} end={end} reply={reply}")
        downloaded, replies = client.download(str(SIZE))
        assert (downloaded.ended, replies[-1].code) == ("reset", 426), replies
        assert downloaded.data == CONTENT[: len(downloaded.data)]
        event = stage.finished(2)
        assert event["outcome"] == "torn", event
        # The session goes on.
        stage.site(client, "end=plain")
        downloaded, replies = client.download("16384")
        assert (downloaded.data, downloaded.ended) == (CONTENT[:16384], "fin"), replies


@everywhere
def test_a_download_that_ends_early_with_an_error(stage: Stage) -> None:
    """close_notify in mid-file, and a reply that says so."""
    with stage.logged_in(f"stop={HALF} reply=451") as client:
        downloaded, replies = client.download(str(SIZE))
        assert (downloaded.ended, replies[-1].code) == ("reset", 451), replies
        event = stage.finished()
    assert event["outcome"] == "torn", event


@everywhere
def test_a_download_that_ends_early_and_nobody_says_so(stage: Stage) -> None:
    """close_notify and 226: no client of FTP could know."""
    with stage.logged_in(f"stop={HALF}") as client:
        downloaded, replies = client.download(str(SIZE))
    assert (downloaded.ended, replies[-1].code) == ("fin", 226), replies
    assert downloaded.data == CONTENT[:HALF]
    event = stage.finished()
    assert (event["outcome"], event["bytes"], event["close_notify"]) == ("complete", HALF, True), event


@pytest.mark.parametrize("size", [0, SIZE])
@everywhere
def test_a_server_that_waits_for_our_close_notify(stage: Stage, size: int) -> None:
    """It says 226 only behind it."""
    with stage.logged_in("end=wait") as client:
        downloaded, replies = client.download(str(size))
        assert (downloaded.data, downloaded.ended) == (CONTENT[:size], "fin"), replies
        stage.wait_for("peer close_notify")
        assert_whole_upload(client.upload(CONTENT[:size])[-1], CONTENT[:size])
    assert stage.finished(2)["outcome"] == "complete"


@pytest.mark.parametrize("end", ["plain", "cut", "reset"])
@everywhere
def test_an_upload_that_the_server_ends(stage: Stage, end: str) -> None:
    """In mid-file, with an error: the client must hear it, and not believe that all was taken."""
    with stage.logged_in(f"stop={HALF} end={end} reply=552") as client:
        replies = client.upload(CONTENT)
        assert replies[-1].code in (426, 552), replies
        event = stage.finished()
        assert event["outcome"] == "torn", event
        stage.site(client, "end=plain")
        assert_whole_upload(client.upload(CONTENT[:SIZE])[-1], CONTENT[:SIZE])


@everywhere
def test_an_upload_that_the_client_breaks_off(stage: Stage) -> None:
    """A server that looks for close_notify, and one that does not, must see a broken connection, not an end."""
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR file").code == 150
        data.send(CONTENT[:HALF])
        stage.wait_for("data")  # a reset amid the handshake is another matter
        data.reset()
        assert client.reply().code == 426
        assert stage.wait_for("stored").endswith(" broken")
        event = stage.finished()
        assert event["outcome"] == "torn", event
        assert_whole_upload(client.upload(CONTENT[:SIZE])[-1], CONTENT[:SIZE])


@everywhere
def test_a_download_that_the_client_breaks_off(stage: Stage) -> None:
    """And the session goes on."""
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("RETR 8388608").code == 150
        assert data.read(16384) == CONTENT[:16384]
        data.reset()
        assert client.reply().code == 426
        event = stage.finished()
        assert event["outcome"] in ("torn", "aborted"), event
        downloaded, replies = client.download("16384")
        assert (downloaded.data, downloaded.ended) == (CONTENT[:16384], "fin"), replies
