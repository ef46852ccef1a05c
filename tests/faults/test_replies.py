"""What servers say: odd, long, malformed, unasked for and hostile replies."""

from __future__ import annotations

import socket

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Quirks


@pytest.mark.parametrize(
    "reply",
    [
        b"200-one\r\n200-two\r\n200 three\r\n",
        b"200-one\r\n 200 not the end\r\n\r\n201 nor this\r\n200 three\r\n",
        b"200-one\n200 bare line feeds\n",
        b"200-\xff\xfe latin \xe9\r\n200 \xe9\r\n",
        b"250-a\r\n" + b" line\r\n" * 3000 + b"250 z\r\n",
        b"200 " + b"x" * 5000 + b"\r\n",
    ],
    ids=["plain", "numbers-inside", "bare-lf", "no-utf8", "3000-lines", "long-line"],
)
def test_replies_pass_as_they_are(stage: Stage, reply: bytes) -> None:
    """U21, and unlisted multi-line replies of any verb."""
    stage.play(Quirks(replies={"SITE WHO": reply}))
    with stage.logged_in() as client:
        received = client.command("SITE WHO").raw
        assert received.replace(b"\r\n", b"\n").replace(b"\xff\xff", b"\xff") == reply.replace(b"\r\n", b"\n")
        assert client.command("PWD").code == 257


def test_a_reply_whose_last_line_has_no_text(stage: Stage) -> None:
    """U21."""
    stage.play(Quirks(replies={"SITE WHO": b"200-one\r\n200\r\n"}))
    with stage.logged_in() as client:
        client.send(b"SITE WHO\r\nPWD\r\n")
        assert b"257 " in _read_until(client.sock, b"257 ")


@pytest.mark.parametrize(
    "reply",
    [b"hello\r\n", b"\r\n", b"20\r\n", b"999 what\r\n", b"2x0 no\r\n", b"\x00\x01\x02\r\n", b"099 low\r\n"],
    ids=["word", "empty", "short", "999", "letter", "binary", "099"],
)
def test_what_is_no_reply_answers_nothing(stages: Stages, reply: bytes) -> None:
    """Nothing is at stake: it is told in the log and passed over. The command's time runs on."""
    stage = stages("hasty")
    stage.play(Quirks(replies={"SITE WHO": reply}))
    with stage.logged_in() as client:
        assert client.command("SITE WHO").code == 421
        client.rest()
    assert len(stage.events("upstream.reply_ignored")) == (1 if reply.strip() else 0)
    assert stage.event("session.limit")["detail"] == "the server did not answer SITE"


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\n"], ids=["ssh", "tls"])
def test_another_protocol_ends_the_session(stage: Stage, reply: bytes) -> None:
    """The peer broke the rules: 421, a reason in the log, no traceback."""
    stage.play(Quirks(replies={"SITE WHO": reply}))
    with stage.logged_in() as client:
        assert client.command("SITE WHO").code == 421
        client.rest()
    assert stage.event("upstream.failed")["cause"] == "protocol_error"


@pytest.mark.parametrize("kind", ["bytes", "lines", "endless-line"])
def test_replies_have_bounds(stages: Stages, kind: str) -> None:
    """limits.reply_bytes and reply_lines."""
    stage = stages("limits")
    reply = {
        "bytes": b"200-a\r\n" + (b" " + b"x" * 998 + b"\r\n") * 60 + b"200 z\r\n",
        "lines": b"200-a\r\n" + b" b\r\n" * 600 + b"200 z\r\n",
        "endless-line": b"200 " + b"x" * 60_000,
    }[kind]
    stage.play(Quirks(replies={"SITE WHO": reply}))
    with stage.logged_in() as client:
        assert client.command("SITE WHO").code == 421
        client.rest()
    assert stage.event("session.closed")["cause"]


@pytest.mark.parametrize(
    "features",
    [
        b"211-Extended features supported:\r\n LANG EN*\r\n UTF8\r\n AUTH TLS;TLS-C;SSL;TLS-P;\r\n PBSZ\r\n"
        b" PROT C;P;\r\n CCC\r\n HOST\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 END\r\n",
        b"211-Features:\r\n AUTH TLS\r\n AUTH SSL\r\n AUTH\r\n PBSZ\r\n PROT\r\n CPSV\r\n SIZE\r\n MDTM\r\n211 End\r\n",
        b"211-Features:\r\n211-AUTH TLS\r\n211-PROT\r\n211-SIZE\r\n211-MDTM\r\n211 End\r\n",
    ],
    ids=["iis", "usual", "codes-on-every-line"],
)
def test_feat_promises_no_tls(stage: Stage, features: bytes) -> None:
    """U18, U22: and keeps all the rest."""
    stage.play(Quirks(replies={"FEAT": features}))
    with stage.logged_in() as client:
        reply = client.command("FEAT")
        assert reply.code == 211
        for word in (b"AUTH", b"PBSZ", b"PROT", b"CCC", b"SSCN", b"CPSV"):
            assert word not in reply.raw.upper()
        for word in (b"SIZE", b"MDTM", b"EPSV", b"EPRT"):
            assert word in reply.raw
        assert client.command("PWD").code == 257


