"""TLS sessions: every data connection resumes the newest session of its control connection, or says it could not."""

from __future__ import annotations

import dataclasses
import ssl

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Fault, Quirks

VSFTPD = b"522 SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page\r\n"
REFUSALS = {
    "vsftpd": VSFTPD,
    "proftpd": b"425 Unable to build data connection: Operation not permitted\r\n",
    "filezilla": b"425 Unable to build data connection: TLS session of data connection not resumed.\r\n",
    "bitvise": b"425 TLS session for the data connection was not resumed from the control connection\r\n",
}
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("tls_max", "tickets"), [(V1_3, True), (V1_2, True), (V1_2, False)], ids=["1.3", "1.2-tickets", "1.2-session-ids"]
)
def test_twenty_transfers_in_a_server_that_requires_reuse(stage: Stage, tls_max: ssl.TLSVersion, tickets: bool) -> None:
    """U1, U2, U3, U4, U34: downloads and uploads mixed; tickets are good for this control connection only."""
    stage.play(Quirks(requires_reuse=VSFTPD, tls_max=tls_max, tickets=tickets))
    with stage.logged_in() as client:
        for number in range(10):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
            assert client.upload(FILE[:50_000], f"up{number}")[-1].code == 226
    assert [data.resumed for data in stage.server.last.data] == [True] * 20
    assert all(event["resumed"] is True for event in stage.events("transfer.finished"))


@pytest.mark.parametrize("server", REFUSALS)
def test_a_refusal_for_want_of_reuse(stage: Stage, server: str) -> None:
    """U1, U2, U3, U4: the server gives no sessions and requires them, after its 150."""
    stage.play(Quirks(requires_reuse=REFUSALS[server], tickets=False))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert downloaded.ended == "reset"
        assert replies[-1].raw == REFUSALS[server]
        assert client.upload(FILE, "up")[-1].code == replies[-1].code
        assert client.command("PWD").code == 257
    finished = stage.event("transfer.finished")
    assert finished["outcome"] in ("torn", "refused")
    if server != "proftpd":  # whose words do not say why
        assert stage.event("upstream.session_reuse_refused")["reply"]


def test_a_refusal_for_want_of_reuse_before_the_150(stage: Stage) -> None:
    """U1."""
    stage.play(Quirks(replies={"RETR": VSFTPD}))
    with stage.logged_in() as client:
        _, replies = client.download()
        assert [reply.code for reply in replies] == [522]
    assert stage.event("upstream.session_reuse_refused")


def test_a_server_without_sessions(stage: Stage) -> None:
    """U32: where nothing can be resumed and nobody asks for it, every data connection is verified by itself."""
    stage.play(Quirks(tickets=False))
    with stage.logged_in() as client:
        for _ in range(3):
            assert client.download()[0].data == FILE
    assert [data.resumed for data in stage.server.last.data] == [False] * 3
    assert stage.event("transfer.finished")["resumed"] is False


def test_reuse_may_be_required_by_the_gateway(stages: Stages) -> None:
    """data_session_reuse = "require": a data connection that is not the control connection's kin is refused."""
    stage = stages("reuse_required")
    stage.play(Quirks(tickets=False))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended) == (b"", "reset")
        assert replies[-1].code >= 400
        stage.server.quirks = Quirks()
    assert stage.event("transfer.finished")["outcome"] == "torn"


def test_required_reuse_is_satisfied_by_it(stages: Stages) -> None:
    stage = stages("reuse_required")
    with stage.logged_in() as client:
        for _ in range(3):
            assert client.download()[0].data == FILE


def test_a_server_that_forgot_its_sessions(stage: Stage) -> None:
    """U9: a session that has expired over there costs a full handshake, not a transfer."""
    stage.play(Quirks(forget_sessions_after=2))
    with stage.logged_in() as client:
        for _ in range(4):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
    assert [data.resumed for data in stage.server.last.data] == [True, True, False, False]


def test_a_server_that_forgot_its_sessions_and_requires_them(stage: Stage) -> None:
    """U9: its refusal is passed on and logged; no silent retry of a transfer."""
    stage.play(Quirks(forget_sessions_after=1, requires_reuse=VSFTPD))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (b"", "reset", 522)
    assert stage.event("upstream.session_reuse_refused")


