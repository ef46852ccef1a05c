"""The end of a file in MODE B, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp.blocks import Blocks

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
