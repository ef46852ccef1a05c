"""The session on paper: commands, data ends, transfers, ABOR, and every way it can end."""

import pytest

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.events import (
    ClientErred,
    ClientListening,
    ClientLost,
    ClientSaid,
    Connected,
    EndpointFailed,
    RelayFinished,
    ServerDataReady,
    ServerListening,
    ServerLost,
    ServerSaid,
    Stopped,
    TimedOut,
    TransferClosed,
)
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import CLIENT, SERVER, Play, reply, show

# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["SITE CHMOD 644 a", "XYZZY", "MFMT 2020 a", "TYPE E", "MODE Z", "REST 100", "HOST a.b"]
)
def test_what_nobody_knows_passes(line: str) -> None:
    play = Play().logged_in()
    assert play.client(line) == [f"S {line}"]
    assert play.server("200-first\n200 last") == ["C 200-first|200 last"]


@pytest.mark.parametrize("verb", ["AUTH TLS", "PBSZ 0", "PROT C", "CCC", "REIN", "SSCN", "CPSV", "LPRT 4", "ADAT x"])
def test_security_verbs_are_answered_here(verb: str) -> None:
    (told,) = Play().logged_in().client(verb)
    assert told.startswith("C 502 ")


def test_pipelined_commands_go_one_by_one() -> None:
    play = Play().logged_in()
    assert play.client("PWD") == ["S PWD"]
    assert play.client("SYST") == []
    assert not play.protocol.hears_client
    assert play.server('257 "/"') == ['C 257 "/"', "S SYST"]
    assert play.protocol.hears_client


def test_old_names_are_tried_under_the_new_one() -> None:
    play = Play().logged_in()
    play.client("XCWD a b")
    assert play.server("500 ?") == ["S CWD a b"]
    assert play.server("250 ok") == ["C 250 ok"]


def test_bad_lines_end_the_session_at_last() -> None:
    play = Play(Policy(client=CLIENT, bad_lines=3)).logged_in()
    assert play.client("RETR a\0b")[0].startswith("C 500 ")
    assert play.happens(ClientErred("line too long"))[0].startswith("C 500 ")
    assert play.happens(ClientErred("line too long"))[-1] == "hang up"


def test_what_the_server_says_unasked_is_not_taken_for_an_answer() -> None:
    play = Play().logged_in()
    assert play.server("226 by the way") == []
    play.client("PWD")
    assert play.server('257 "/"') == ['C 257 "/"']


# --- data ends --------------------------------------------------------------------------------------------------------


def test_epsv_falls_back_to_pasv_and_remembers() -> None:
    play = Play().logged_in()
    assert play.client("EPSV") == ["DropEndpoints", "S EPSV"]
    assert play.server("500 ?") == ["DropEndpoints", "S PASV"]
    assert play.server("227 (10,1,2,3,8,0)") == ["ignored 10.1.2.3", "connect pasv 2048"]
    assert play.happens(ServerDataReady()) == ["ListenForClient"]
    assert play.happens(ClientListening(Endpoint("10.0.0.1", 3000))) == [
        "C 229 Entering Extended Passive Mode (|||3000|)"
    ]
    assert play.client("EPSV") == ["DropEndpoints", "S PASV"]


def test_a_dead_epsv_port_falls_back_too() -> None:
    play = Play().logged_in()
    play.client("PASV")
    play.server("229 (|||2000|)")
    assert play.happens(EndpointFailed("refused", Cause.REFUSED)) == ["DropEndpoints", "S PASV"]


@pytest.mark.parametrize("mode", ["epsv", "pasv"])
def test_a_fixed_mode_has_no_fallback(mode: str) -> None:
    play = Play(Policy(client=CLIENT, data_mode=mode)).logged_in()
    assert play.client("PASV") == ["DropEndpoints", f"S {mode.upper()}"]
    assert play.server("500 ?") == ["DropEndpoints", "C 500 ?"]
    assert play.protocol.idle


@pytest.mark.parametrize(
    ("mode", "said"), [("port", "S PORT 203,0,113,1,8,1"), ("eprt", "S EPRT |1|203.0.113.1|2049|")]
)
def test_an_active_upstream(mode: str, said: str) -> None:
    play = Play(Policy(client=CLIENT, data_mode=mode)).logged_in()
    assert play.client("PORT 10,0,0,7,8,1") == ["DropEndpoints", f"listen for server {mode}"]
    assert play.happens(ServerListening(Endpoint("203.0.113.1", 2049))) == [said]
    assert play.server("200 ok") == ["client at 10.0.0.7:2049", "C 200 PORT command successful."]