@pytest.mark.parametrize("features", [b"500 FEAT not understood\r\n", b"211 no features\r\n", b"530 log in\r\n"])
def test_feat_without_features(stage: Stage, features: bytes) -> None:
    stage.play(Quirks(replies={"FEAT": features}))
    with stage.logged_in() as client:
        assert client.command("FEAT").raw == features


@pytest.mark.parametrize("when", ["idle", "transfer"])
def test_a_reply_in_clear_under_tls(stage: Stage, when: str) -> None:
    """U30: old Pure-FTPd answers STAT so. It is no reply, whoever wrote it, and the session is over."""
    stage.play(Quirks(clear_under_tls=frozenset({"STAT"})))
    with stage.logged_in() as client:
        if when == "transfer":
            data = client.passive()
            assert client.command("STOR up").code == 150
            assert client.command("STAT").code == 211  # answered here
            data.fin()
            assert client.reply().code == 226
        reply = client.command("STAT")
        assert reply.code == 421
        assert "TLS" in reply.text
        client.rest()
    assert "TLS" in stage.event("upstream.failed")["detail"]


def test_what_was_said_before_tls_is_forgotten(stage: Stage) -> None:
    """The greeting's promises count for nothing: features come from the FEAT under TLS."""
    stage.play(Quirks(greeting=b"220-EPSV PRET and everything\r\n220 ready (NOEPSV)\r\n"))
    with stage.client() as client:
        assert b"everything" not in client.greeting.raw
        client.login()
        assert client.download()[0].data == FILE


@pytest.mark.parametrize("mode", ["EPSV", "PASV", "PORT", "EPRT"])
def test_pret(fresh_stages: Stages, mode: str) -> None:
    """U29: a server that wants to know what a data connection is for (DrFTPD), and a client that has never heard of it.

    The very first data connection works, and no later session needs a refusal to know.
    """
    stage = fresh_stages("default")
    stage.play(Quirks(requires_pret=True))
    for _ in range(2):
        with stage.logged_in() as client:
            downloaded, replies = client.download(mode=mode)
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
            assert client.command("REST 100").code == 350
            assert client.download(mode=mode)[0].data == FILE[100:]
            assert client.upload(FILE, "up", mode=mode)[-1].code == 226
            assert [reply.code for reply in client.download("nothing", mode=mode)[1]] == [550]
            assert client.download(mode=mode, verb="LIST", name="")[1][-1].code == 226
    assert stage.server.files[b"up"] == FILE
    assert b"PRET RETR file" in stage.server.last.commands
    # REST goes once more, right before its command.
    verbs = stage.server.last.verbs()
    again = verbs.index("REST", verbs.index("REST") + 1)
    assert verbs[again - 2 : again + 2] == ["PRET", "EPSV", "REST", "RETR"]
    assert stage.server.sessions[0].verbs().count("EPSV") == stage.server.last.verbs().count("EPSV") + 1


def test_pret_and_no_port_behind_it(fresh_stages: Stages) -> None:
    stage = fresh_stages("default")
    stage.play(Quirks(requires_pret=True, passive={"EPSV": "229 (|||{dead}|)\r\n", "PASV": "227 no\r\n"}))
    with stage.logged_in() as client:
        for _ in range(2):
            assert [reply.code for reply in client.download()[1]] == [425]
        stage.server.quirks = Quirks(requires_pret=True)
        assert client.download()[0].data == FILE


def test_a_clients_own_pret(stage: Stage) -> None:
    """U29: passes as it is."""
    stage.play(Quirks(requires_pret=True))
    with stage.logged_in() as client:
        assert client.command("PRET RETR file").code == 200
        downloaded, replies = client.download()
        assert (downloaded.data, replies[-1].code) == (FILE, 226)


def test_pret_is_forgotten_where_nobody_knows_it(stage: Stage) -> None:
    """U29: the same upstream with another server behind it."""
    stage.play(Quirks(requires_pret=True))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
        stage.server.quirks = Quirks(replies={"PRET": b"502 PRET?\r\n"})
        for _ in range(2):
            assert client.download()[0].data == FILE
    assert stage.server.last.verbs().count("PRET") == 2


