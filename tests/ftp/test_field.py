"""What the field does: codes taken by their class, events that only the connection tells, verdicts that stand."""

import pytest

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.events import (
    ClientListening,
    ClientLost,
    Connected,
    DataSpoke,
    EndpointFailed,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerLost,
    ServerRefused,
    ServerSaid,
    ServerSaidLines,
    Stopped,
    TimedOut,
    TransferClosed,
)
from ftpsproxy.ftp.orders import FinishTransfer
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.ftp.waiting import Waiting
from tests.ftp.play import SERVER, Play, reply

SPOKE = DataSpoke()
LISTENING = ClientListening(Endpoint("10.0.0.1", 3000))

# --- a code is its class ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["200 in", "202 not needed", "220 welcome", "230 in", "231 in", "250 in"])
@pytest.mark.parametrize("verb", ["USER bob", "PASS secret", "ACCT x"])
def test_any_2xx_is_a_login(verb: str, answer: str) -> None:
    play = Play().opened()
    if verb.startswith("ACCT"):
        play.client("PASS secret")
        play.server("332 account")
    play.client(verb)
    assert play.server(answer)[-1] == f"C {answer}"
    assert play.protocol.waiting is Waiting.CLIENT


def test_a_transfer_proves_a_login_whatever_was_said_to_it() -> None:
    play = Play().opened()
    play.client("PASS x")
    play.server("350 hm")
    play.transfer("RETR a")
    play.ended(1)
    play.server("226 done")
    assert play.protocol.waiting is Waiting.CLIENT


@pytest.mark.parametrize("answer", ["200 go", "234 go", "250 go", "334 go", "235-a\n235 b"])
def test_any_good_answer_to_auth_starts_tls(answer: str) -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    assert play.server(answer) == ["StartTls"]


@pytest.mark.parametrize("answer", ["421 x", "425 x", "450 x", "500 x", "522 x", "530 x", "550 x", "553 x", "350 x"])
def test_any_refusal_of_epsv_leads_to_pasv(answer: str) -> None:
    quirks = UpstreamQuirks()
    play = Play(quirks=quirks).logged_in()
    play.client("PASV")
    assert play.server(answer) == ["DropEndpoints", "S PASV"]
    assert play.noted[-1].startswith(f"server epsv not_offered: EPSV: {answer}")
    assert not quirks.no_epsv
    assert play.server("227 ok (192,0,2,1,8,1)") == ["connect pasv 2049"]
    play.happens(ServerDataReady())
    assert quirks.no_epsv is answer.startswith("5")  # what is refused for now may work the next time


def test_epsv_is_not_forgotten_where_pasv_does_no_better() -> None:
    quirks = UpstreamQuirks()
    play = Play(quirks=quirks).logged_in()
    play.client("PASV")
    play.server("502 no")
    assert play.server("502 no") == ["DropEndpoints", "C 502 no"]
    assert not quirks.no_epsv
    assert play.noted[-1] == "server pasv not_offered: PASV: 502 no"


@pytest.mark.parametrize("words", ["(127,0,0,1,146,195)", "no (|||4000|)", "227 192,0,2,1,8,1"])
@pytest.mark.parametrize("ask", ["PASV", "EPSV"])
def test_no_address_reaches_the_client_in_a_refusal(ask: str, words: str) -> None:
    play = Play().logged_in()
    play.client(ask)
    play.server("502 no")
    refusal = "C 530 The server refuses, in words that hold an address."
    assert play.server(f"530 {words}") == ["DropEndpoints", refusal]
    assert play.noted[-1] == f"server pasv not_offered: PASV: 530 {words}"


@pytest.mark.parametrize("refusal", ["500 what", "501 what", "502 no", "504 no"])
def test_an_old_verb_is_said_anew_whatever_it_is_refused_with(refusal: str) -> None:
    play = Play().logged_in()
    play.client("XPWD")
    assert play.server(refusal) == ["S PWD"]


@pytest.mark.parametrize("code", [200, 211, 214])
def test_feat_with_another_code_promises_no_tls_either(code: int) -> None:
    play = Play().logged_in()
    play.client("FEAT")
    (told,) = play.server(f"{code}-Features\n AUTH TLS\n{code}-PROT\n SIZE\n{code} end")
    assert "AUTH" not in told
    assert "PROT" not in told
    assert " SIZE" in told


