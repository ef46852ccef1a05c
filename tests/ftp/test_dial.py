"""A server is reached when its client has something to say to it, and not before."""

import pytest

from ftpsproxy.ftp.events import (
    Accepted,
    ClientErred,
    ClientLost,
    Connected,
    Secured,
    ServerLost,
    ServerRefused,
    Stopped,
    TimedOut,
    TurnedAway,
)
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import CLIENT, SERVER, Play

POLICY = Policy(client=CLIENT, greet_first=True)
EXPIRED = ServerRefused("certificate", "its certificate has expired")
WHY = "Service not available: its certificate has expired."
GREETING = ["C 220 FTP service ready."]


def greeted() -> Play:
    play = Play(POLICY)
    assert play.happens(Accepted()) == GREETING
    assert play.protocol.waiting is Waiting.LOGIN
    assert play.protocol.hears_client
    return play


def opened(play: Play) -> list[str]:
    """Through the opening, which the client hears nothing of → what is ordered at its end."""
    assert play.happens(Connected(SERVER)) == []
    assert play.server("220 hello") == ["S AUTH TLS"]
    assert play.server("234 go") == ["StartTls"]
    assert play.happens(Secured()) == ["S PBSZ 0"]
    assert play.server("200 ok") == ["S PROT P"]
    return play.server("200 ok")


def test_the_greeting_waits_for_the_server_where_it_is_reached_at_once() -> None:
    play = Play()
    assert play.happens(Accepted()) == ["Dial"]
    assert not play.protocol.hears_client
    assert opened(play) == GREETING


@pytest.mark.parametrize(
    "said", ["USER bob", "FEAT", "OPTS UTF8 ON", "HOST a.example", "PASV", "SITE x", "XYZZY", "STAT"]
)
def test_the_first_command_for_the_server_waits_for_it(said: str) -> None:
    play = greeted()
    assert play.client(said) == ["Dial"]
    assert play.protocol.waiting is Waiting.OPENING
    assert not play.protocol.hears_client
    assert play.protocol.owes_replies
    assert opened(play) == (["DropEndpoints", "S EPSV"] if said == "PASV" else [f"S {said}"])


def test_what_is_answered_here_needs_no_server() -> None:
    play = greeted()
    assert play.client("AUTH TLS")[0].startswith("C 502 ")
    assert play.client("NOOP") == ["C 200 NOOP ok."]
    assert play.client("PROT P")[0].startswith("C 502 ")
    assert play.client("GET / HTTP/1.1") == ["NoteForeign", "hang up"]


def test_bad_lines_reach_nobody() -> None:
    play = greeted()
    for _ in range(POLICY.bad_lines - 1):
        assert play.happens(ClientErred("no command")) == ["C 500 Not understood: no command."]
    assert play.happens(ClientErred("no command"))[-1] == "hang up"


def test_a_probe_that_says_quit() -> None:
    assert greeted().client("QUIT") == ["C 221 Goodbye.", "hang up"]


def test_a_probe_that_leaves() -> None:
    assert greeted().happens(ClientLost("")) == ["hang up"]


def test_a_client_that_never_says_anything() -> None:
    assert greeted().happens(TimedOut()) == ["limit login_timeout", "C 421 Login timed out.", "hang up"]


def test_the_gateway_stops_before_it_has_said_anything() -> None:
    assert greeted().happens(Stopped("Bye.")) == ["C 421 Bye.", "hang up"]


def test_a_refusal_is_the_reply_to_user() -> None:
    play = greeted()
    play.client("USER bob")
    assert play.happens(EXPIRED) == ["refused certificate", "LeaveServer", f"C 530 {WHY}", "hang up"]
    assert not play.protocol.hears_client


def test_whoever_asks_for_something_else_first_hears_it_in_answer_to_user_as_well() -> None:
    """lftp says FEAT first, and takes a refusal for a server that knows no FEAT."""
    play = greeted()
    play.client("FEAT")
    assert play.happens(EXPIRED) == ["refused certificate", "LeaveServer", f"C 530 {WHY}"]
    assert play.protocol.waiting is Waiting.LOGIN
    assert play.client("AUTH TLS")[0].startswith("C 502 ")
    assert play.client("OPTS UTF8 ON") == [f"C 530 {WHY}"]
    assert play.client("NOOP") == ["C 200 NOOP ok."]
    assert play.client("USER bob") == [f"C 530 {WHY}", "hang up"]


