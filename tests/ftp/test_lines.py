"""Bytes into lines: the outcome never depends on the chunks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp.errors import LineTooLong
from ftpsproxy.ftp.lines import LineReader, TelnetFilter


def lines(chunks: list[bytes], limit: int = 20) -> list[bytes | str]:
    """All that comes out, in order; an error by its name."""
    reader = LineReader(limit)
    found: list[bytes | str] = []
    for chunk in chunks:
        reader.feed(chunk)
        while True:
            try:
                line = reader.pop()
            except LineTooLong:
                found.append("too long")
                continue
            if line is None:
                break
            found.append(line)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_crlf_and_bare_lf_end_a_line() -> None:
    assert lines([b"USER a\r\nPASS b\nQU", b"IT\r", b"\n"]) == [b"USER a", b"PASS b", b"QUIT"]


def test_only_one_cr_belongs_to_the_ending() -> None:
    assert lines([b"A\r\r\n"]) == [b"A\r"]


@pytest.mark.parametrize("length", [19, 20])
def test_a_line_of_the_limit_passes(length: int) -> None:
    assert lines([b"x" * length + b"\r\nNOOP\r\n"]) == [b"x" * length, b"NOOP"]


def test_a_longer_one_is_an_error_and_the_next_is_read() -> None:
    assert lines([b"x" * 21 + b"\r\nNOOP\r\n"]) == ["too long", b"NOOP"]


def test_an_endless_line_holds_no_memory() -> None:
    reader = LineReader(100)
    reader.feed(b"x" * 200)
    with pytest.raises(LineTooLong):
        reader.pop()
    for _ in range(50):
        reader.feed(b"x" * 1000)
        assert reader.pop() is None
        assert reader.pending == 0
    reader.feed(b"\nNOOP\n")
    assert reader.pop() == b"NOOP"


ALPHABET = st.lists(st.sampled_from([b"x", b"\r", b"\n", b"\0", b"\xff", b"abcdefghij"]), max_size=60).map(b"".join)


@given(ALPHABET, st.lists(st.integers(0, 600)))
def test_chunks_do_not_matter(data: bytes, places: list[int]) -> None:
    assert lines(cut(data, places)) == lines([data])


TELNET = st.lists(
    st.sampled_from([b"\xff", b"\xf4", b"\xf2", b"\xfb", b"\xfe", b"\x01", b"A", b"\r\n", b"\xf0"]), max_size=30
).map(b"".join)


@given(TELNET, st.lists(st.integers(0, 60)))
def test_telnet_chunks_do_not_matter(data: bytes, places: list[int]) -> None:
    whole, parts = TelnetFilter(), TelnetFilter()
    assert b"".join(parts.feed(chunk) for chunk in cut(data, places)) == whole.feed(data)


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (b"\xff\xf4\xff\xf2ABOR\r\n", b"ABOR\r\n"),
        (b"\xff\xf4\xffABOR\r\n", b"ABOR\r\n"),  # the urgent byte lost
        (b"NOOP\r\n\xff\xf1\xff\xf4\xff\xf2STAT\r\n", b"NOOP\r\nSTAT\r\n"),
        (b"\xff\xfb\x01USER a\r\n", b"USER a\r\n"),
        (b"RETR \xff\xff.txt\r\n", b"RETR \xff\xff.txt\r\n"),
        (b"RETR gr\xff\xdfe\r\n", b"RETR gr\xff\xdfe\r\n"),
        (b"STOR \xff\xf4\xff\xfb\xff\r\n", b"STOR \xff\xf4\xff\xfb\xff\r\n"),
    ],
)
def test_telnet_sequences(sent: bytes, heard: bytes) -> None:
    assert TelnetFilter().feed(sent) == heard