@pytest.mark.parametrize(
    "said",
    [
        ["426 broken off", "226 aborted", "257 here"],
        ["426 broken off", "226 twice", "225 thrice", "257 here"],
        ["426 broken off", "500 ABOR?", "257 here"],
        ["425 no connection", "502 ABOR?", "257 here"],
        ["502 ABOR?", "226 was over", "257 here"],
        ["226 was over", "200 aborted", "257 here"],
        ["226 was over", "257 here"],
    ],
)
def test_the_answers_behind_abor_are_told_apart(said: list[str]) -> None:
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    play.happens(TimedOut())  # the server says nothing to the reset: ABOR is asked
    for text in said[:-1]:
        play.server(text)
        assert not play.protocol.idle
    play.server(said[-1])
    assert play.protocol.idle


def test_a_server_that_knows_no_pwd_costs_a_moment_and_no_session() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.client("ABOR")
    play.happens(TimedOut())
    play.server("226 aborted")
    play.server("500 PWD?")
    assert not play.protocol.idle
    assert play.happens(TimedOut()) == ["C 226 Abort successful."]
    assert play.protocol.idle


@pytest.mark.parametrize("first", ["150 here", "425 no", "226 done"])
def test_abor_before_the_first_reply_waits_for_it(first: str) -> None:
    """vsftpd and Pure-FTPd end the session over a data connection that is reset before its handshake."""
    play = Play().logged_in().passive()
    play.client("LIST")
    assert play.client("ABOR") == []
    if first.startswith("1"):
        assert play.server(first) == ["begin 1 download", "end 1 torn aborted"]
        assert play.server("426 broken off") == ["C 426 broken off", "C 226 Abort successful."]
    else:
        told = f"C {first}" if first.startswith("4") else "C 426 Transfer aborted."
        assert play.server(first) == ["DropEndpoints", told, "C 226 Abort successful."]
    assert play.protocol.idle


def test_abor_before_a_first_reply_that_never_comes() -> None:
    play = Play().logged_in().passive()
    play.client("LIST")
    assert play.client("ABOR") == []
    assert play.happens(TimedOut()) == ["DropEndpoints", "S ABOR"]
    assert play.server("225 nothing") == ["C 426 Transfer aborted.", "S PWD"]
    assert play.server("257 here") == ["C 226 Abort successful."]


@pytest.mark.parametrize("code", [220, 221, 230, 257])
def test_what_answers_something_else_is_no_verdict(code: int) -> None:
    play = Play().logged_in().transfer("STOR a")
    play.ended(1)
    assert play.server(f"{code} hm")[0] == "end 1 torn torn"


@pytest.mark.parametrize("verb", ["STOR a", "RETR a", "LIST"])
def test_nothing_is_whole_without_a_data_connection_of_ours(verb: str) -> None:
    play = Play().logged_in()
    play.client(verb)
    assert play.server("150 here") == ["C 150 here"]
    (told,) = play.server("226 done")
    assert told.startswith("C 425 ")
    assert play.noted[-1].startswith(f"no transfer {verb[:4]}: 425")


def test_a_login_by_another_verb_is_one() -> None:
    """SITE AUTH of Tumbleweed, with a client certificate."""
    play = Play().opened()
    play.client("SITE AUTH")
    assert play.server("230 in") == ["login  ok", "C 230 in"]
    assert play.protocol.waiting is Waiting.CLIENT


def test_a_login_once_more_that_is_refused_for_being_one_is_no_attempt() -> None:
    play = Play().logged_in()
    for _ in range(20):
        play.client("USER bob")
        assert play.server("503 logged in already") == ["C 503 logged in already"]


def test_the_first_reply_to_a_transfer_may_take_as_long_as_the_last() -> None:
    play = Play().logged_in().passive()
    play.client("RETR tape")
    assert play.protocol.waiting is Waiting.START


def test_noop_and_stat_behind_a_transfer_command_keep_abor_heard() -> None:
    play = Play().logged_in().passive()
    play.client("RETR a")
    for line in ("NOOP", "STAT", "NOOP"):
        assert play.client(line) == []  # 200 would be taken for the answer to RETR
        assert play.protocol.hears_client
    assert play.server("150 go") == [
        "begin 1 download",
        "C 150 go",
        "C 200 NOOP ok.",
        "status 1",
        "C 200 NOOP ok.",
    ]
    assert play.client("PWD") == []
    assert play.protocol.hears_client
    assert play.client("NOOP") == []  # in turn
    assert play.client("ABOR") == ["end 1 torn aborted"]