def test_a_port_below_1024_from_the_server_is_refused() -> None:
    play = Play().logged_in()
    play.client("PASV")
    orders = play.server("229 (|||25|)")
    assert orders[0] == "DropEndpoints"
    assert orders[1].startswith("C 425 ")


def test_the_servers_no_is_passed_on() -> None:
    play = Play().logged_in()
    play.client("PASV")
    assert play.server("530 log in first") == ["DropEndpoints", "S PASV"]
    assert play.server("530 log in first") == ["DropEndpoints", "C 530 log in first"]


@pytest.mark.parametrize(
    "line",
    [
        "PORT 10,0,0,8,8,1",
        "PORT 10,0,0,7,0,25",
        "EPRT |1|192.0.2.1|2000|",
        "EPRT |1|10.0.0.7|80|",
        "PORT 127,0,0,1,8,1",
    ],
)
def test_no_bounce(line: str) -> None:
    orders = Play().logged_in().client(line)
    assert orders[0] == "limit bounce"
    assert orders[1].startswith("C 500 ")


def test_epsv_all_binds_the_client() -> None:
    play = Play().logged_in()
    assert play.client("EPSV ALL") == ["C 200 EPSV ALL ok."]
    for line in ("PASV", "PORT 10,0,0,7,8,1", "EPRT |1|10.0.0.7|2000|"):
        assert play.client(line)[0].startswith("C 501 ")
    assert play.client("EPSV") == ["DropEndpoints", "S EPSV"]


def test_epsv_of_the_other_family() -> None:
    assert Play().logged_in().client("EPSV 2") == ["C 522 Network protocol not supported, use (1)."]
    assert Play().logged_in().client("EPSV 1") == ["DropEndpoints", "S EPSV"]


# --- transfers --------------------------------------------------------------------------------------------------------


def test_the_final_reply_waits_for_the_data() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.server("226 done") == []
    assert play.ended(1) == ["end 1 whole complete", "C 226 done"]
    assert play.protocol.idle


def test_the_data_waits_for_the_final_reply() -> None:
    play = Play().logged_in().transfer("STOR a")
    assert play.ended(1) == []
    assert play.protocol.waiting is Waiting.VERDICT
    assert play.server("226 done") == ["end 1 whole complete", "C 226 done"]


def test_torn_bytes_turn_226_into_426_whichever_is_first() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.ended(1, "cut") == []
    assert play.server("226 done") == ["end 1 torn torn", "C 426 Transfer failed: cut."]
    play.transfer("STOR a", 2)
    assert play.server("226 done") == []
    assert play.ended(2, "cut") == ["end 2 torn torn", "C 426 Transfer failed: cut."]


def test_a_download_broken_by_the_client_before_its_close_is_torn() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.ended(1)
    play.broken = "the client broke the data connection before its end"
    assert play.server("226 done") == [
        "end 1 whole complete",
        "C 426 Transfer failed: the client broke the data connection before its end.",
    ]
    assert play.protocol.idle


def test_between_a_transfers_end_and_its_close_nothing_is_answered() -> None:
    protocol = Play().logged_in().transfer("RETR a").protocol
    protocol.handle(RelayFinished(1, True))
    assert [show(order) for order in protocol.handle(ServerSaid(reply("226 done")))] == ["end 1 whole complete"]
    for event in (
        ServerSaid(reply("426 late")),
        RelayFinished(1, False, 426, "late"),
        TransferClosed(7),
        ClientSaid(Command(b"ABOR")),
        TimedOut(),
    ):
        assert protocol.handle(event) == []
    orders = [show(order) for order in protocol.handle(TransferClosed(1))]
    assert orders == ["C 226 done", "S ABOR"]  # held until then


def test_an_upload_lost_behind_its_end_is_torn() -> None:
    play = Play().logged_in().transfer("STOR a")
    play.ended(1)
    play.ended(1, "reset with bytes not taken")
    assert play.server("226 done")[0] == "end 1 torn torn"


def test_a_refusal_ends_the_data_at_once() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.server("550 gone") == ["end 1 torn torn", "C 550 gone"]
    assert play.ended(1) == []
    play.transfer("STOR a", 2)


def test_a_refusal_instead_of_150() -> None:
    play = Play().logged_in().passive()
    play.client("RETR a")
    assert play.server("550 no such file") == ["drop server's end, refused", "C 550 no such file"]
    # A second try over the same port (Netscape 4 does it); the server has closed its own by now.
    assert play.client("RETR b") == ["S EPSV"]
    assert play.server("229 ok (|||2001|)") == ["connect epsv 2001"]
    assert play.happens(ServerDataReady()) == ["S RETR b"]
    assert play.server("150 here") == ["begin 1 download", "C 150 here"]


