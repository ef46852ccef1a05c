"""Replies in and out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp import replies
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.replies import Reply, ReplyReader
from tests.ftp.test_lines import cut


@pytest.mark.parametrize("word", [b"x", b"\xff", b"word ", "\u2603 ".encode()], ids=["x", "ff", "words", "snow"])
def test_of_a_line_without_end_a_log_has_the_beginning(word: bytes) -> None:
    line = b"550 " + word * (1_000_000 // len(word))
    reply = Reply(550, (line,))
    assert len(reply.text) < 5000
    assert reply.text.endswith(f"... ({len(line) - 4} bytes)")
    assert reply.encode() == line + b"\r\n"


def test_what_is_cut_is_cut_at_a_blank() -> None:
    assert "sesame" not in Reply(530, (b"530 " + b"x" * 990 + b" open-sesame " + b"y" * 100,)).text


def reader() -> ReplyReader:
    """Small bounds."""
    return ReplyReader(max_line=200, max_bytes=400, max_lines=6)


def read(chunks: list[bytes]) -> list[Reply | str]:
    """All replies, and "error" where it ends in one."""
    one = reader()
    found: list[Reply | str] = []
    for chunk in chunks:
        one.feed(chunk)
        try:
            while (reply := one.pop()) is not None:
                found.append(reply)
        except ProtocolError:
            return [*found, "error"]
    return found


@pytest.mark.parametrize(
    ("data", "code", "count"),
    [
        (b"220 ready\r\n", 220, 1),
        (b"220\r\n", 220, 1),
        (b"220 bare LF\n", 220, 1),
        (b"211-Features:\r\n MLST a;b\r\n226 not the end\r\n211-neither\r\n211 End\r\n", 211, 5),
        (b"234-z/OS\r\n234\r\n", 234, 2),
        (b"\r\n220 after an empty line\r\n", 220, 1),
        (b"hello\r\n220 after a notice\r\n", 220, 1),
        (b"600 no such class\r\n099 neither\r\n22\r\n2020-01-01 up\r\n220 ready\r\n", 220, 1),
    ],
)
def test_a_reply(data: bytes, code: int, count: int) -> None:
    (reply,) = read([data])
    assert isinstance(reply, Reply)
    assert (reply.code, len(reply.lines)) == (code, count)


def test_it_goes_out_as_it_came() -> None:
    data = b"211-Features:\r\n MLST type*;size*;\r\n gr\xfc\xdfe\r\n211 End\r\n"
    (reply,) = read([data])
    assert isinstance(reply, Reply)
    assert reply.encode() == data


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"+OK POP3 ready\r\n",
        b"\x16\x03\x01\x02\x00\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"a notice\r\n" * 101,
        b"211-a\r\n" + b" b\r\n" * 6,
        b"220-" + b"x" * 190 + b"\r\n" + (b"y" * 190 + b"\r\n") * 2,
        b"x" * 300,
    ],
)
def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    assert read([data]) == ["error"]


def test_a_lone_cr_makes_no_second_line_for_the_client() -> None:
    (reply,) = read([b"550 no\r226 Transfer complete.\r\n"])
    assert isinstance(reply, Reply)
    assert reply.encode() == b"550 no 226 Transfer complete.\r\n"


@pytest.mark.parametrize(
    ("line", "as_it_goes_out"),
    [(b"220x\r\n", b"220 x\r\n"), (b"220\tready\r\n", b"220 \tready\r\n"), (b"530_no\r\n", b"530 _no\r\n")],
)
def test_what_stands_behind_a_code_need_not_be_a_blank(line: bytes, as_it_goes_out: bytes) -> None:
    (reply,) = read([line])
    assert isinstance(reply, Reply)
    assert reply.encode() == as_it_goes_out


def test_text_outside_a_reply_is_passed_over_and_told() -> None:
    one = reader()
    one.feed(b"disk is full\r\n200 ok\r\n")
    reply = one.pop()
    assert reply is not None
    assert reply.code == 200
    assert one.passed_over == ["disk is full"]


def test_a_line_inside_a_reply_is_no_passive_reply_for_a_client_that_reads_carelessly() -> None:
    (reply,) = read([b"211-status\r\n227 Entering Passive Mode (192,0,2,9,4,1)\r\n211 end\r\n"])
    assert isinstance(reply, Reply)
    assert reply.lines[1].startswith(b" 227 ")


def test_the_lines_of_a_reply_under_way_come_out_once() -> None:
    one = reader()
    one.feed(b"250-one\r\n250-tw")
    assert one.pop() is None
    assert one.fresh() == (250, (b"250-one",))
    assert one.fresh() is None
    one.feed(b"o\r\n250 three\r\n")
    reply = one.pop()
    assert reply is not None
    assert len(reply.lines) == 3
    assert one.fresh() is None


@pytest.mark.parametrize(
    ("lines", "may"),
    [
        (b"234-first\r\n235 last\r\n", True),
        (b"234-first\r\n235 last\r\nm", False),  # more is coming
        (b"234-first\r\n234-534 last\r\n", False),
        (b"234-first\r\n", False),
        (b"234-first\r\n and more\r\n", False),
    ],
)
def test_a_reply_may_end_with_another_code_of_its_class(lines: bytes, may: bool) -> None:
    one = reader()
    one.feed(lines)
    assert one.pop() is None
    assert one.may_be_over is may
    if may:
        assert one.end().lines == (b"234-first", b"234 last")


@pytest.mark.parametrize(
    ("lines", "ended"),
    [
        (b"553-\r\n553- Directory excluded.\r\n150 Opening\r\n", (150, b"150-", b"150 Opening")),  # glftpd
        (b"451-no\r\n550 no\r\n", (550, b"550-no", b"550 no")),
        (b"550-no\r\n226 done\r\n", None),  # what is refused does not end well
        (b"250-Welcome\r\n550 Not allowed\r\n", None),  # the client may have heard the beginning
        (b"230-Hello\r\n530 users are on\r\n", None),
        (b"250-working\r\n500 MB read\r\n", None),
    ],
)
def test_a_refusal_may_end_with_a_code_of_another_class(lines: bytes, ended: tuple[int, bytes, bytes] | None) -> None:
    one = reader()
    one.feed(lines)
    assert one.pop() is None
    one.fresh()
    assert one.may_be_over is (ended is not None)
    assert one.changes_class
    if ended is not None:
        said = one.end()
        assert (said.code, said.lines[0], said.lines[-1]) == ended


def test_leftovers_are_seen() -> None:
    one = reader()
    one.feed(b"234 go\r\n220")
    assert one.pop() is not None
    assert one.pending


def test_our_own_words_can_hold_no_line_break() -> None:
    assert replies.own(421, "a\r\nb\x1bé").encode() == b"421 a??b?\\xe9\r\n"


PIECES = st.lists(
    st.sampled_from([b"220 a\r\n", b"211-x\r\n", b"211 y\r\n", b" z\r\n", b"5", b"\n", b"\0"]), max_size=12
)


@given(PIECES.map(b"".join), st.lists(st.integers(0, 200)))
def test_chunks_do_not_matter(data: bytes, places: list[int]) -> None:
    assert read(cut(data, places)) == read([data])


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    read([data])
