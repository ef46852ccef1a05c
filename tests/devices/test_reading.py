"""The devices' ways of reading, by themselves: each has the mistakes it is here for."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.devices.reading import DeviceFails, find_port, read_reply
from tests.devices.script import Finds, Reading

OWN = b"227 Entering Passive Mode (127,0,0,1,195,80)\r\n"
PORT = 195 * 256 + 80


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def _read(reading: Reading, pair: tuple[socket.socket, socket.socket], *segments: bytes) -> bytes:
    ours, theirs = pair
    for segment in segments:
        theirs.sendall(segment)
    return read_reply(reading, 1000, ours, bytearray())


@pytest.mark.parametrize("finds", list(Finds), ids=lambda finds: finds.name)
def test_the_usual_227(finds: Finds) -> None:
    host, port = find_port(finds, OWN)
    assert (host in ("", "127.0.0.1"), port) == (True, PORT)


def test_a_229_from_behind() -> None:
    assert find_port(Finds.FROM_BEHIND, b"229 Entering Extended Passive Mode (|||50000|)\r\n") == ("", 50000)


@pytest.mark.parametrize(
    ("finds", "reply"),
    [
        (Finds.SCANF, b"227 Entering Passive Mode 127,0,0,1,195,80\r\n"),
        (Finds.SCANF_CLOSED, b"227 Entering Passive Mode (127,0,0,1,195,80).\r\n".replace(b")", b" )")),
        (Finds.STRTOK, b"227 Well, entering Passive Mode (127,0,0,1,195,80)\r\n"),
        (Finds.FIRST_DIGIT, b"227 Entering mode 2 (127,0,0,1,195,80)\r\n"),
        (Finds.LAST_TWO, b"227 Entering Passive Mode (127,0,0,1,195,80) at 12:00\r\n"),
        (Finds.BRACKETS, b"227 Entering (Passive) Mode (127,0,0,1,195,80)\r\n"),
        (Finds.FROM_BEHIND, b"227 Entering Passive Mode 127,0,0,1,195,80, hurry\r\n"),
        (Finds.STRTOK, OWN[:31]),
    ],
)
def test_a_227_it_does_not_understand(finds: Finds, reply: bytes) -> None:
    with contextlib.suppress(DeviceFails):
        assert find_port(finds, reply)[1] != PORT


def test_many_lines_by_the_code(pair: tuple[socket.socket, socket.socket]) -> None:
    said = b"230-Hello\r\n231 no end\r\n 230 nor this\r\n230-nor that\r\n230 end\r\n"
    assert _read(Reading.BY_CODE, pair, said[:7], said[7:]) == b"230 Hello\r\n"


def test_many_lines_by_any_code(pair: tuple[socket.socket, socket.socket]) -> None:
    assert _read(Reading.ANY_CODE, pair, b"230-Hello\r\n  text\r\n230 end\r\n226 next\r\n") == b"230 Hello\r\n"


def test_lines_until_a_blank_in_column_four(pair: tuple[socket.socket, socket.socket]) -> None:
    assert _read(Reading.LINE, pair, b"230-Hello\r\nwelcome\r\n230 end\r\n") == b"230 end\r\n"


def test_one_receive_takes_what_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    """Two replies at once are one, and half a reply is one, too."""
    assert _read(Reading.ONE_RECEIVE, pair, b"150 a\r\n226 b\r\n") == b"150 a\r\n226 b\r\n"
    assert _read(Reading.ONE_RECEIVE, pair, b"220-Hel") == b"220-Hel"


def test_a_closed_connection_is_no_reply(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    started = time.monotonic()
    for reading in Reading:
        with pytest.raises(DeviceFails):
            read_reply(reading, 1000, pair[0], bytearray())
    assert time.monotonic() - started < 10
