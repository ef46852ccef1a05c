"""Transfers that are refused, broken off or given up before they begin, and what is left of them at the server."""

import pytest

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.events import ClientListening, EndpointsUnused, ServerLost, ServerSaid, TimedOut
from ftpsproxy.ftp.orders import BeginTransfer
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import CLIENT, Play, reply

LISTENING = ClientListening(Endpoint("10.0.0.1", 3000))


def refused_once() -> Play:
    """The client's end still stands, the server's is to be asked for anew."""
    play = Play().logged_in().passive()
    play.client("STOR a")
    assert play.server("550 no") == ["drop server's end, refused", "C 550 no"]
    return play


def test_a_rest_that_no_transfer_has_followed_is_taken_back() -> None:
    """Or the next file would begin there, and be called whole."""
    play = refused_once()
    play.client("REST 100")
    play.server("350 ok")
    assert play.client("STOR a") == ["S EPSV"]
    play.server("502 no")
    assert play.server("502 no") == ["S REST 0"]
    assert play.server("350 ok")[-1] == "C 425 No data connection to the server: 502 no"
    assert play.noted[-1].startswith("no transfer STOR: 425")
    assert play.client("NOOP") == ["S NOOP"]


def test_a_rest_before_a_pret_that_is_refused() -> None:
    play = Play(quirks=UpstreamQuirks(needs_pret=True)).logged_in()
    play.client("PASV")
    play.happens(LISTENING)
    play.client("REST 100")
    play.server("350 ok")
    assert play.client("STOR a") == ["S PRET STOR a"]
    assert play.server("553 no") == ["S REST 0"]
    assert play.server("350 ok") == ["drop server's end, refused", "C 553 no"]
    assert play.noted[-1] == "no transfer STOR: 553 no"


def test_a_rest_before_abor() -> None:
    play = refused_once()
    play.client("REST 100")
    play.server("350 ok")
    play.client("STOR a")
    assert play.client("ABOR") == ["S REST 0", "DropEndpoints", "S ABOR"]
    assert play.server("502 no") == ["C 502 no", "S PWD"]  # EPSV
    play.server("350 ok")
    play.server("226 ok")
    assert play.server("257 here") == ["C 226 ok"]


def test_what_abor_has_dropped_serves_no_other_transfer() -> None:
    """The server would empty a file for it."""
    play = refused_once()
    play.client("STOR a")
    play.client("ABOR")
    for text in ("502 no", "226 ok", "257 here"):
        play.server(text)
    assert play.client("STOR c") == ["S STOR c"]  # as the client says it: it has no data connection
    assert play.server("425 none") == ["C 425 none"]


@pytest.mark.parametrize("early", ["200 ok", "202 ok", "225 open"])
def test_what_is_said_before_a_transfer_begins_is_no_verdict_on_it(early: str) -> None:
    """ftplib passes over a 200 before the 150, too: some servers say one."""
    play = Play().logged_in().passive()
    play.client("STOR a")
    assert play.server(early) == []
    assert play.noted[-1] == f"ignored {early}: a transfer ends by 226 or 250"
    assert play.server("150 go") == ["begin 1 upload", "C 150 go"]
    assert play.ended(1) == []
    assert play.server("452 disk full") == ["end 1 torn torn", "C 452 disk full"]


def test_nor_is_226_where_150_follows_it() -> None:
    play = Play().logged_in().passive()
    play.client("STOR a")
    assert play.server("226 ok") == ["begin 1 upload"]
    assert play.server("150 go") == ["C 150 go"]
    assert play.ended(1) == []
    assert play.server("452 disk full") == ["end 1 torn torn", "C 452 disk full"]


def test_a_name_that_the_server_has_made_is_the_path() -> None:
    """RFC 1123 section 4.1.2.9."""
    play = Play().logged_in().passive()
    play.client("STOU")
    orders = play.protocol.handle(ServerSaid(reply("150 FILE: report.0017")))
    begin = next(order for order in orders if isinstance(order, BeginTransfer))
    assert begin.transfer.path == "report.0017"


@pytest.mark.parametrize(
    ("verb", "refusal", "of_tls"),
    [
        ("RETR resume.pdf", "550 resume.pdf: No such file", False),
        ("RETR a", "551 Can't resume upload", False),
        ("RETR tls-resume.pdf", "450 tls-resume.pdf: locked", False),
        ("RETR a", "425 Unable to build data connection: TLS session of data connection not resumed.", True),
        ("RETR a", "522 SSL connection failed; session reuse required", True),
        ("RETR s", "522 SSL connection failed; session reuse required", True),
        ("RETR s", "425 TLS session of data connection not resumed.", True),
    ],
)
def test_what_is_said_about_a_file_is_not_about_tls(verb: str, refusal: str, of_tls: bool) -> None:
    play = Play().logged_in().passive()
    play.client(verb)
    assert ("NoteReuseRefused" in play.server(refusal)) is of_tls


def test_an_offset_of_thousands_of_digits() -> None:
    play = Play().logged_in().passive()
    play.client("TYPE I")
    play.server("200 ok")
    play.client("REST " + "9" * 5000)
    play.server("350 ok")
    assert play.client("RETR a") == ["S RETR a"]


def test_a_server_that_says_too_much_may_do_so_for_weeks() -> None:
    """Two final replies to each transfer: the bound is one for each command."""
    play = Play().logged_in()
    for _ in range(300):
        play.client("PWD")
        play.server("257 /")
        assert play.server("257 / again") == []


def test_epsv_without_an_answer_is_named_and_the_next_session_asks_for_pasv() -> None:
    quirks = UpstreamQuirks()
    play = Play(quirks=quirks).logged_in()
    play.client("PASV")
    assert play.happens(TimedOut()) == [
        "limit reply_timeout",
        "C 421 The server does not answer EPSV.",
        "hang up",
    ]
    assert quirks.no_epsv


def test_epsv_that_costs_the_connection() -> None:
    quirks = UpstreamQuirks()
    play = Play(quirks=quirks).logged_in()
    play.client("PASV")
    lost = play.happens(ServerLost("reset"))
    assert lost == ["C 421 Connection to the server lost over EPSV: reset.", "hang up"]
    assert quirks.no_epsv


def test_pasv_is_not_given_up_for_want_of_an_answer() -> None:
    quirks = UpstreamQuirks()
    play = Play(Policy(client=CLIENT, data_mode="pasv"), quirks).logged_in()
    play.client("PASV")
    assert "C 421 The server does not answer PASV." in play.happens(TimedOut())
    assert not quirks.no_epsv


@pytest.mark.parametrize("verb", ["XCRC a", "HASH a", "RNTO b", "SITE CPTO b"])
def test_what_takes_long_may_take_as_long_as_a_transfers_verdict(verb: str) -> None:
    play = Play().logged_in()
    play.client(verb)
    assert play.protocol.waiting is Waiting.START


def test_a_port_that_is_given_up_is_said_so() -> None:
    play = Play().logged_in().passive()
    assert play.happens(EndpointsUnused(absent=True)) == ["DropEndpoints"]
    assert play.noted[-1] == "client passive never_came: nobody came to the passive port, and it is given up"


def test_a_network_protocol_that_nobody_speaks() -> None:
    """RFC 2428 section 2."""
    play = Play().logged_in()
    assert play.client("EPRT |3|10.0.0.7|5000|") == ["C 522 Network protocol not supported, use (1,2)."]
