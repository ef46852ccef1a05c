"""Logins: what is one, what is a guess at one."""

import pytest

from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import CLIENT, Play


@pytest.mark.parametrize("answer", ["200 ok", "202 Please tell me who you are", "250 ok"])
def test_an_account_nobody_asked_for_is_no_login(answer: str) -> None:
    """Pure-FTPd says 202 to anybody."""
    play = Play(Policy(CLIENT, login_attempts=2)).opened()
    for last in (False, True):
        play.client("ACCT x")
        assert play.server(answer) == [f"C {answer}"]
        assert play.protocol.waiting is Waiting.LOGIN
        play.client("PASS wrong")
        assert ("hang up" in play.server("530 no")) is last


def test_an_account_that_is_asked_for_can_be_guessed_at_as_well() -> None:
    play = Play(Policy(CLIENT, login_attempts=2)).opened()
    play.client("PASS secret")
    play.server("332 account")
    for last in (False, True):
        play.client("ACCT wrong")
        assert ("hang up" in play.server("530 no")) is last


def test_a_login_said_once_more_is_no_guess() -> None:
    """Pure-FTPd."""
    play = Play(Policy(CLIENT, login_attempts=2)).logged_in()
    for _ in range(5):
        play.client("USER bob")
        assert play.server("530 You're already logged in") == ["C 530 You're already logged in"]
        play.client("PASS secret")
        assert play.server("530 We can't do that in the current session")[0].startswith("C 530")


@pytest.mark.parametrize("refusal", ["430 no", "530 no", "550 no"])
def test_whatever_a_second_password_is_refused_with(refusal: str) -> None:
    play = Play(Policy(CLIENT, login_attempts=2)).logged_in()
    for last in (False, True):
        play.client("USER root")
        play.server("331 password")
        play.client("PASS wrong")
        assert ("hang up" in play.server(refusal)) is last


def test_232_is_230_for_plain_clients() -> None:
    play = Play().opened()
    play.client("PASS secret")
    assert play.server("232 in by certificate")[-1] == "C 230 Logged in."


def test_a_second_230_makes_no_login_of_what_follows() -> None:
    """A welcome of its own, when the next command is out already."""
    play = Play().logged_in()
    play.client("PWD")
    assert play.server("230 welcome") == ["C 230 welcome"]
    assert play.server("257 /") == []