@pytest.mark.parametrize("tls_max", [V1_2, V1_3], ids=["1.2", "1.3"])
def test_a_server_whose_sessions_expire_once(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """U9: a lifetime that ends, or keys that change: one full handshake, then the new session is the one offered."""
    stage.play(Quirks(new_sessions_after=2, tls_max=tls_max))
    with stage.logged_in() as client:
        for _ in range(5):
            downloaded, replies = client.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
    assert [data.resumed for data in stage.server.last.data] == [True, True, False, True, True]


@pytest.mark.parametrize("tls_max", [V1_2, V1_3], ids=["1.2", "1.3"])
def test_data_connections_are_like_their_control_connection(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """U34: servers refuse a session taken up with another version or cipher."""
    stage.play(Quirks(requires_same_tls=VSFTPD, requires_reuse=VSFTPD, tls_max=tls_max))
    with stage.logged_in() as client:
        for number in range(4):
            assert client.download()[0].data == FILE
            assert client.upload(FILE[:5000], f"up{number}")[-1].code == 226
    seen = stage.server.last
    assert {(data.version, data.cipher) for data in seen.data} == {(seen.version, seen.cipher)}
    secured = stage.event("upstream.secured")
    for event in stage.events("transfer.finished"):
        assert (event["tls_version"], event["cipher"]) == (secured["tls_version"], secured["cipher"])


def test_refusals_again_and_again_have_a_hint(fresh_stages: Stages) -> None:
    """U32: servers whose TLS 1.3 sessions do not work. One refusal is no pattern, and a success ends it."""
    stage = fresh_stages("default")
    refusing = Quirks(requires_reuse=VSFTPD, tickets=False)
    with stage.logged_in() as client:
        stage.server.quirks = refusing
        stage.server.quirks = Quirks(replies={"RETR": VSFTPD})
        for _ in range(2):
            client.download()
        stage.server.quirks = Quirks()
        assert client.download()[0].data == FILE
        stage.server.quirks = Quirks(replies={"RETR": VSFTPD})
        for _ in range(2):
            client.download()
    stage.play(refusing)
    for _ in range(2):  # it is a matter of the server, not of one session
        with stage.logged_in() as client:
            client.download()
    stage.event("upstream.session_reuse_refused", 6)
    hints = [event.get("hint") for event in stage.events("upstream.session_reuse_refused")]
    assert hints[:4] == [None] * 4
    assert all(hint and 'tls_max = "1.2"' in hint for hint in hints[4:])


def test_no_hint_where_tls_1_2_is_spoken_already(stages: Stages) -> None:
    stage = stages("tls_1_2_only")
    stage.play(Quirks(requires_reuse=VSFTPD, tickets=False))
    stage.server.quirks = Quirks(replies={"RETR": VSFTPD})
    with stage.logged_in() as client:
        for _ in range(5):
            client.download()
    stage.event("upstream.session_reuse_refused", 5)
    assert not any("hint" in event for event in stage.events("upstream.session_reuse_refused"))


@pytest.mark.parametrize("tls_max", [V1_2, V1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.FIN, Fault.CUT_RECORD, Fault.CORRUPT, Fault.ALERT])
@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_a_broken_data_connection_costs_no_session(
    stage: Stage, verb: str, fault: Fault, tls_max: ssl.TLSVersion
) -> None:
    """Its TLS never said an end, and OpenSSL would take its session out of use; vsftpd then refuses all that follow."""
    good = Quirks(requires_reuse=VSFTPD, tls_max=tls_max)
    stage.play(dataclasses.replace(good, fault=fault, fault_at=50_000, final=b"451 disk\r\n"))
    with stage.logged_in() as client:
        for _ in range(2):
            if verb == "RETR":
                assert client.download()[1][-1].code >= 400
            else:
                before = len(stage.server.last.data)
                data = client.passive()
                assert client.command("STOR up").code == 150
                data.send(FILE[:40_000])
                stage.server.wait(lambda: stage.server.last.data[before].received >= 40_000)  # noqa: B023
                if fault in (Fault.CUT_RECORD, Fault.CORRUPT):
                    data.reset()  # uploads are not broken so: by the client, then
                else:
                    data.send(FILE[40_000:100_000])
                assert client.reply().code >= 400
        stage.server.quirks = good
        for number in range(3):
            assert client.download()[0].data == FILE
            assert client.upload(FILE[:50_000], f"up{number}")[-1].code == 226
    assert all(data.resumed for data in stage.server.last.data)


def test_sessions_are_not_shared_between_control_connections(stage: Stage) -> None:
    """U2: each server session here has tickets of its own, as ProFTPD since 1.3.7."""
    stage.play(Quirks(requires_reuse=VSFTPD))
    with stage.logged_in() as one, stage.logged_in() as two:
        for _ in range(3):
            for client in (one, two):
                assert client.download()[0].data == FILE
    for seen in stage.server.sessions:
        assert [data.resumed for data in seen.data] == [True] * 3


def test_tls_max_1_2(stages: Stages) -> None:
    """U32: the setting for servers whose TLS 1.3 is broken."""
    stage = stages("tls_1_2_only")
    stage.play(Quirks(requires_reuse=VSFTPD))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
        assert client.upload(FILE, "up")[-1].code == 226
    assert stage.server.last.version == "TLSv1.2"
    assert [data.version for data in stage.server.last.data] == ["TLSv1.2"] * 2
    assert stage.event("upstream.secured")["tls_version"] == "TLSv1.2"


def test_a_server_that_renegotiates(stage: Stage) -> None:
    """U10: TLS 1.2 servers do it after so many bytes; whoever writes has to go on reading for it."""
    body = FILE * 20
    stage.play(Quirks(tls_max=V1_2, renegotiate_at=1_000_000), {b"file": body})
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (len(downloaded.data), downloaded.ended, replies[-1].code) == (len(body), "fin", 226)
        assert downloaded.data == body
        assert client.upload(body, "up")[-1].code == 226
    assert stage.server.files[b"up"] == body
    assert [data.renegotiations for data in stage.server.last.data] == [1, 1]