def test_230_after_user(stage: Stage) -> None:
    """U33."""
    stage.play(Quirks(replies={"USER": b"230 come in\r\n"}))
    with stage.client() as client:
        assert client.command("USER anna").code == 230
        assert client.download()[0].data == FILE
    assert stage.event("session.login")["user"] == "anna"


def test_232_after_user(stage: Stage) -> None:
    """U33: a plain client does not know 232."""
    stage.play(Quirks(replies={"USER": b"232 known by certificate\r\n"}))
    with stage.client() as client:
        assert client.command("USER anna").code == 230


def test_an_account_after_the_password(stage: Stage) -> None:
    stage.play(Quirks(replies={"PASS": b"332 account, please\r\n"}))
    with stage.client() as client:
        assert client.command("USER anna").code == 331
        assert client.command("PASS geheim-123").code == 332
        assert client.command("ACCT konto-456").code == 230
        assert client.download()[0].data == FILE
    assert stage.event("session.login")["ok"] is True
    log = str(stage.events())
    assert "geheim-123" not in log
    assert "konto-456" not in log


def test_a_refused_login(stage: Stage) -> None:
    with stage.client() as client:
        assert client.command("USER anna").code == 331
        assert client.command("PASS wrong").code == 530
        assert client.command("USER anna").code == 331
        assert client.command("PASS right").code == 230
    stage.event("session.login", 2)
    assert [(event["ok"], event["reply"]) for event in stage.events("session.login")] == [(False, 530), (True, 230)]


def test_421_between_commands(stage: Stage) -> None:
    """The server goes: the client hears its words and the good-bye of the connection."""
    stage.play(Quirks(replies={"PWD": b"421 out of service\r\n"}, close_after=frozenset({"PWD"})))
    with stage.logged_in() as client:
        reply = client.command("PWD")
        assert (reply.code, "out of service" in reply.text) == (421, True)
        client.rest()


def test_a_server_that_vanishes_between_commands(stage: Stage) -> None:
    stage.play(Quirks(replies={"PWD": b""}, close_after=frozenset({"PWD"})))
    with stage.logged_in() as client:
        assert client.command("PWD").code == 421
        client.rest()
    assert "server" in stage.event("session.closed")["cause"]


def test_a_reply_nobody_asked_for(stage: Stage) -> None:
    """It does not become the answer to the next command."""
    stage.play(Quirks(replies={"NOOP": b"200 done\r\n226 and a leftover\r\n"}))
    with stage.logged_in() as client:
        assert client.command("NOOP").code == 200
        assert client.quiet()
        assert client.command("PWD").code == 257
        assert client.download()[0].data == FILE


def test_a_verb_of_no_rfc_that_opens_a_data_connection(stage: Stage) -> None:
    stage.play(Quirks(extra_data_verbs={"XTHUMB": FILE[:5000]}))
    with stage.logged_in() as client:
        downloaded, replies = client.download("picture", verb="XTHUMB")
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE[:5000], "fin", 226)
        assert client.download()[0].data == FILE


@pytest.mark.parametrize("verb", ["LIST", "NLST", "MLSD"])
@pytest.mark.parametrize(
    "reply", [b"450 no files\r\n", b"550 no files\r\n", b"226 nothing\r\n"], ids=["450", "550", "226"]
)
def test_no_files_match(stage: Stage, verb: str, reply: bytes) -> None:
    """Clients' mget reads these words: they pass unchanged. (A 226 without 150 still needs its data connection.)"""
    if reply.startswith(b"226"):
        stage.play(Quirks(), {})
    else:
        stage.play(Quirks(replies={verb: reply}))
    with stage.logged_in() as client:
        downloaded, replies = client.download("*.txt", verb=verb)
        assert downloaded.data == b""
        assert replies[-1].code == int(reply[:3])


@pytest.mark.parametrize(
    ("old", "new"), [("XCWD d", "CWD"), ("XPWD", "PWD"), ("XMKD d", "MKD"), ("XRMD d", "RMD"), ("XCUP", "CDUP")]
)
def test_old_verbs_are_said_anew(stage: Stage, old: str, new: str) -> None:
    verb = old.split()[0]
    stage.play(Quirks(replies={verb: b"500 unknown\r\n"}))
    with stage.logged_in() as client:
        assert client.command(old).good
    assert new in stage.server.last.verbs()


def test_opts_utf8_before_user(stage: Stage) -> None:
    """Windows quits when this is refused; the server is told once it listens."""
    stage.play(Quirks(replies={"OPTS": b"530 log in first\r\n"}))
    with stage.client() as client:
        assert client.command("OPTS UTF8 ON").code == 200
        stage.server.quirks = Quirks()
        client.login()
        assert client.command("PWD").code == 257
        assert client.download()[0].data == FILE


def _read_until(sock: socket.socket, what: bytes) -> bytes:
    data = b""
    while what not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    return data