def test_noop_behind_a_transfer_that_is_refused() -> None:
    play = Play().logged_in().passive()
    play.client("RETR a")
    play.client("NOOP")
    assert play.server("550 no") == ["drop server's end, refused", "C 550 no", "S NOOP"]


def test_no_more_lines_are_held_in_a_transfer_than_a_few() -> None:
    play = Play().logged_in().passive()
    play.client("RETR a")
    held = 0
    while play.protocol.hears_client:
        play.client("PWD")
        held += 1
    assert held == 8


def said(text: str, read: int) -> ServerSaid:
    return ServerSaid(reply(text), read)


def test_a_reply_that_was_there_before_the_command_is_no_answer_to_it() -> None:
    """Two final replies to one command, and the next one is sent behind the first."""
    play = Play().logged_in()
    play.client("CWD a")
    assert play.client("DELE b") == []
    assert play.happens(said("250 there", 7)) == ["C 250 there", "S DELE b"]
    assert play.happens(said("250 once more", 7)) == []
    assert play.happens(said("550 no b", 8)) == ["C 550 no b"]
    assert play.noted == ["ignored 250 once more: it was there before anybody had asked", "deleted b: 550"]


def test_a_greeting_of_two_replies_answers_no_auth() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    assert play.happens(said("220 one", 1)) == ["S AUTH TLS"]
    assert play.happens(said("220 two", 1)) == []
    assert play.happens(said("220 three", 2)) == []
    assert play.happens(said("234 go", 3)) == ["StartTls"]


def test_a_greeting_behind_explicit_tls_is_somebody_elses() -> None:
    play = Play()
    play.happens(Connected(SERVER))
    play.server("220 hello")
    play.server("234 go")
    play.happens(Secured())
    assert play.server("220 the real one")[0] == "refused greeted_twice"


@pytest.mark.parametrize("line", ["GET file", "PUT file", "DELETE file", "HEAD x"])
def test_http_is_foreign_before_a_login_only(line: str) -> None:
    (told,) = Play().logged_in().client(line)
    assert told.startswith("C 502 ")
    assert Play().opened().client(line)[-1] == "hang up"


@pytest.mark.parametrize("line", ["USER bob\r", "USER bob\r\r", "\rUSER bob", "\0USER bob"])
def test_odd_line_endings_are_no_part_of_a_line(line: str) -> None:
    assert Play().opened().client(line) == ["S USER bob"]


# --- 421 is a code; the end is the connection's -----------------------------------------------------------------------


def test_421_to_pasv_is_heard_and_the_session_goes_on() -> None:
    play = Play().logged_in()
    play.client("PASV")
    assert play.server("421 no port free") == ["DropEndpoints", "S PASV"]
    assert play.server("421 no port free") == ["DropEndpoints", "C 421 no port free"]
    play.client("PWD")
    assert play.server("257 here") == ["C 257 here"]


def test_421_and_then_the_end_is_said_once() -> None:
    play = Play().logged_in()
    play.client("PWD")
    assert play.server("421 leaving") == ["C 421 leaving"]
    assert play.happens(ServerLost("closed by the server")) == ["hang up"]


def test_421_in_idle_is_said_when_the_server_goes() -> None:
    play = Play().logged_in()
    assert play.server("421 idle") == []
    assert play.happens(ServerLost("closed by the server")) == ["C 421 idle", "hang up"]


def test_421_in_idle_of_a_server_that_stays_answers_nothing() -> None:
    play = Play().logged_in()
    assert play.server("421 idle") == []
    play.client("PWD")
    assert play.server("257 here") == ["C 257 here"]


def test_421_in_mid_transfer_tears_it() -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.server("421 leaving") == ["end 1 torn torn", "C 421 leaving"]
    assert play.happens(ServerLost("closed by the server")) == ["hang up"]


def test_421_while_the_bytes_come_tears_an_upload_that_has_no_verdict() -> None:
    play = Play().logged_in().transfer("STOR a")
    assert play.happens(ServerLost("closed"))[0] == "end 1 torn torn"


