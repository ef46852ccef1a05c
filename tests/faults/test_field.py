"""What the field does: faults reported of gateways, clients and servers like these, played to the running gateway."""

from __future__ import annotations

import contextlib
import ssl
import time

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, DataConnection, Downloaded
from tests.support.bad_server import Control, Fault, Final, Quirks
from tests.support.records import ALERT, CLOSE_NOTIFY, DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED, USER_CANCELED

V1_2 = ssl.TLSVersion.TLSv1_2
JAVA = ((ALERT, USER_CANCELED),)
"""What JSSE says before close_notify in TLS 1.3 (DrFTPD, Apache MINA, many managed file transfer products)."""


def _whole(body: bytes) -> Downloaded:
    return Downloaded(body, "fin")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16384, 300_000])
def test_java_says_user_canceled_before_its_end(stage: Stage, size: int) -> None:
    """RFC 8446 section 6.1 has user_canceled ignored: the close_notify behind it is the end."""
    stage.play(Quirks(asides=JAVA), {b"file": FILE[:size]})
    with stage.logged_in() as client:
        for number in (1, 2):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE[:size], "fin", 226)
            finished = stage.event("transfer.finished", number)
            assert (finished["outcome"], finished["close_notify"]) == ("complete", True)


def test_user_canceled_alone_is_no_end(stages: Stages) -> None:
    """Behind it the connection is cut: what has come is not the file."""
    stage = stages("close_notify_required")
    stage.play(Quirks(asides=JAVA, asides_at=50_000, fault=Fault.FIN, fault_at=60_000))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert downloaded.ended == "reset"
        assert replies[-1].code == 426


ASIDES = {
    "key update": ((HANDSHAKE, KEY_UPDATE),),
    "key update asked for": ((HANDSHAKE, KEY_UPDATE_REQUESTED),),
    "many": ((HANDSHAKE, KEY_UPDATE_REQUESTED), (DATA, b""), (HANDSHAKE, KEY_UPDATE), (ALERT, USER_CANCELED)) * 3,
    "empty records": ((DATA, b""),) * 5,
}


@pytest.mark.parametrize("asides", ASIDES.values(), ids=ASIDES)
def test_tls_messages_in_mid_transfer(stage: Stage, asides: tuple[tuple[int, bytes], ...]) -> None:
    body = FILE * 4
    stage.play(Quirks(asides=asides, asides_at=400_000, control_asides={"PWD": asides}), {b"file": body})
    with stage.logged_in() as client:
        assert client.command("PWD").code == 257
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "fin", 226)
        assert client.upload(body, "up")[-1].code == 226
        assert client.command("PWD").code == 257
    assert stage.server.files[b"up"] == body
    stage.event("transfer.finished", 2)
    assert [event["outcome"] for event in stage.events("transfer.finished")] == ["complete"] * 2


def test_a_server_asks_for_new_keys_while_an_uploading_device_pauses(stage: Stage) -> None:
    stage.play(Quirks(asides=((HANDSHAKE, KEY_UPDATE_REQUESTED),), asides_at=50_000))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE[:60_000])
        stage.server.wait(lambda: stage.server.last.data and stage.server.last.data[0].received == 60_000)
        data.send(FILE[60_000:])
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"up"] == FILE


def test_a_server_renegotiates_while_an_uploading_device_pauses(stage: Stage) -> None:
    """TLS 1.2: it waits for the answer, and the device says nothing until it has got it."""
    stage.play(Quirks(tls_max=V1_2, renegotiate_at=50_000))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("STOR up").code == 150
        data.send(FILE[:60_000])
        stage.server.wait(lambda: stage.server.last.data and stage.server.last.data[0].renegotiations)
        data.send(FILE[60_000:])
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"up"] == FILE


def test_an_alert_in_an_idle_session_is_a_lost_server_and_no_failed_handshake(stage: Stage) -> None:
    """vsftpd ends an idle session so."""
    stage.play(Quirks(alert_after=frozenset({"PWD"})))
    with stage.logged_in() as client:
        assert client.command("PWD").code == 257
        assert client.reply().code == 421
    assert stage.event("session.closed")["detail"].startswith("it ended TLS by an alert")
    assert not stage.events("upstream.failed")


def test_an_alert_behind_an_upload_is_no_success(stage: Stage) -> None:
    """The server could not read the end of it, and says 226 all the same, at once: either may be read first."""
    stage.play(Quirks(asides=((ALERT, bytes([2, 20])),)))  # bad_record_mac
    with stage.logged_in() as client:
        assert {client.upload(b"small", "up")[-1].code for _ in range(40)} == {426}
    stage.event("transfer.finished", 40)
    assert {event["outcome"] for event in stage.events("transfer.finished")} == {"torn"}


