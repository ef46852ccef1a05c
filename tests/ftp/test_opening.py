"""From the server's greeting to the client's, and what never goes up before TLS."""

import pytest

from ftpsproxy.ftp.events import Connected, Secured
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import CLIENT, SERVER, Play


def test_the_client_is_greeted_only_when_all_stands() -> None:
    Play().opened()


def test_the_servers_greeting_can_be_passed_on() -> None:
    play = Play(Policy(client=CLIENT, own_greeting=False))
    play.happens(Connected(SERVER))
    play.server("220-Welcome\n220 to us")
    play.server("234 go")
    play.happens(Secured())
    play.server("200 ok")
    assert play.server("200 ok") == ["C 220-Welcome|220 to us"]


def test_implicit_tls_needs_no_auth_and_forgives_pbsz() -> None:
    play = Play(Policy(client=CLIENT, implicit=True))
    play.happens(Connected(SERVER))
    assert play.server("220 hello") == ["S PBSZ 0"]
    assert play.server("503 no") == ["S PROT P"]
    assert play.server("536 no") == ["C 220 FTP service ready."]


CLEAR = Policy(client=CLIENT, implicit=True, greeting_in_clear=True, own_greeting=False)


def test_a_greeting_in_clear_is_one_reply_and_not_used() -> None:
    play = Play(CLEAR)
    assert play.happens(Connected(SERVER)) == []
    assert play.server("220-hello\n220 spoof") == ["StartTls"]
    assert play.happens(Secured()) == ["S PBSZ 0"]
    assert play.server("503 no") == ["S PROT P"]
    assert play.server("536 no") == ["C 220 FTP service ready."]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["120 wait"], "greeting_refused"),
        (["421 no"], "greeting_refused"),
        (["331 who"], "greeting_refused"),
        (["220 hello", "220 hello"], "bytes_after_auth"),
    ],
)
def test_anything_else_in_clear_ends_it(said: list[str], reason: str) -> None:
    play = Play(CLEAR)
    play.happens(Connected(SERVER))
    assert [order for text in said for order in play.server(text)][-3] == f"refused {reason}"


def test_a_second_greeting_behind_tls_ends_it() -> None:
    play = Play(CLEAR)
    play.happens(Connected(SERVER))
    play.server("220 slipped in")
    play.happens(Secured())
    assert play.server("220 the real one")[0] == "refused greeted_twice"


@pytest.mark.parametrize("refusal", ["500 what", "502 no", "504 no", "530 log in first", "421 busy", "431 later"])
def test_no_tls_no_session(refusal: str) -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    orders = play.server(refusal)
    assert orders[0] in ("refused auth_refused", "refused greeting_refused")
    assert orders[1].startswith("C 421 ")
    assert orders[2] == "hang up"
    assert play.client("USER bob") == []


def test_auth_ssl_only_where_allowed() -> None:
    play = Play(Policy(client=CLIENT, auth=("TLS", "SSL")))
    play.happens(Connected(SERVER))
    assert play.server("220 hello") == ["S AUTH TLS"]
    assert play.server("504 no") == ["S AUTH SSL"]
    assert play.server("334 go") == ["StartTls"]


def test_a_reply_between_auth_and_tls_ends_it() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    play.server("234 go")
    assert play.server("230 logged in already")[0] == "refused bytes_after_auth"


def test_120_is_waited_out() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    assert play.server("120 in a minute") == []
    assert play.server("220 hello") == ["S AUTH TLS"]


@pytest.mark.parametrize("greeting", ["421 too many", "530 not you", "500 ?"])
def test_a_refused_session_is_refused_in_the_servers_words(greeting: str) -> None:
    play = Play()
    play.happens(Connected(SERVER))
    orders = play.server(greeting)
    assert orders[0] == "refused greeting_refused"
    assert greeting[4:] in orders[1]


def test_prot_after_the_login_where_the_server_wants_that() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    play.server("234 go")
    play.happens(Secured())
    assert play.server("530 log in first") == ["S PROT P"]
    assert play.server("530 log in first") == ["C 220 FTP service ready."]
    play.client("USER bob")
    play.server("331 password")
    play.client("PASS x")
    assert play.server("230 in") == ["login bob ok", "S PBSZ 0"]
    assert play.client("PASV") == []  # held: no data connection before PROT P stands
    assert play.server("200 ok") == ["S PROT P"]
    assert play.server("200 ok") == ["C 230 in", "DropEndpoints", "S EPSV"]


def test_a_server_without_prot_p_gets_no_session() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    play.server("234 go")
    play.happens(Secured())
    play.server("530 log in first")
    play.server("530 log in first")
    play.client("USER bob")
    play.server("230 in")
    play.server("200 ok")
    orders = play.server("536 not supported")
    assert orders[0] == "S QUIT"
    assert orders[1] == "refused prot_refused"
    assert orders[2].startswith("C 421 ")


def test_a_second_login_says_prot_again() -> None:
    play = Play().logged_in()
    play.client("USER eve")
    assert play.server("230 in") == ["login eve ok", "S PBSZ 0"]
    assert play.server("200 ok") == ["S PROT P"]
    assert play.server("200 ok") == ["C 230 in"]


def test_opts_utf8_before_the_login_is_kept_and_said_again() -> None:
    play = Play().opened()
    assert play.client("OPTS UTF8 ON") == ["S OPTS UTF8 ON"]
    assert play.server("530 log in first") == ["C 200 UTF8 noted."]
    play.client("USER bob")
    assert play.server("230 in") == ["login bob ok", "S OPTS UTF8 ON"]
    assert play.server("200 ok") == ["C 230 in"]


def test_232_means_230_to_a_plain_client() -> None:
    play = Play().opened()
    play.client("USER bob")
    assert play.server("232 your certificate will do") == ["login bob ok", "C 230 Logged in."]


def test_too_many_refused_logins_end_the_session() -> None:
    play = Play(Policy(client=CLIENT, login_attempts=2)).opened()
    for last in (False, True):
        play.client("USER bob")
        play.server("331 password")
        play.client("PASS wrong")
        orders = play.server("530 no")
        assert orders[:2] == ["login bob failed", "C 530 no"]
        assert ("hang up" in orders) is last


def test_a_session_that_logs_in_anew_is_no_stranger() -> None:
    """Its login clock, from the session's start, has long run out."""
    play = Play().logged_in()
    play.client("USER eve")
    assert play.server("331 password") == ["C 331 password"]
    assert play.protocol.waiting is Waiting.CLIENT


def test_refused_logins_count_behind_a_good_one_too() -> None:
    play = Play(Policy(client=CLIENT, login_attempts=2)).logged_in()
    for last in (False, True):
        play.client("PASS wrong")
        assert ("hang up" in play.server("530 no")) is last


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST / HTTP/1.1", "Host: example.com"])
def test_http_is_shown_the_door(line: str) -> None:
    assert Play().opened().client(line) == ["NoteForeign", "hang up"]