# --- a verdict stands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leaving", "goodbye"),
    [
        ([ServerLost("closed")], "C 421 Connection to the server lost: closed."),
        ([ServerRefused("protocol_error", "it broke the protocol")], "C 421 Service not available: "),
        ([ServerSaid(Reply(421, (b"421 idle",))), ServerLost("closed")], "C 421 idle"),
    ],
)
@pytest.mark.parametrize("closing", [False, True])
def test_a_server_that_leaves_behind_its_verdict_undoes_nothing(
    leaving: list[Event], goodbye: str, closing: bool
) -> None:
    play = Play().logged_in().transfer("RETR a")
    assert play.server("226 done") == []
    if closing:  # the bytes are in, and a slow client still takes them
        (end,) = play.protocol.handle(RelayFinished(1, True))
        assert isinstance(end, FinishTransfer)
    for event in leaving:
        assert play.happens(event) == []
    if closing:
        orders = play.happens(TransferClosed(1))
    else:
        orders = play.ended(1)
        assert orders.pop(0) == "end 1 whole complete"
    assert orders.pop(0) == "C 226 done"
    assert goodbye in " ".join(orders)
    assert orders[-1] == "hang up"


def test_a_server_that_leaves_behind_its_verdict_makes_nothing_whole() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.server("226 done")
    play.happens(ServerLost("closed"))
    orders = play.ended(1, "the data is cut")
    assert orders[:2] == ["end 1 torn torn", "C 426 Transfer failed: the data is cut."]
    assert orders[-1] == "hang up"


def test_an_early_226_does_not_save_an_upload_whose_server_is_lost() -> None:
    play = Play().logged_in().transfer("STOR a")
    play.server("226 done")
    assert play.happens(ServerLost("closed"))[0] == "end 1 torn torn"


def test_a_client_that_leaves_while_its_download_is_closed_is_waited_for() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.server("226 done")
    play.protocol.handle(RelayFinished(1, True))
    assert play.happens(ClientLost("closed")) == []
    assert play.happens(TransferClosed(1)) == ["C 226 done", "S QUIT", "hang up"]


def test_who_must_stop_now_stops_now() -> None:
    play = Play().logged_in().transfer("RETR a")
    play.server("226 done")
    play.protocol.handle(RelayFinished(1, True))
    assert play.happens(Stopped("The gateway stops.", now=True))[-1] == "hang up"


# --- what is in no table ----------------------------------------------------------------------------------------------


def test_pasv_in_disguise_is_pasv() -> None:
    play = Play().logged_in()
    assert play.client("P@SW") == ["DropEndpoints", "S EPSV"]
    play.server("229 ok (|||2000|)")
    play.happens(ServerDataReady())
    assert play.happens(LISTENING) == ["C 227 Entering Passive Mode (10,0,0,1,11,184)"]


@pytest.mark.parametrize("answer", ["227 ok (192,0,2,9,4,1)", "228 x (192.0.2.9,1025)", "229 ok (|||1025|)"])
@pytest.mark.parametrize("command", ["XPASV", "SITE PASV", "PWD", "RETR a", "STOR a"])
def test_no_address_of_the_servers_reaches_the_client(command: str, answer: str) -> None:
    play = Play().logged_in()
    play.client(command)
    told = play.server(answer)[-1]
    assert told.startswith("C 502 ")
    assert "192" not in told
    assert play.noted[0].startswith(f"ignored {answer}")


@pytest.mark.parametrize(
    "line", ["PROT\tC", "PASV\t", "PORT\t10,0,0,7,4,1", "PROT\x0bC", "PROT\x0cC", "PROT\xa0C", "A-B"]
)
def test_a_verb_is_letters(line: str) -> None:
    play = Play().logged_in()
    (told,) = play.client(line)
    assert told.startswith("C 500 ")
    assert play.noted[-1].startswith("refused : ")


def test_a_byte_order_mark_is_no_part_of_a_verb() -> None:
    assert Play().opened().client("\xef\xbb\xbfUSER bob") == ["S USER bob"]


@pytest.mark.parametrize("name", [" a", "a ", "\ta", "gr\xfc\xdfe", "a\xff\xf4\xff\xffb", "  "])
def test_the_bytes_of_a_name_are_nobodys_to_change(name: str) -> None:
    play = Play().logged_in()
    assert play.client(f"stor {name}") == [f"S STOR {name}"]


