"""How the data connection to the server is made: all spellings of 227 and 229, fallbacks, active mode, the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import Downloaded
from tests.support.bad_server import Quirks


def _assert_transfers_work(stage: Stage) -> None:
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
        assert client.upload(FILE, "up")[-1].code == 226
    assert stage.server.files[b"up"] == FILE
    assert all(data.secured and data.ended == "close_notify" for data in stage.server.last.data)


@pytest.mark.parametrize(
    "reply",
    [
        "229 ok (!!!{port}!)\r\n",
        "229 (|||{port}|)\r\n",
        "229 Entering Extended Passive Mode |||{port}|\r\n",
        "229-first\r\n229 Entering Extended Passive Mode (|||{port}|)\r\n",
        "227 Entering Passive Mode (127,0,0,1,{p1},{p2})\r\n",
    ],
    ids=["ibm", "bare", "no-parentheses", "multi-line", "227-to-epsv"],
)
def test_replies_to_epsv(stages: Stages, reply: str) -> None:
    """U15."""
    stage = stages("epsv")
    stage.play(Quirks(passive={"EPSV": reply}))
    _assert_transfers_work(stage)
    assert "PASV" not in stage.server.last.verbs()


@pytest.mark.parametrize(
    "reply",
    [
        "227 Entering Passive Mode (127,0,0,1,{p1},{p2}).\r\n",
        "227 Entering Passive Mode 127,0,0,1,{p1},{p2}\r\n",
        "227 =127,0,0,1,{p1},{p2}\r\n",
        "227 Entering Passive Mode (127, 0, 0, 1, {p1}, {p2})\r\n",
        "227 Entering Passive Mode (127,0,0,1,{p1},{n2})\r\n",
        "227-look:\r\n227 Entering Passive Mode (127,0,0,1,{p1},{p2})\r\n",
        "229 Entering Extended Passive Mode (|||{port}|)\r\n",
    ],
    ids=["dot", "no-parentheses", "equals", "spaces", "negative", "multi-line", "229-to-pasv"],
)
def test_replies_to_pasv(stages: Stages, reply: str) -> None:
    """U15, U17."""
    stage = stages("pasv")
    stage.play(Quirks(passive={"PASV": reply}))
    _assert_transfers_work(stage)
    assert "EPSV" not in stage.server.last.verbs()


@pytest.mark.parametrize("host", ["10,9,8,7", "192,168,0,1", "0,0,0,0", "224,0,0,1", "169,254,169,254", "127,0,0,2"])
def test_the_address_in_a_227_is_ignored(stages: Stages, host: str) -> None:
    """U5, U13, U14: data goes to the control connection's peer (CVE-2020-8284), and the log says so."""
    stage = stages("pasv")
    stage.play(Quirks(passive={"PASV": f"227 Entering Passive Mode ({host},{{p1}},{{p2}})\r\n"}))
    _assert_transfers_work(stage)
    if host == "0,0,0,0":
        assert not stage.events("upstream.address_ignored")  # it means "the same host"
    else:
        ignored = stage.event("upstream.address_ignored")
        assert ignored["reply_host"] == host.replace(",", ".")
        assert ignored["server_address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("profile", "verb", "reply"),
    [
        ("pasv", "PASV", "227 Entering Passive Mode (127,0,0,1,0,22)\r\n"),
        ("pasv", "PASV", "227 Entering Passive Mode (127,0,0,1,0,0)\r\n"),
        ("epsv", "EPSV", "229 Entering Extended Passive Mode (|||1023|)\r\n"),
        ("epsv", "EPSV", "229 Entering Extended Passive Mode (|||0|)\r\n"),
        ("epsv", "EPSV", "229 Entering Extended Passive Mode (|||99999|)\r\n"),
        ("pasv", "PASV", "227 I would rather not\r\n"),
        ("pasv", "PASV", "227 (1,2,3)\r\n"),
    ],
)
def test_useless_ports_are_refused(stages: Stages, profile: str, verb: str, reply: str) -> None:
    """Ports of services (below 1024) and nonsense: a plain 425, and the session goes on."""
    stage = stages(profile)
    stage.play(Quirks(passive={verb: reply}))
    with stage.logged_in() as client:
        for mode in ("PASV", "EPSV"):
            assert client.command(mode).code == 425
        stage.server.quirks = Quirks()
        assert client.download()[0].data == FILE


