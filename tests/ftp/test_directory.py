"""Where a session is at its server, as far as that is sure: what CWD names, what the server says, what it must not
believe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp import commands
from ftpsproxy.ftp.directory import Directory, Place
from ftpsproxy.ftp.replies import Reply
from tests.ftp.play import Play, reply


def after(*said: str, login: bool = True) -> Directory:
    """Where a session is behind commands and replies in turn."""
    directory = Directory()
    if login:
        directory.logged_in()
    for line, answer in zip(said[::2], said[1::2], strict=True):
        command = commands.parse(line.encode("latin-1"))
        assert command is not None
        directory.answered(command, reply(answer))
    return directory


def shown(directory: Directory) -> str | None:
    """`/absolute`, `~/relative` to the login directory, or None."""
    place = directory.place
    if place is None:
        return None
    return f"~/{place.text}" if place.relative else place.text


PWD = "PWD", '257 "/in" is current directory'


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ((), "~/."),
        (("CWD daily", "250 ok"), "~/daily"),
        (("CWD daily", "250 ok", "CWD a/b/", "250 ok"), "~/daily/a/b"),
        (("CWD daily", "550 no"), "~/."),
        (("CWD /daily", "250 ok"), "/daily"),
        (("CWD .", "250 ok"), "~/."),
        (("CDUP", "250 ok"), None),
        (("CWD daily", "250 ok", "CDUP", "250 ok"), None),  # daily may be a symbolic link
        (PWD, "/in"),
        ((*PWD, "CWD a", "250 ok"), "/in/a"),
        ((*PWD, "XCWD ./a//b", "250 ok"), "/in/a/b"),
        ((*PWD, "CDUP", "200 ok"), "/"),
        ((*PWD, "XCUP", "200 ok", "CWD out", "250 ok"), "/out"),
        ((*PWD, "CWD ../out", "250 ok"), "/out"),
        ((*PWD, "CWD ..", "250 ok", "CDUP", "250 ok"), "/"),
        ((*PWD, "CWD a", "250 ok", "CDUP", "250 ok"), None),
        ((*PWD, "CWD a/..", "250 ok"), None),
        ((*PWD, "CWD a", "250 ok", "CDUP", "250 ok", *PWD), "/in"),
        ((*PWD, "CDUP", '250 "/" is the current directory.'), "/"),  # pyftpdlib
        (
            ("CWD x", "250 ok", "CDUP", '200 CDUP successful. "/home" is current directory.'),
            "/home",
        ),  # FileZilla Server
        (("CWD link", "250 OK. Current directory is /data/real one"), "/data/real one"),  # Pure-FTPd
        (("CWD link", '250-read "/x" is current directory.\n250 ok'), "~/link"),  # that is a file's
        ((*PWD, "SMNT x", "202 ok"), None),
        (("PWD", "257 \"'USER1.'\" is working directory"), "'USER1.'"),  # z/OS
        (("PWD", "257 \"'USER1.'\" is working directory", "CWD X", "250 ok"), None),
        (("PWD", "257 \"'USER1.'\" is working directory", "CWD /u/x", "250 ok"), "/u/x"),
        (("PWD", '257 "C:\\in" is current directory.'), "C:\\in"),
        (("PWD", '257 "SYS$DISK:[ANON.IN]" is current directory'), "SYS$DISK:[ANON.IN]"),
        ((*PWD, 'CWD a "b" c', "250 ok"), None),
        ((*PWD, "CWD ~bob", "250 ok"), None),
        ((*PWD, "CWD a*", "250 ok"), None),
        ((*PWD, "CWD a\\..\\b", "250 ok"), None),
        ((*PWD, "CWD //host/x", "250 ok"), None),
        ((*PWD, "CWD D:", "250 ok"), None),
        ((*PWD, "CWD x ", "250 ok"), None),
        ((*PWD, "CWD", "250 ok"), None),
        ((*PWD, f"CWD {'x' * 4100}", "250 ok"), None),
    ],
    ids=repr,
)
def test_where_a_session_is(said: tuple[str, ...], where: str | None) -> None:
    assert shown(after(*said)) == where


@pytest.mark.parametrize(
    "answer",
    [
        "257 /in",
        "257 in is current directory",
        '257 "in" is current directory',
        '257 "" is current directory',
        '257 "/in',
        '257 "/a"b" is current directory',
        '257 "/a""b" is current directory',  # of two names, by whether the server doubles a quote
        '257 "/a\tb" is current directory',
        '257 "/a\x7f" is current directory',
        f'257 "/{"x" * 1_000_000}" is current directory',
        '257 "/a" "/b"',
        '257-"/a"\n257 "/b"',
        "200 ok",
    ],
    ids=lambda answer: answer[:40],
)
def test_a_lie_about_the_directory_costs_the_directory(answer: str) -> None:
    assert after(*PWD, "PWD", answer).place is None


def test_a_quote_in_a_name_is_believed_where_a_cwd_has_named_it() -> None:
    directory = Directory()
    directory.place = Place(b'/a"b')
    command = commands.parse(b"PWD")
    assert command is not None
    directory.answered(command, reply('257 "/a""b"'))
    assert directory.place == Place(b'/a"b', named=True)


def test_a_login_begins_in_a_directory_of_its_own() -> None:
    play = Play().logged_in()
    directory = play.protocol._state.directory
    play.client("PWD")
    play.server('257 "/home/bob"')
    assert shown(directory) == "/home/bob"
    play.client("USER anna")
    play.server("331 password")
    assert shown(directory) is None
    play.client("PASS x")
    play.server("230 in")
    assert shown(directory) == "~/."


def test_our_own_pwd_behind_abor_is_no_word_to_the_client() -> None:
    """It may come while the server is about to change the directory; the client's own commands tell enough."""
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    play.server("426 gone")
    assert shown(play.protocol._state.directory) == "~/."


def test_before_a_login_nothing_is_known() -> None:
    assert shown(after("CWD x", "250 ok", login=False)) is None
    assert shown(after("CWD /x", "250 ok", login=False)) == "/x"


STEPS = st.tuples(st.sampled_from(["CWD", "CDUP", "PWD", "XCWD"]), st.binary(max_size=12), st.binary(max_size=40))


@given(st.lists(STEPS))
def test_whatever_is_said_a_directory_is_one_line_and_bounded(
    steps: list[tuple[str, bytes, bytes]],
) -> None:
    directory = Directory()
    directory.logged_in()
    for verb, argument, answer in steps:
        command = commands.Command(verb.encode(), argument)
        directory.answered(command, Reply(257 if verb == "PWD" else 250, (b"257 " + answer,)))
        place = directory.place
        if place is not None:
            assert len(place.path) <= 4096
            assert not any(byte < 32 or byte == 127 for byte in place.path)
            assert b".." not in place.path.split(b"/") or place.named
            assert place.relative or place.absolute or place.named