# --- 1xx --------------------------------------------------------------------------------------------------------------


def test_a_verb_that_carries_no_data_begins_no_transfer() -> None:
    play = Play().logged_in().passive()
    play.client("DELE a")
    assert play.server("150 working") == ["C 150 working"]
    assert play.server("250 gone") == ["C 250 gone"]
    play.client("RETR b")
    assert play.server("150 here") == ["begin 1 download", "C 150 here"]


def test_an_unknown_verb_begins_one_when_its_data_connection_speaks() -> None:
    play = Play().logged_in().passive()
    play.client("XLIST")
    assert play.server("150 here") == ["ProbeData", "C 150 here"]
    assert play.happens(SPOKE) == ["begin 1 unknown"]
    play.ended(1)
    assert play.server("226 done") == ["end 1 whole complete", "C 226 done"]


def test_an_unknown_verb_that_is_none_keeps_the_endpoints() -> None:
    play = Play().logged_in().passive()
    play.client("XWORK")
    assert play.server("150 working") == ["ProbeData", "C 150 working"]
    assert play.server("150 still working") == ["C 150 still working"]
    assert play.server("250 worked") == ["StopProbing", "C 250 worked"]
    assert play.happens(SPOKE) == []
    play.client("RETR b")
    assert play.server("150 here") == ["begin 1 download", "C 150 here"]


def test_abor_of_an_unknown_verb_that_may_be_a_transfer() -> None:
    play = Play().logged_in().passive()
    play.client("XLIST")
    play.server("150 here")
    assert play.client("ABOR") == ["DropEndpoints", "S ABOR"]


# --- a reply of many lines --------------------------------------------------------------------------------------------


def lines(code: int, *text: str) -> ServerSaidLines:
    return ServerSaidLines(code, tuple(line.encode() for line in text))


def test_each_line_of_a_long_command_is_passed_on_as_it_comes() -> None:
    play = Play().logged_in()
    play.client("SITE PACK")
    assert play.happens(lines(250, "250-one", " two")) == ["C+ 250-one| two"]
    assert play.happens(lines(250, " three")) == ["C+  three"]
    assert play.server("250-one\n two\n three\n four\n250 done") == ["C  four|250 done"]


@pytest.mark.parametrize("command", ["FEAT", "PASS x", "RETR a", "XPWD", "QUIT"])
def test_what_may_be_changed_is_passed_on_as_a_whole(command: str) -> None:
    play = Play().logged_in()
    play.client(command)
    assert play.happens(lines(211, "211-one")) == []


def test_lines_that_nobody_asked_for_are_not_passed_on() -> None:
    assert Play().logged_in().happens(lines(250, "250-one")) == []


# --- refusals are told ------------------------------------------------------------------------------------------------


def test_whoever_is_refused_is_in_the_log() -> None:
    play = Play().logged_in()
    for line in ("AUTH TLS", "PORT 1,2", "EPSV 9", "EPRT |1|x|"):
        play.client(line)
    assert [note.partition(":")[0] for note in play.noted] == [
        "refused AUTH", "refused PORT", "refused EPSV", "refused EPRT",
    ]  # fmt: skip


def test_a_data_connection_that_can_not_be_had_is_in_the_log() -> None:
    play = Play().logged_in()
    play.client("PASV")
    play.server("229 ok (|||2000|)")
    play.happens(EndpointFailed("192.0.2.1 port 2000: no answer", Cause.NO_ANSWER, 2000))
    play.server("227 ok (192,0,2,1,8,1)")
    failed = EndpointFailed("192.0.2.1 port 2049: no answer", Cause.NO_ANSWER, 2049)
    assert play.happens(failed)[-1].startswith("C 425 ")
    assert play.noted == [
        "server epsv no_answer: 192.0.2.1 port 2000: no answer; PASV is tried",
        "server pasv no_answer: no data connection to the server: 192.0.2.1 port 2049: no answer",
    ]


def test_our_own_want_of_a_port_is_in_the_log() -> None:
    play = Play().logged_in()
    play.client("PASV")
    play.server("229 ok (|||2000|)")
    play.happens(ServerDataReady())
    assert play.happens(EndpointFailed("all ports are in use", Cause.NO_PORT))[-1].startswith("C 425 ")
    assert play.noted == ["client passive no_port: no passive port here: all ports are in use"]