@pytest.mark.parametrize(
    "refusal",
    ["500 what?\r\n", "502 no\r\n", "522 only (2)\r\n", "229 (|||{dead}|)\r\n"],
    ids=["500", "502", "522", "dead-port"],
)
def test_epsv_falls_back_to_pasv_and_that_is_remembered(fresh_stages: Stages, refusal: str) -> None:
    """U16: not known, or promised and not reachable."""
    stage = fresh_stages("default")
    stage.play(Quirks(passive={"EPSV": refusal}))
    _assert_transfers_work(stage)
    assert stage.server.last.verbs().count("EPSV") == 1
    _assert_transfers_work(stage)  # a second session
    assert "EPSV" not in stage.server.last.verbs()


def test_epsv_ports_behind_a_silent_firewall(fresh_stages: Stages) -> None:
    """U16: no answer at all. It costs `connect` once, and no other session."""
    stage = fresh_stages("hasty")
    stage.play(Quirks(passive={"EPSV": "229 (|||{deaf}|)\r\n"}))
    _assert_transfers_work(stage)
    assert stage.server.last.verbs().count("EPSV") == 1
    _assert_transfers_work(stage)
    assert "EPSV" not in stage.server.last.verbs()


@pytest.mark.parametrize("verb", ["EPSV", "PASV"])
def test_both_refused(fresh_stages: Stages, verb: str) -> None:
    """The server's own refusal reaches the client."""
    stage = fresh_stages("default")
    stage.play(Quirks(replies={"EPSV": b"500 no EPSV\r\n", "PASV": b"425 no PASV either\r\n"}))
    with stage.logged_in() as client:
        reply = client.command(verb)
        assert reply.code == 425
        assert "no PASV either" in reply.text
        assert client.command("PWD").code == 257


@pytest.mark.parametrize("profile", ["eprt", "port"])
@pytest.mark.parametrize("mode", ["EPSV", "PASV", "PORT", "EPRT"])
def test_active_mode_upstream(stages: Stages, profile: str, mode: str) -> None:
    """The server calls, and TLS keeps its roles: the gateway is the TLS client."""
    stage = stages(profile)
    with stage.logged_in() as client:
        downloaded, replies = client.download(mode=mode)
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
        assert client.upload(FILE, "up", mode=mode)[-1].code == 226
    assert stage.server.files[b"up"] == FILE
    assert profile.upper() in stage.server.last.verbs()
    finished = stage.event("transfer.finished")
    assert finished["upstream_mode"].upper() == profile.upper()
    assert finished["client_mode"].upper() in (mode, "ACTIVE" if mode in ("PORT", "EPRT") else "PASSIVE")


@pytest.mark.parametrize("profile", ["eprt", "port"])
def test_active_mode_refused(stages: Stages, profile: str) -> None:
    stage = stages(profile)
    stage.play(Quirks(replies={profile.upper(): b"500 not through this firewall\r\n"}))
    with stage.logged_in() as client:
        assert client.command("EPSV").code == 500
        assert client.command("PWD").code == 257


def test_data_comes_from_the_same_address_as_control(stage: Stage) -> None:
    """U23: servers check it."""
    _assert_transfers_work(stage)
    assert {data.peer for data in stage.server.last.data} == {stage.server.last.peer[0]}


@pytest.mark.parametrize("pair", ["wrong_host", "self_signed", "unknown_authority", "expired"])
def test_the_data_connections_certificate_is_checked_too(stage: Stage, pair: str) -> None:
    """U25: against the control connection's host name. No resumption here, so that a certificate is shown at all."""
    bad = getattr(stage.certificates, pair)
    stage.play(Quirks(tickets=False, data_certificate=(bad.certificate_file, bad.key_file)))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended) == (b"", "reset")
        assert replies[-1].code >= 400
        assert client.upload(FILE, "up")[-1].code >= 400
    assert stage.server.files.get(b"up", b"") == b""
    assert stage.event("transfer.finished")["outcome"] == "torn"