def test_a_3xx_completes_nothing() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.ended(1) == []
    assert play.server("350 go on") == ["end 1 torn torn", "C 451 The server answered 350 go on"]


def test_a_missing_resumption_is_noted() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.server("522 SSL connection failed; session reuse required")[0] == "NoteReuseRefused"


def test_226_without_150_still_needs_its_data() -> None:
    play = Play().logged_in().passive()
    play.client("LIST")
    assert play.server("226 done") == ["begin 1 download"]
    assert play.ended(1) == ["end 1 whole complete", "C 226 done"]


@pytest.mark.parametrize("mode", ["MODE B", "mode c"])
@pytest.mark.parametrize("command", ["RETR a", "STOR a"])
def test_in_band_modes_end_without_a_close(mode: str, command: str) -> None:
    play = Play().logged_in()
    play.client(mode)
    play.server("200 ok")
    play.transfer(command)
    assert play.server("250 done") == ["in band 1"]
    assert play.protocol.waiting is Waiting.DATA
    assert play.ended(1) == ["end 1 whole complete", "C 250 done"]
    # Data that ended by a close needs no second way to end; one that broke is torn.
    play.transfer(command, 2)
    play.ended(2)
    assert play.server("226 done") == ["end 2 whole complete", "C 226 done"]
    play.transfer(command, 3)
    play.server("226 done")
    assert play.ended(3, "cut") == ["end 3 torn torn", "C 426 Transfer failed: cut."]


def test_in_band_without_150() -> None:
    play = Play().logged_in()
    play.client("MODE B")
    play.server("200 ok")
    play.passive()
    play.client("LIST")
    assert play.server("226 done") == ["begin 1 download", "in band 1"]


def test_a_refused_mode_and_mode_s_change_nothing() -> None:
    play = Play().logged_in()
    play.client("MODE B")
    play.server("504 no")
    play.transfer("RETR a")
    assert play.server("226 done") == []
    play.ended(1)
    for mode in ("MODE B", "MODE S"):
        play.client(mode)
        play.server("200 ok")
    play.transfer("RETR a", 2)
    assert play.server("226 done") == []


def test_noop_and_stat_in_mid_transfer_are_answered_here_and_the_rest_waits() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.client("NOOP") == ["C 200 NOOP ok."]
    assert play.client("STAT") == ["status 1"]
    assert play.client("QUIT") == []
    play.ended(1)
    assert play.server("226 done") == ["end 1 whole complete", "C 226 done", "S QUIT"]
    assert play.server("221 bye") == ["C 221 bye", "hang up"]


# --- ABOR -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"), [("426 torn", "C 426 torn"), ("226 finished", "C 426 Transfer aborted."), ("451 x", "C 451 x")]
)
def test_abor_resets_the_data_and_takes_the_servers_one_reply(answer: str, told: str) -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.client("ABOR") == ["end 1 torn aborted"]
    assert play.ended(1, "reset") == []
    assert play.server(answer) == [told, "C 226 Abort successful."]
    assert play.protocol.idle
    play.transfer("RETR b", 2)


def test_abor_behind_the_servers_226() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.server("226 done")
    assert play.client("ABOR") == ["end 1 torn aborted", "C 426 Transfer aborted.", "C 226 Abort successful."]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (["426 torn", "226 aborted", "257 here"], ["C 426 torn", "C 226 aborted"]),
        (["426 torn", "225 nothing", "257 here"], ["C 426 torn", "C 225 nothing"]),
        (["226 finished", "225 nothing", "257 here"], ["C 426 Transfer aborted.", "C 225 nothing"]),
        (["226 aborted", "257 here"], ["C 426 Transfer aborted.", "C 226 Abort successful."]),
        (["426 torn", "500 ABOR?", "257 here"], ["C 426 torn", "C 226 Abort successful."]),
    ],
)
def test_a_server_that_does_not_notice_is_told_abor_however_it_answers(answers: list[str], told: list[str]) -> None:
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    assert play.happens(TimedOut()) == ["S ABOR"]
    heard = [order for answer in answers for order in play.server(answer)]
    assert [order for order in heard if order.startswith("C ")] == told
    assert [order for order in heard if order.startswith("S ")] == ["S PWD"]
    assert play.protocol.idle
    play.transfer("RETR b", 2)


def test_abor_twice() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    assert play.client("ABOR") == []
    assert play.server("426 torn") == ["C 426 torn", "C 226 Abort successful.", "S ABOR"]
    assert play.server("225 nothing") == ["C 225 nothing"]