def test_what_a_useless_server_still_says_is_not_heard() -> None:
    play = greeted()
    play.client("FEAT")
    play.happens(Connected(SERVER))
    play.server("220 hello")
    assert play.server("502 no TLS")[0] == "refused auth_refused"
    assert play.server("230 logged in") == []
    assert play.happens(ServerLost("closed")) == []
    assert play.client("PASV")[0].startswith("C 530 ")
    assert play.client("QUIT") == ["C 221 Goodbye.", "hang up"]


def test_a_server_that_refuses_its_greeting() -> None:
    play = greeted()
    play.client("USER bob")
    play.happens(Connected(SERVER))
    assert play.server("421 Too many connections")[-2].startswith("C 421 Service not available: the server refuses")


def test_no_place_is_the_reply_to_user() -> None:
    play = greeted()
    play.client("USER bob")
    assert play.happens(TurnedAway("queue", "no place")) == [
        "NoteTurnedAway",
        "C 421 Service not available: no place.",
        "hang up",
    ]


def test_who_leaves_while_the_server_is_reached() -> None:
    play = greeted()
    play.client("USER bob")
    assert play.happens(ClientLost("")) == ["hang up"]


def test_settings_that_have_changed_meanwhile_count() -> None:
    play = greeted()
    play.client("USER bob")
    play.protocol.serve_by(Policy(client=CLIENT, implicit=True, greet_first=True), UpstreamQuirks())
    assert play.happens(Connected(SERVER)) == []
    assert play.server("220 hello") == ["S PBSZ 0"]
    assert play.server("200 ok") == ["S PROT P"]
    assert play.server("200 ok") == ["S USER bob"]


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("first", [True, False], ids=["greeted", "not-greeted"])
def test_who_was_greeted_is_not_greeted_again_whatever_settings_say_now(first: bool, refused: bool) -> None:
    """And who was not, is."""
    play = Play(Policy(client=CLIENT, greet_first=first))
    play.happens(Accepted())
    if first:
        play.client("USER bob")
    play.protocol.serve_by(Policy(client=CLIENT, greet_first=not first), UpstreamQuirks())
    if refused:
        assert play.happens(EXPIRED)[-2] == (f"C 530 {WHY}" if first else f"C 421 {WHY}")
    else:
        assert opened(play) == (["S USER bob"] if first else GREETING)


def test_what_was_refused_on_the_way_is_no_farewell() -> None:
    """PROT P, which an implicit server may refuse, and AUTH TLS where AUTH SSL is taken."""
    play = Play(Policy(client=CLIENT, implicit=True, greet_first=True))
    play.happens(Accepted())
    play.client("USER bob")
    play.happens(Connected(SERVER))
    for said in ("220 hello", "503 no", "534 no"):
        play.server(said)
    assert play.happens(ServerLost("closed"))[-2] == "C 421 Connection to the server lost: closed."
    play = Play(Policy(client=CLIENT, auth=("TLS", "SSL"), greet_first=True))
    play.happens(Accepted())
    play.client("USER bob")
    play.happens(Connected(SERVER))
    for said in ("220 hello", "431 no", "234 go"):
        play.server(said)
    assert play.happens(EXPIRED)[-2] == f"C 530 {WHY}"


def test_a_server_that_is_full_is_said_so() -> None:
    play = greeted()
    play.client("FEAT")
    play.happens(Connected(SERVER))
    assert play.server("421 Too many connections")[1].startswith("C 421 ")
    assert not play.protocol.hears_client


def test_the_rest_of_the_session_is_as_ever() -> None:
    play = greeted()
    play.client("USER bob")
    assert opened(play) == ["S USER bob"]
    assert play.server("331 password") == ["C 331 password"]
    assert play.client("PASS secret") == ["S PASS secret"]
    assert play.server("230 in") == ["login bob ok", "C 230 in"]
    play.transfer("RETR a")