def _waiting_at(port: int) -> list[int]:
    """Bytes that have come on each connection to a local port, read or not even accepted (proc(5), net/tcp)."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues = line.split()[:5]
        if int(local.rpartition(":")[2], 16) == port and state == "01":
            found.append(int(queues.rpartition(":")[2], 16))
    return found


def test_the_data_handshake_waits_for_the_command(stage: Stage) -> None:
    """U11: nothing but TCP before the transfer command was sent; then the TLS handshake, and nothing else."""
    stage.play(Quirks())
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("NOOP").code == 200
        assert _waiting_at(stage.server.passive_port) == [0]
        client.send(b"RETR file\r\n")
        assert client.reply().code == 150
        assert data.read_to_end().data == FILE
        assert client.reply().code == 226
    assert stage.server.last.data[0].first_bytes[:2] in (b"", b"\x16\x03")


@pytest.mark.parametrize("verb", ["EPSV", "PASV"])
def test_a_passive_port_asked_for_twice(stage: Stage, verb: str) -> None:
    with stage.logged_in() as client:
        client.passive_address(verb)
        downloaded, replies = client.download(mode=verb)
        assert (downloaded.data, replies[-1].code) == (FILE, 226)


@pytest.mark.parametrize(("first", "second"), [("PASV", "PORT"), ("EPSV", "EPRT"), ("PORT", "PASV"), ("EPRT", "EPSV")])
def test_a_change_of_mind_between_passive_and_active(stage: Stage, first: str, second: str) -> None:
    with stage.logged_in() as client:
        client.data(first)
        downloaded, replies = client.download(mode=second)
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)


@pytest.mark.parametrize("anew", [True, False], ids=["another-connection", "the-same"])
@pytest.mark.parametrize("verb", ["RETR", "STOR"])
@pytest.mark.parametrize("mode", ["EPSV", "PASV"])
def test_the_same_passive_port_after_an_error(stage: Stage, mode: str, verb: str, anew: bool) -> None:
    """Netscape 4: no second PASV after a refusal. The server has closed its port by then, as vsftpd does."""
    stage.play(Quirks(replies={f"{verb} nothing": b"550 no such thing\r\n"}, closes_port_on_refusal=True))
    with stage.logged_in() as client:
        address = client.passive_address(mode)
        data = client.dial(address)
        for _ in range(2):
            assert client.command(f"{verb} nothing").code == 550
            if anew:
                data.close()
                data = client.dial(address)
        assert client.command(f"{verb} file").code == 150
        if verb == "STOR":
            data.send(FILE[:5000])
            data.fin()
        downloaded = data.read_to_end()
        assert downloaded.ended == "fin"
        assert client.reply().code == 226
        assert downloaded.data == (FILE if verb == "RETR" else b"")
        assert client.command("PWD").code == 257
    assert stage.server.files[b"file"] == (FILE if verb == "RETR" else FILE[:5000])


def test_what_was_sent_for_a_refused_upload_is_not_the_next_file(stage: Stage) -> None:
    """A client that sends before it is told: its bytes belong to the file that was refused."""
    stage.play(Quirks(replies={"STOR no": b"553 not here\r\n"}, closes_port_on_refusal=True))
    with stage.logged_in() as client:
        address = client.passive_address()
        data = client.dial(address)
        data.send(b"for the other file")
        data.fin()
        assert client.command("STOR no").code == 553
        again = client.dial(address)
        assert client.command("STOR yes").code == 150
        again.send(b"for this one")
        again.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"yes"] == b"for this one"


def test_the_address_of_an_active_client_after_an_error(stage: Stage) -> None:
    stage.play(Quirks(replies={"RETR nothing": b"550 no such thing\r\n"}, closes_port_on_refusal=True))
    with stage.logged_in() as client:
        data = client.active("PORT")
        assert client.command("RETR nothing").code == 550
        assert client.command("RETR file").code == 150
        assert data.read_to_end() == Downloaded(FILE, "fin")
        assert client.reply().code == 226


def test_a_client_that_connects_late(stage: Stage) -> None:
    """The data connection may come before the transfer command or after it."""
    import socket

    with stage.logged_in() as client:
        address = client.passive_address()
        client.send(b"RETR file\r\n")
        stage.server.wait(lambda: "RETR" in stage.server.last.verbs())
        with socket.create_connection(address, 20) as sock:
            sock.settimeout(20)
            body = bytearray()
            while part := sock.recv(65536):
                body += part
        assert body == FILE
        assert [client.reply().code for _ in range(2)] == [150, 226]


def test_a_transfer_command_without_a_data_connection(stage: Stage) -> None:
    with stage.logged_in() as client:
        assert client.command("RETR file").code in (425, 503)
        assert client.download()[0].data == FILE


@pytest.mark.parametrize("verb", ["PORT", "EPRT"])
def test_an_active_client_does_not_wait_for_what_will_not_come(stage: Stage, verb: str) -> None:
    """TLS with the server fails behind its 150: a client that sits in accept() gets a connection that is reset."""
    stage.play(Quirks(alert_in_data_handshake=1))
    with stage.logged_in() as client:
        data = client.active(verb)
        assert client.command("RETR file").code in (125, 150)
        with pytest.raises(ConnectionResetError):
            data.sock.recv(1)
        assert client.reply().code == 425