@pytest.mark.parametrize("answers", [["226 abor ok", "257 here"], ["426 late", "225 nothing", "257 here"]])
def test_a_server_that_says_nothing_of_a_torn_transfer_is_roused(answers: list[str]) -> None:
    """Pure-FTPd, when its download breaks. The client hears one reply, and the session goes on."""
    play = Play().logged_in().transfer("RETR a")
    assert play.ended(1, "cut") == []
    assert play.protocol.waiting is Waiting.TORN
    assert play.happens(TimedOut()) == ["end 1 torn torn", "S ABOR"]
    heard = [order for answer in answers for order in play.server(answer)]
    told = "C 426 Transfer failed: cut" + ("; the server said 426 late" if answers[0].startswith("426") else ".")
    assert heard == [told, "S PWD"]
    play.transfer("RETR b", 2)


def test_abor_with_nothing_to_abort_passes() -> None:
    play = Play().logged_in()
    assert play.client("ABOR") == ["S ABOR"]
    assert play.server("225 nothing") == ["C 225 nothing"]


def test_a_server_that_never_answers_abor_is_left() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    assert play.protocol.waiting is Waiting.ABORT
    assert play.happens(TimedOut()) == ["S ABOR"]
    assert play.happens(TimedOut())[-1] == "hang up"


# --- ends -------------------------------------------------------------------------------------------------------------


def test_the_client_leaves() -> None:
    assert Play().logged_in().happens(ClientLost("")) == ["S QUIT", "hang up"]


def test_the_client_leaves_in_mid_upload() -> None:
    play = Play().logged_in().transfer("STOR a")
    assert play.happens(ClientLost("reset")) == ["end 1 torn torn", "hang up"]


def test_the_client_leaves_behind_its_upload() -> None:
    play = Play().logged_in().transfer("STOR a")
    assert play.happens(ClientLost("", data_left=True)) == []
    assert play.ended(1) == []
    assert play.server("226 done") == ["end 1 whole complete", "C 226 done", "S QUIT", "hang up"]


def test_the_client_leaves_behind_its_upload_before_150() -> None:
    play = Play().logged_in().passive()
    play.client("STOR a")
    assert play.happens(ClientLost("", data_left=True)) == []
    assert play.server("150 here")[0] == "begin 1 upload"


def test_a_client_gone_before_a_refusal_is_not_waited_for() -> None:
    play = Play().logged_in().passive()
    play.client("STOR a")
    play.happens(ClientLost("", data_left=True))
    assert play.server("550 no")[-1] == "hang up"


def test_the_server_leaves_in_mid_transfer() -> None:
    play = Play().logged_in().transfer("RETR a")
    orders = play.happens(ServerLost("reset"))
    assert orders[0] == "end 1 torn torn"
    assert orders[1].startswith("C 426 ")
    assert orders[2].startswith("C 421 ")
    assert orders[3] == "hang up"


def test_quit_of_a_server_that_just_closes() -> None:
    play = Play().logged_in()
    play.client("QUIT")
    assert play.happens(ServerLost("")) == ["C 221 Goodbye.", "hang up"]


def test_no_verdict_in_time_is_never_a_success() -> None:
    play = Play().logged_in().transfer("STOR a")
    play.ended(1)
    orders = play.happens(TimedOut())
    assert orders[:2] == ["limit final_reply_timeout", "end 1 torn torn"]
    assert orders[2].startswith("C 426 ")
    assert orders[-1] == "hang up"


@pytest.mark.parametrize(("logged_in", "code"), [(True, "421"), (False, "421")])
def test_idle_and_login_have_an_end(logged_in: bool, code: str) -> None:
    play = Play().logged_in() if logged_in else Play().opened()
    assert play.protocol.waiting is (Waiting.CLIENT if logged_in else Waiting.LOGIN)
    orders = play.happens(TimedOut())
    assert f"C {code}" in orders[-2][:5]
    assert orders[-1] == "hang up"


def test_a_silent_server_while_opening() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    assert play.happens(TimedOut())[0] == "refused timeout"


def test_the_gateway_stops() -> None:
    orders = Play().logged_in().happens(Stopped("The gateway is shutting down."))
    assert orders == ["S QUIT", "C 421 The gateway is shutting down.", "hang up"]


def test_a_150_makes_no_transfer_of_quit() -> None:
    play = Play().logged_in().passive()
    play.client("QUIT")
    assert play.server("150 here") == ["C 150 here"]
    assert play.happens(ServerLost("reset")) == ["C 221 Goodbye.", "hang up"]
