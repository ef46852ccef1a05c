"""The same transfers with every TLS stack: sizes, slow readers, listings, many in one session."""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from tests.stacks.cases import everywhere
from tests.stacks.stacks import STACKS
from tests.stacks.stage import BIGGEST, CONTENT, SIZES, Stage, assert_whole_upload

NAMES = "".join(f"{size}\r\n" for size in SIZES).encode()
LISTING = "".join(f"-rw-r--r-- 1 ftp ftp {size} Jan 01 00:00 {size}\r\n" for size in SIZES).encode()
SMALL_BUFFER = 65536


def assert_logged(stage: Stage, direction: str, size: int, count: int = 1) -> None:
    """The `count`-th transfer is logged as a whole one over a resumed session, properly ended."""
    event = stage.finished(count)
    facts = {key: event[key] for key in ("direction", "outcome", "bytes", "tls_version", "resumed")}
    assert facts == {
        "direction": direction,
        "outcome": "complete",
        "bytes": size,
        "tls_version": f"TLSv{stage.version}",
        "resumed": True,
    }, event
    # Behind an upload, the 226 may come and be logged before the server's close_notify on the other connection.
    assert event.get("close_notify", direction == "upload") is True, event


@everywhere
def test_it_is_the_stack_meant(stage: Stage) -> None:
    """The server greets with its library's name and version; the gateway speaks the one version of TLS it has."""
    assert stage.server.name.startswith(stage.stack.name), stage.server.name
    with stage.logged_in():
        secured = stage.gateway.wait_for_event("upstream.secured")
    assert secured["tls_version"] in {f"TLSv{version}" for version in stage.stack.versions}


def test_no_two_stacks_are_the_same() -> None:
    names = [stack.name for stack in STACKS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("size", SIZES)
@everywhere
def test_a_download(stage: Stage, size: int) -> None:
    with stage.logged_in() as client:
        downloaded, replies = client.download(str(size))
    assert (downloaded.ended, replies[-1].code) == ("fin", 226), replies
    assert downloaded.data == CONTENT[:size]
    assert_logged(stage, "download", size)


@pytest.mark.parametrize("size", SIZES)
@everywhere
def test_an_upload(stage: Stage, size: int) -> None:
    with stage.logged_in() as client:
        replies = client.upload(CONTENT[:size])
    assert_whole_upload(replies[-1], CONTENT[:size])
    assert stage.said("stored") == [f"stored {size} close_notify"]
    assert_logged(stage, "upload", size)


@everywhere
def test_an_upload_to_a_slow_reader(stage: Stage) -> None:
    """All has been sent, close_notify and FIN too, long before the server reads the last of it."""
    with stage.logged_in("slow=1") as client:
        replies = client.upload(CONTENT)
    assert_whole_upload(replies[-1], CONTENT)
    assert_logged(stage, "upload", BIGGEST)


@everywhere
def test_a_download_by_a_slow_reader(stage: Stage) -> None:
    with stage.logged_in(receive_buffer=SMALL_BUFFER) as client:
        data = client.passive()
        assert client.command(f"RETR {BIGGEST}").code == 150
        received = bytearray()
        while part := data.read(SMALL_BUFFER):
            received += part
            time.sleep(0.002)  # slow is what this client is
        assert client.reply().code == 226
    assert received == CONTENT
    assert_logged(stage, "download", BIGGEST)


@everywhere
def test_listings_and_plain_commands(stage: Stage) -> None:
    with stage.logged_in() as client:
        for command, code in (("PWD", 257), ("SYST", 215), ("FEAT", 211), ("TYPE I", 200), ("NOOP", 200)):
            assert client.command(command).code == code
        assert client.command("SIZE 16384").text == "213 16384\r\n"
        for verb, listing in (("LIST", LISTING), ("NLST", NAMES)):
            downloaded, replies = client.download("", verb=verb)
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (listing, "fin", 226)
        assert client.command("QUIT").code == 221
        assert client.rest() == (b"", "fin")


@everywhere
def test_many_transfers_where_each_must_resume(stage: Stage) -> None:
    """Every other one an upload: what a transfer leaves behind, tickets above all, is the next one's."""
    with stage.logged_in("reuse=required") as client:
        for turn, size in enumerate((1, 16384, 0, 100_000, 1, 16385, 0, 1_000_000)):
            if turn % 2:
                assert_whole_upload(client.upload(CONTENT[:size])[-1], CONTENT[:size])
                assert_logged(stage, "upload", size, turn + 1)
            else:
                downloaded, replies = client.download(str(size))
                assert (downloaded.data, downloaded.ended) == (CONTENT[:size], "fin"), replies
                assert_logged(stage, "download", size, turn + 1)
    assert stage.said("data", 8) == ["data resumed=yes"] * 8


@everywhere
def test_who_does_not_resume_is_refused(stage: Stage) -> None:
    """So that `reuse=required` above proves something: a client that resumes nothing, past the gateway."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def ask(control: socket.socket, line: str) -> str:
        control.sendall(line.encode() + b"\r\n")
        return control.recv(4096).decode()

    with socket.create_connection(("127.0.0.1", stage.server.ports[stage.version]), 30) as plain:
        assert plain.recv(4096).startswith(b"220")
        assert ask(plain, "AUTH TLS").startswith("234")
        with context.wrap_socket(plain) as control:
            assert ask(control, "SITE reuse=required").startswith("200")
            port = int(ask(control, "EPSV").split("|")[3])
            with socket.create_connection(("127.0.0.1", port), 30) as data:
                assert ask(control, "RETR 1").startswith("150")
                with context.wrap_socket(data):
                    assert control.recv(4096).startswith(b"522")
    assert stage.said("data") == ["data resumed=no"]
