"""What the gateway has no opinion of passes byte for byte, both ways: types, structures, mainframe words, resuming."""

from __future__ import annotations

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Quirks

ODD = b"250-Odd \xe9 words,  two blanks\r\n 250 not the end\r\n250 done.\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"TYPE E",
        b"TYPE E N",
        b"TYPE L 8",
        b"TYPE A T",
        b"type a c",
        b"STRU R",
        b"STRU P",
        b"MODE Z",
        b"ALLO 1000 R 80",
        b"SITE LRECL=80 RECFM=FB BLKSIZE=3120",
        b"SITE FILETYPE=JES",
        b"SITE  (two blanks) ",
        b"CWD 'HLQ.LIB(MEMBER)'",
        b"DELE //DD:X",
        b"SMNT /mnt",
        b"MLST 'HLQ.\xc4\xd6'",
        b"MDTM 20260131235959 file",
        b"MFMT 20260131235959 file",
        b"MFCT 20260131235959 file",
        b"MFF modify=1;UNIX.mode=0644; file",
        b"HASH file",
        b"XCRC file 0 100",
        b"XMD5 file",
        b"XSHA256 file",
        b"COMB whole part1 part2",
        b"RANG 0 99",
        b"CLNT old thing",
        b"LANG de",
        b"CSID Name=x;",
        b"AVBL",
        b"SIZE -x y",
    ],
)
def test_commands_and_their_replies(stage: Stage, line: bytes) -> None:
    verb = line.split()[0].upper().decode()
    stage.play(Quirks(replies={verb: ODD}))
    with stage.logged_in() as client:
        client.send(line + b"\r\n")
        assert client.reply().raw == ODD
        assert client.command("PWD").code == 257
    sent = stage.server.last.commands
    assert sent[sent.index(b"PWD") - 1] == verb.encode() + line[len(verb) :]


@pytest.mark.parametrize("verb", ["STOR", "APPE"])
@pytest.mark.parametrize("mode", ["EPSV", "PORT"])
def test_rest_before_an_upload(stage: Stage, verb: str, mode: str) -> None:
    """Right before it on the wire, too (RFC 959)."""
    stage.play(Quirks(), {b"up": b"0123456789"})
    with stage.logged_in() as client:
        data = client.data(mode)
        assert client.command("REST 4").code == 350
        assert client.command(f"{verb} up").code == 150
        data.send(b"abc")
        data.fin()
        assert client.reply().code == 226
    assert stage.server.files[b"up"] == (b"0123abc" if verb == "STOR" else b"0123456789abc")
    sent = stage.server.last.commands
    assert sent[sent.index(f"{verb} up".encode()) - 1] == b"REST 4"


def test_rest_before_a_download(stage: Stage) -> None:
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("REST 100000").code == 350
        assert client.command("RETR file").code == 150
        assert data.read_to_end().data == FILE[100_000:]
        assert client.reply().code == 226


@pytest.mark.parametrize(
    ("preliminary", "final"),
    [
        (b"150 FILE: unique.1\r\n", b"226 unique.1\r\n"),
        (b"125 unique name: 'HLQ.X1'\r\n", b"250 Transfer completed (unique file name: x1)\r\n"),
        (b"150-Opening\r\n150 FILE: \xe4.1\r\n", b"226-Closing\r\n FILE: \xe4.1\r\n226 done\r\n"),
    ],
)
def test_the_name_in_replies_to_stou(stage: Stage, preliminary: bytes, final: bytes) -> None:
    """Clients read the file's name from either (RFC 1123 section 4.1.2.9)."""
    stage.play(Quirks(preliminary=preliminary, final=final))
    with stage.logged_in() as client:
        assert [reply.raw for reply in client.upload(FILE, "", verb="STOU")] == [preliminary, final]


@pytest.mark.parametrize("setting", ["TYPE E", "TYPE L 8", "STRU R", "STRU P", "MODE Z"])
def test_the_bytes_of_any_type_and_structure(stage: Stage, setting: str) -> None:
    """Records, pages and compressed data are the client's affair: no byte is looked at."""
    body = bytes(range(256)) * 100 + b"\xff\x01\xff\x02"
    stage.play(Quirks(), {b"file": body})
    with stage.logged_in() as client:
        assert client.command(setting).code == 200
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (body, "fin", 226)
        assert client.upload(body, "up")[-1].code == 226
    assert stage.server.files[b"up"] == body


@pytest.mark.parametrize(
    "reply",
    [
        "227-look:\r\n 1,2,3,4,5,6\r\n227 Entering Passive Mode (127,0,0,1,{p1},{p2})\r\n",
        "227 =127,0,0,1,{p1},{p2}\r\n",
        "229 Entering Extended Passive Mode (|||{port}|)\r\n",
    ],
    ids=["multi-line", "equals", "229"],
)
def test_the_227_is_one_line_whatever_the_server_says(stages: Stages, reply: str) -> None:
    stage = stages("pasv")
    stage.play(Quirks(passive={"PASV": reply}))
    with stage.logged_in() as client:
        got = client.command("PASV")
        if "1,2,3,4" not in reply:
            assert got.raw.startswith(b"227 Entering Passive Mode (127,0,0,1,")
            assert got.raw.endswith(b")\r\n")
        assert got.raw.count(b"\n") == 1


def test_epsv_all_is_between_client_and_gateway(fresh_stages: Stages) -> None:
    """RFC 2428: whoever said it is never offered anything else; the server's side may well use PASV."""
    stage = fresh_stages("default")
    stage.play(Quirks(replies={"EPSV": b"500 what?\r\n"}))
    with stage.logged_in() as client:
        assert client.command("EPSV ALL").code == 200
        assert client.command("PASV").code == 501
        assert client.download(mode="EPSV")[0].data == FILE
        assert client.upload(FILE, "up", mode="EPSV")[-1].code == 226
    assert b"EPSV ALL" not in stage.server.last.commands
    assert "PASV" in stage.server.last.verbs()
