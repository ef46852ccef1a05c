"""The end of a file in MODE B, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp.blocks import Blocks
from tests.ftp.test_lines import cut

BLOCK = st.tuples(st.integers(0, 255), st.binary(max_size=300))


def block(descriptor: int, data: bytes = b"") -> bytes:
    return bytes([descriptor, len(data) >> 8, len(data) & 255]) + data


@given(st.lists(BLOCK, max_size=6), st.data())
def test_any_cut_of_any_blocks(made: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Right behind a block with the end-of-file bit, and nowhere else."""
    stream = b""
    ends = set()
    for descriptor, content in made:
        stream += block(descriptor, content)
        if descriptor & 0x40:
            ends.add(len(stream))
    blocks = Blocks()
    at = 0
    while at < len(stream):
        step = data.draw(st.integers(1, len(stream) - at))
        blocks.feed(memoryview(stream)[at : at + step])
        at += step
        assert blocks.ended == (at in ends)


@pytest.mark.parametrize("stream", [b"", b"\x40", b"\x40\x00", b"\x40\x00\x05abcd", block(0x80, b"x"), b"plain text"])
def test_no_end_yet(stream: bytes) -> None:
    blocks = Blocks()
    blocks.feed(stream)
    assert not blocks.ended


def plainly(stream: bytes) -> bool:
    """Whether the stream ends right behind a block that ends the file, read header by header."""
    at, last = 0, False
    while at + 3 <= len(stream):
        last = bool(stream[at] & 0x40)
        at += 3 + (stream[at + 1] << 8 | stream[at + 2])
    return last and at == len(stream)


HEADERS = st.lists(
    st.sampled_from([b"\x00\x00\x00", b"\x80\x00\x00", b"\x40\x00\x00", b"\x00\x00\x02xy", b"\x40\x00\x01z", b"\x00"]),
    max_size=30,
)


@given(HEADERS.map(b"".join), st.lists(st.integers(0, 200)))
def test_empty_blocks_by_the_thousand_change_nothing(stream: bytes, places: list[int]) -> None:
    blocks = Blocks()
    for chunk in cut(stream, places):
        blocks.feed(chunk)
    assert blocks.ended == plainly(stream)