def test_a_server_that_ends_its_own_side_at_the_start_of_an_upload(stage: Stage) -> None:
    """Go's CloseWrite, Java's shutdownOutput: in TLS 1.3 that says nothing of the other side (RFC 8446 section 6.1)."""
    stage.play(Quirks(asides=((ALERT, CLOSE_NOTIFY),), asides_at=16384))
    with stage.logged_in() as client:
        assert client.upload(FILE * 5, "up")[-1].code == 226
    assert stage.server.files[b"up"] == FILE * 5


@pytest.mark.parametrize("tls_max", [V1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_an_alert_in_a_data_handshake_spoils_no_session(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """OpenSSL takes a session out of use over it; a server that requires reuse would refuse all that follows."""
    stage.play(Quirks(tls_max=tls_max, alert_in_data_handshake=1, requires_reuse=b"522 session reuse required\r\n"))
    with stage.logged_in() as client:
        assert client.download()[1][-1].code == 425
        for _ in range(3):
            downloaded, replies = client.download()
            assert (downloaded, replies[-1].code) == (_whole(FILE), 226)


@pytest.mark.parametrize("tls_max", [V1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tickets_are_no_speech(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """A verb nobody knows, of a client that waits a moment: the server's tickets come first, and are no download."""
    stage.play(Quirks(extra_upload_verbs=frozenset({"MLFL"}), tls_max=tls_max))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("MLFL box").code == 150
        stage.server.wait(lambda: stage.server.last.data and stage.server.last.data[0].secured)
        assert client.quiet(0.3)
        data.send(FILE)
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"box"] == FILE
    assert stage.event("transfer.finished")["direction"] == "upload"


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", [Control.FIN, Control.RESET, Control.SHUTS_DOWN], ids=lambda control: control.value)
def test_a_server_that_leaves_behind_its_226_does_not_undo_it(stage: Stage, control: Control) -> None:
    """It has said all there is to say, and a slow client still reads from the gateway."""
    body = FILE * 5
    stage.play(Quirks(final_when=Final.EARLY, control=control), {b"file": body})
    with stage.logged_in(receive_buffer=4096) as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        stage.server.wait(lambda: stage.server.last.data[0].sent == len(body) and stage.server.last.ended)
        assert data.read_to_end() == _whole(body)
        assert client.reply().code == 226
        assert client.reply().code == 421
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["bytes"]) == ("complete", len(body))
    assert stage.event("session.closed")["cause"].startswith("server")


# --- addresses, names, verbs ------------------------------------------------------------------------------------------


def test_pasv_in_disguise_goes_through_the_gateway(stage: Stage) -> None:
    """`P@SW`: the server knows it as well, and its own 227 would lead past the gateway, in clear."""
    stage.play(Quirks(replies={"P@SW": b"227 Entering Passive Mode (192,0,2,9,4,1)\r\n"}))
    with stage.logged_in() as client:
        data = client.passive("P@SW")
        assert client.command("STOR up").code == 150
        data.send(FILE)
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"up"] == FILE
    assert "P@SW" not in stage.server.last.verbs()


@pytest.mark.parametrize("command", ["XPASV", "SITE PASV", "STAT", "HELP PASV"])
@pytest.mark.parametrize("reply", [b"227 ok (192,0,2,9,4,1)\r\n", b"229-ok\r\n229 (|||1025|)\r\n"], ids=["227", "229"])
def test_no_passive_reply_of_the_servers_reaches_the_client(stage: Stage, command: str, reply: bytes) -> None:
    stage.play(Quirks(replies={command: reply}))
    with stage.logged_in() as client:
        said = client.command(command)
        assert said.code == 502
        assert b"192" not in said.raw
        assert b"1025" not in said.raw
        assert client.command("PWD").code == 257
    assert stage.event("upstream.reply_ignored")["cause"] == "address"


NAMES = [b"\xff\xf4", b"a\xff", b"\xff\xfb\xffx", b"\xdf\xff\xff\xdf", b"\xff", b" \xff ", b"\xc4\xff\xf0\xff\xff"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_is_bytes(stage: Stage, name: bytes) -> None:
    """Windows-1251 has a letter at 0xFF, and Telnet its commands; RFC 959 has those before a verb only."""
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"STOR " + name + b"\r\n")
        assert client.reply().code == 150
        data.send(FILE)
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[name] == FILE


def test_a_150_to_a_verb_that_carries_no_data_begins_no_transfer(stage: Stage) -> None:
    stage.play(Quirks(replies={"DELE": b"150 working\r\n250 gone\r\n", "XWORK": b"150 working\r\n250 done\r\n"}))
    for command in ("DELE old", "XWORK it"):
        with stage.logged_in() as client:
            data = client.passive("PASV")
            assert client.command(command).code == 150
            assert client.reply().code == 250
            assert client.command("RETR file").code == 150
            assert data.read_to_end() == _whole(FILE)
            assert client.reply().code == 226
    stage.event("transfer.finished", 2)
    assert [event["verb"] for event in stage.events("transfer.finished")] == ["RETR", "RETR"]


# --- codes and events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [b"550 Permission denied.\r\n", b"451 not now\r\n", b"530 no\r\n"], ids=repr)
def test_any_refusal_of_epsv_leads_to_pasv(stage: Stage, refusal: bytes) -> None:
    """vsftpd with `cmds_allowed` says 550."""
    stage.play(Quirks(replies={"EPSV": refusal}))
    with stage.logged_in() as client:
        downloaded, replies = client.download(mode="PASV")
        assert (downloaded, replies[-1].code) == (_whole(FILE), 226)


def test_421_to_one_pasv_is_not_the_end(stages: Stages) -> None:
    """No port is free just then; the server stays."""
    stage = stages("pasv")
    stage.play(Quirks(replies={"PASV": b"421 no port free, try later\r\n"}))
    with stage.logged_in() as client:
        assert client.command("PASV").raw == b"421 no port free, try later\r\n"
        stage.server.quirks = Quirks()
        downloaded, replies = client.download(mode="PASV")
        assert (downloaded, replies[-1].code) == (_whole(FILE), 226)
        assert client.command("QUIT").code == 221
    assert stage.event("data.failed")["side"] == "server"


@pytest.mark.parametrize("answers", [{"PASS": b"220 in\r\n"}, {"USER": b"200 in\r\n"}, {"PASS": b"202 in\r\n"}])
def test_any_2xx_is_a_login(stages: Stages, answers: dict[str, bytes]) -> None:
    """Transfers worked, and then the login timed out."""
    stage = stages("hasty")
    stage.play(Quirks(replies=answers))
    with stage.client() as client:
        if client.command("USER anna").code == 331:
            client.command("PASS open-sesame")
        began = time.monotonic()
        while time.monotonic() - began < 3.5:  # longer than `timeouts.login` there
            assert client.command("NOOP").code == 200
            assert client.quiet(0.5)
    assert stage.event("session.login")["ok"] is True


def test_each_line_of_a_slow_reply_is_a_sign_of_life_and_passed_on(stages: Stages) -> None:
    """Progress of a long command: it takes longer than `timeouts.reply`, its lines do not."""
    stage = stages("hasty")
    reply = b"250-packing\r\n 20 %\r\n 40 %\r\n 60 %\r\n250 packed\r\n"
    stage.play(Quirks(replies={"SITE PACK": reply}, slow_lines={"SITE": 0.8}))
    with stage.logged_in() as client:
        client.send(b"SITE PACK\r\n")
        began = time.monotonic()
        first = client.sock.recv(100)
        assert time.monotonic() - began < 1.5
        assert first.startswith(b"250-packing\r\n")
        assert first + _rest_of(client, len(reply) - len(first)) == reply
        assert client.command("PWD").code == 257


def _rest_of(client: BadClient, size: int) -> bytes:
    return DataConnection(client.sock).read(size)


def test_a_multi_line_reply_that_ends_with_another_code_of_its_class(stage: Stage) -> None:
    """z/OS: nothing comes behind it, so that was the end."""
    stage.play(Quirks(replies={"SITE WHO": b"200-one\r\n250 end\r\n"}))
    with stage.logged_in() as client:
        assert client.command("SITE WHO").raw == b"200-one\r\n200 end\r\n"
        assert client.command("PWD").code == 257


def test_text_between_replies_is_passed_over(stage: Stage) -> None:
    stage.play(
        Quirks(
            greeting=b"Warming up.\r\n\r\n220 ready\r\n",
            replies={"SITE WHO": b"The disk is nearly full.\r\n200 me\r\n", "SYST": b"215_UNIX\r\n"},
        )
    )
    with stage.logged_in() as client:
        assert client.command("SITE WHO").raw == b"200 me\r\n"
        assert client.command("SYST").raw == b"215 _UNIX\r\n"
    stage.event("upstream.reply_ignored", 2)
    told = [event["reply"] for event in stage.events("upstream.reply_ignored")]
    assert told == ["Warming up.", "The disk is nearly full."]


def test_a_data_connection_from_another_address_is_named(fresh_stages: Stages) -> None:
    """A load balancer, a second interface: the client hears who came, and so does the operator."""
    stage = fresh_stages("hasty")
    with stage.logged_in() as client:
        address = client.passive_address("PASV")
        with BadClient(stage.port, local="127.0.0.3") as other:
            with contextlib.suppress(ConnectionResetError):  # as early as in connect, on loopback
                other.dial(address)
            assert client.command("RETR file").code == 150
            said = client.reply()
            assert said.code == 425
            assert b"127.0.0.3" in said.raw
    assert "127.0.0.3" in stage.event("transfer.finished")["detail"]
    told = stage.gateway.wait_for_event("data.stranger")
    assert (told["came_from"], told["port"], told["expected"]) == ("127.0.0.3", address[1], ["127.0.0.1"])


def test_whoever_is_refused_is_in_the_log(stage: Stage) -> None:
    with stage.logged_in() as client:
        for line in ("AUTH TLS", "PROT\tC", "PORT 1,2,3", "EPSV 7", "LPSV"):
            assert client.command(line).code >= 500
    stage.event("command.refused", 5)
    assert [event["verb"] for event in stage.events("command.refused")] == ["AUTH", "", "PORT", "EPSV", "LPSV"]


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("verb", ["LIST", "NLST", "MLSD"])
def test_a_listing_of_nothing_that_has_no_tls_either(stage: Stage, verb: str, end: str) -> None:
    """Go's ftpserverlib: it closes what it has not spoken on."""
    stage.play(Quirks(bare_end=end))
    with stage.logged_in() as client:
        downloaded, replies = client.download("", verb=verb)
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (b"", "fin", 226)
    assert stage.event("upstream.close_notify_missing")["verb"] == verb
    event = stage.event("transfer.finished")
    assert (event["outcome"], event["bytes"], event["close_notify"]) == ("complete", 0, False)


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize(("size", "code"), [(0, 226), (5, 426)])
def test_a_file_without_tls_is_whole_if_its_size_is_nothing(stage: Stage, size: int, code: int, end: str) -> None:
    stage.play(Quirks(bare_end=end), {b"file": b"x" * size})
    with stage.logged_in() as client:
        client.command("TYPE I")
        downloaded, replies = client.download()
        assert (downloaded.ended, replies[-1].code) == ("fin" if code == 226 else "reset", code)
    assert stage.event("transfer.finished")["outcome"] == ("complete" if code == 226 else "torn")


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_an_upload_without_tls_is_none(stage: Stage, end: str) -> None:
    stage.play(Quirks(bare_end=end))
    with stage.logged_in() as client:
        assert client.upload(b"", "up")[-1].code == 425
    assert stage.event("transfer.finished")["outcome"] == "torn"


def test_nothing_without_tls_is_taken_where_close_notify_is_required(stages: Stages) -> None:
    stage = stages("close_notify_required")
    stage.play(Quirks(bare_end="fin"))
    with stage.logged_in() as client:
        downloaded, replies = client.download("", verb="LIST")
        assert (downloaded.ended, replies[-1].code) == ("reset", 425)


def test_a_refusal_that_turns_into_the_beginning_of_a_transfer(stage: Stage) -> None:
    """glftpd tells of a check that has not passed, and goes on."""
    stage.play(Quirks(preliminary=b"553-\r\n553- Directory excluded.\r\n150 Opening\r\n"))
    with stage.logged_in() as client:
        data = client.passive()
        reply = client.command("STOR up")
        assert reply.raw == b"150-\r\n553- Directory excluded.\r\n150 Opening\r\n"
        data.send(FILE)
        data.fin()
        assert client.reply().code == 226
    assert stage.event("transfer.finished")["outcome"] == "complete"


def test_nothing_without_tls_is_whole_before_the_server_says_so(stages: Stages) -> None:
    """It may be silent over a broken download, and so it is asked by ABOR; the log has the cause."""
    stage = stages("brief_abort")
    stage.play(Quirks(bare_end="reset", final_when=Final.NEVER))
    with stage.logged_in() as client:
        downloaded, replies = client.download("", verb="LIST")
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)
        assert client.command("PWD").code == 257
    assert "TLS handshake" in stage.event("transfer.finished")["detail"]


def test_abor_before_the_client_has_come_for_nothing(stage: Stage) -> None:
    stage.play(Quirks(bare_end="fin", final_when=Final.HELD, final=b"426 broken\r\n"))
    with stage.logged_in() as client:
        address = client.passive_address()
        assert client.command("RETR file").code == 150
        client.send(b"ABOR\r\n")
        assert client.reply().code == 426
        with contextlib.suppress(OSError):
            late = client.dial(address)
            assert late.read_to_end().ended == "reset"


def test_a_name_that_the_server_has_made_is_shown_without_the_password(stage: Stage) -> None:
    stage.play(Quirks(preliminary=b"150 FILE: open-sesame.txt\r\n"))
    with stage.logged_in() as client:
        assert client.upload(b"x", "", verb="STOU")[-1].code == 226
    assert stage.event("transfer.finished")["path"] == "***.txt"
