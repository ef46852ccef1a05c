"""What the server has said already is not asked again, and what may have changed is."""

from __future__ import annotations

import pytest

from ftpsproxy.ftp.protocol import Policy
from tests.ftp.play import CLIENT, Play


def asked(play: Play, line: str, answer: str) -> None:
    """The server is asked, and says this."""
    assert play.client(line) == [f"S {line}"]
    assert play.server(answer) == ["C " + answer.replace("\n", "|")]


@pytest.fixture
def play() -> Play:
    return Play().logged_in()


def test_the_value_that_holds_is_answered_in_the_servers_words(play: Play) -> None:
    asked(play, "TYPE I", "200 Type set to I.")
    assert play.client("type i") == ["C 200 Type set to I."]
    asked(play, "TYPE A", "200 Type set to A.")
    asked(play, "TYPE I", "200 Binary it is.")
    asked(play, "PWD", '257 "/"')
    assert play.client("TYPE I") == ["C 200 Binary it is."]


def test_a_session_is_kept_alive_by_it_all_the_same(play: Play) -> None:
    asked(play, "TYPE I", "200 ok")
    for _ in range(3):
        assert play.client("TYPE I") == ["C 200 ok"]
        asked(play, "TYPE I", "200 ok")


def test_a_refused_value_is_not_remembered(play: Play) -> None:
    asked(play, "STRU R", "504 no")
    asked(play, "STRU R", "200 well then")


def test_features_are_told_once_more_as_a_plain_client_may_see_them(play: Play) -> None:
    assert play.client("FEAT") == ["S FEAT"]
    told = play.server("211-Features\n AUTH TLS\n UTF8\n211 End")
    assert told == ["C 211-Features| UTF8| EPRT| EPSV|211 End"]
    assert play.client("FEAT") == told


@pytest.mark.parametrize("line", ["OPTS MLST type;", "SITE NAMEFMT 1", "LANG fr", "HOST other.test", "CLNT lftp"])
def test_what_may_change_the_answer_makes_it_asked_again(play: Play, line: str) -> None:
    asked(play, "SYST", "215 UNIX")
    asked(play, line, "200 ok")
    asked(play, "SYST", "215 MVS")


def test_a_login_makes_all_asked_again(play: Play) -> None:
    asked(play, "TYPE I", "200 ok")
    assert play.client("USER other") == ["S USER other"]
    play.server("331 password")
    play.client("PASS secret")
    play.server("230 in")
    play.server("200 PBSZ")
    assert play.server("200 PROT") == ["C 230 in"]
    asked(play, "TYPE I", "200 ok")


def test_a_long_answer_is_not_kept(play: Play) -> None:
    long = "211-Features\n " + "X" * 5000 + "\n211 End"
    assert play.client("FEAT") == ["S FEAT"]
    play.server(long)
    assert play.client("FEAT") == ["S FEAT"]


def test_it_can_be_switched_off() -> None:
    play = Play(Policy(client=CLIENT, ahead=False)).logged_in()
    asked(play, "TYPE I", "200 ok")
    asked(play, "TYPE I", "200 ok")
