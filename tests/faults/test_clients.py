"""What clients say and do: odd lines, Telnet, foreign protocols, bounces, thieves."""

from __future__ import annotations

import socket

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_client import BadClient, Downloaded, active_argument
from tests.support.bad_server import Quirks


def test_a_login_byte_by_byte(stage: Stage) -> None:
    with stage.client() as client:
        client.send_slowly(b"USER anna\r\n")
        assert client.reply().code == 331
        client.send_slowly(b"PASS x\r\n")
        assert client.reply().code == 230
        client.send_slowly(b"SITE a b\r\n")
        assert client.reply().code == 250
    assert b"SITE a b" in stage.server.last.commands


def test_a_session_pipelined_in_one_segment(stage: Stage) -> None:
    with stage.client() as client:
        client.send(b"USER anna\r\nPASS x\r\nSYST\r\nTYPE I\r\nPWD\r\nNOOP\r\nQUIT\r\n")
        assert [client.reply().code for _ in range(7)] == [331, 230, 215, 200, 257, 200, 221]
        assert client.rest() == (b"", "fin")


@pytest.mark.parametrize("slow", ["", "USER", "PASS", "PWD", "QUIT"])
@pytest.mark.parametrize("end", [b"", b"PWD\r\n", b"PWD\r\nQUIT\r\n"], ids=["login", "pwd", "quit"])
def test_a_client_that_ends_its_side_hears_its_replies(stage: Stage, end: bytes, slow: str) -> None:
    """All of a session piped into nc: no server drops the commands that it has read before the end."""
    stage.play(Quirks(slow={slow: 1.6}))  # it is looked at once a second
    with stage.client(greeting=False) as client:
        client.send(b"USER anna\r\nPASS x\r\n" + end)
        client.sock.shutdown(socket.SHUT_WR)
        said, ended = client.rest()
    codes = [int(line[:3]) for line in said.splitlines()]
    assert (codes, ended) == ([220, 331, 230, 257, 221][: 3 + end.count(b"\n")], "fin")
    assert stage.event("session.closed")["cause"] == ("quit" if b"QUIT" in end else "client_gone")
    stage.wait(lambda: stage.server.last.verbs()[-1:] == ["QUIT"], "QUIT at the server, which reads in its own time")


def test_quit_and_the_end_behind_it(stage: Stage) -> None:
    with stage.logged_in() as client:
        client.send(b"QUIT\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().code == 221
        assert client.rest() == (b"", "fin")


def test_pipelining_before_the_greeting(stage: Stage) -> None:
    """What comes before TLS is up waits, and nothing of it goes out in clear."""
    with stage.client(greeting=False) as client:
        client.send(b"USER anna\r\nPASS x\r\nPWD\r\n")
        assert [client.reply().code for _ in range(4)] == [220, 331, 230, 257]
    assert stage.server.last.in_clear == b"AUTH TLS\r\n"


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        (b"SITE a\n", b"SITE a"),
        (b"site A b\r\n", b"SITE A b"),
        (b"  SITE a\r\n", b"SITE a"),
        (b"SITE a b  \r\n", b"SITE a b  "),
        (b"SITE  two spaces\r\n", b"SITE  two spaces"),
        (b"\r\n\r\nSITE a\r\n", b"SITE a"),
        (b"SITE \xe4\xf6\xfc.txt\r\n", b"SITE \xe4\xf6\xfc.txt"),
        ("SITE żółć ☃\r\n".encode(), "SITE żółć ☃".encode()),
        (b"SITE a\xff\xff b\r\n", b"SITE a\xff\xff b"),
        (b"\xff\xf4\xff\xf2SITE a\r\n", b"SITE a"),
        (b"SITE \xff\xfb\x01a\r\n", b"SITE \xff\xfb\x01a"),
        (b"\xff\xfb\x01\xffSITE a\r\n", b"SITE a"),
        (b"SITE a\tb\r\n", b"SITE a\tb"),
        (b"SITE a\r\r\n", b"SITE a"),
        (b"\0SITE a\n", b"SITE a"),
        (b"\r\0SITE a\n\r\0\n", b"SITE a"),
        (b"SITE " + b"x" * 8000 + b"\r\n", b"SITE " + b"x" * 8000),
    ],
    ids=[
        "bare-lf",
        "lower-case",
        "leading-spaces",
        "trailing-spaces",
        "two-spaces",
        "empty-lines",
        "latin-1",
        "utf-8",
        "escaped-iac",
        "telnet-before",
        "telnet-inside",
        "telnet-and-a-lone-iac",
        "tab",
        "cr-cr-lf",
        "c-string",
        "lf-cr",
        "8000-bytes",
    ],
)
def test_lines(stage: Stage, line: bytes, sent: bytes) -> None:
    with stage.logged_in() as client:
        client.send(line)
        assert client.reply().code == 250
    assert sent in stage.server.last.commands


@pytest.mark.parametrize(
    "line",
    [
        b"CWD a\x00b\r\n",
        b"CWD a\rDELE b\r\n",
        b"CWD a\r\x00\r\n",
        b"CWD " + b"x" * 9000 + b"\r\n",
        b"CWD " + b"x" * 300_000 + b"\r\n",
    ],
    ids=["nul", "cr-inside", "cr-nul", "9000-bytes", "300000-bytes"],
)
def test_lines_that_are_refused(stage: Stage, line: bytes) -> None:
    """None of it reaches the server, where it might be two commands."""
    with stage.logged_in() as client:
        client.send(line)
        assert client.reply().code == 500
        assert client.command("PWD").code == 257
    assert not any(b"CWD" in command or b"DELE" in command for command in stage.server.last.commands)


def test_no_line_end_can_be_smuggled_to_the_server(stage: Stage) -> None:
    """Telnet sequences between the parts of a line end, and IAC before LF."""
    with stage.logged_in() as client:
        for line in (b"SITE a\r\xff\xf1\nSITE b\r\n", b"SITE c\xff\nSITE d\r\n", b"SITE e\x0bSITE f\x0c\x85\r\n"):
            client.send(line)
        client.send(b"PWD\r\n")
        while client.reply().code != 257:
            pass
    for command in stage.server.last.commands:
        assert b"\r" not in command
        assert b"\x00" not in command


def test_bad_lines_end_in_a_goodbye(stages: Stages) -> None:
    stage = stages("limits")
    with stage.logged_in() as client:
        client.send(b"CWD a\x00b\r\n" * 3)
        assert [client.reply().code for _ in range(3)] == [500, 500, 421]
        assert client.rest()[0] == b""
    assert stage.event("session.limit")["limit"] == "bad_lines"


@pytest.mark.parametrize(
    ("hello", "protocol"),
    [
        (b"GET / HTTP/1.1\r\nHost: ftp\r\n\r\n", "http"),
        (b"POST /x HTTP/1.1\r\nHost: ftp\r\nContent-Length: 30\r\n\r\nUSER anna\r\nPASS x\r\n", "http"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", "http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(507), "tls"),
    ],
    ids=["get", "post", "options", "client-hello"],
)
def test_foreign_protocols_are_dropped(stage: Stage, hello: bytes, protocol: str) -> None:
    """ALPACA: a browser made to speak to the FTP port gets nothing of it."""
    with stage.client(greeting=False) as client:
        client.send(hello)
        text, _ = client.rest()
        assert b"331" not in text
    assert protocol in stage.event("session.foreign")["protocol"].lower()
    for seen in stage.server.sessions:
        assert b"USER" not in seen.in_clear
        assert not {"USER", "GET", "POST", "HOST:"} & set(seen.verbs())


def test_http_in_mid_session(stage: Stage) -> None:
    with stage.logged_in() as client:
        client.send(b"GET /secret HTTP/1.1\r\n\r\n")
        client.rest()
    assert stage.event("session.foreign")
    assert "GET" not in stage.server.last.verbs()


@pytest.mark.parametrize(
    "command",
    [
        "PORT 10,0,0,1,200,1",
        "PORT 127,0,0,2,200,1",
        "PORT 127,0,0,1,0,22",
        "PORT 127,0,0,1,3,255",
        "EPRT |1|192.0.2.7|5000|",
        "EPRT |1|127.0.0.1|80|",
        "EPRT |2|::1|5000|",
        "EPRT |2|fe80::1|5000|",
        "PORT 1,2,3",
        "PORT 127,0,0,1,300,1",
        "PORT",
        "EPRT |1|127.0.0.1|",
        "EPRT |9|127.0.0.1|5000|",
        "EPRT",
    ],
)
def test_bounces_and_malformed_addresses(stage: Stage, command: str) -> None:
    """RFC 2577: only to the client's own address, never to the port of a service."""
    with stage.logged_in() as client:
        assert client.command(command).code in (500, 501, 522)
        assert client.command("RETR file").code in (425, 503)
        assert client.command("PWD").code == 257
    assert not {"PORT", "EPRT"} & set(stage.server.last.verbs())


@pytest.mark.parametrize("verb", ["LPRT", "LPSV", "SSCN", "CPSV", "REIN", "MIC", "CONF", "ENC", "ADAT x"])
def test_verbs_answered_here(stage: Stage, verb: str) -> None:
    with stage.logged_in() as client:
        assert client.command(verb).code == 502
        assert client.command("PWD").code == 257
    assert verb.split()[0] not in stage.server.last.verbs()


@pytest.mark.parametrize("verb", ["EPSV", "PASV"])
def test_a_thief_of_data_connections(stage: Stage, verb: str) -> None:
    """Another address that connects first gets nothing, and the owner still gets its file."""
    with stage.logged_in() as client:
        address = client.passive_address(verb)
        with socket.socket() as thief:
            thief.settimeout(20)
            thief.bind(("127.0.0.2", 0))
            try:
                thief.connect(address)
            except OSError:
                stolen = b""  # turned away at the door
            else:
                client.send(b"NOOP\r\n")
                assert client.reply().code == 200
                stolen = _read_quietly(thief)
            client.send(b"RETR file\r\n")
            with socket.create_connection(address, 20) as owner:
                downloaded = _read_to_end(owner)
            assert [client.reply().code for _ in range(2)] == [150, 226]
        assert (downloaded.data, downloaded.ended) == (FILE, "fin")
        assert stolen == b""


def test_only_one_connection_is_taken(stage: Stage) -> None:
    """A second connection to the same passive port gets no byte of the file."""
    with stage.logged_in() as client:
        address = client.passive_address()
        with socket.create_connection(address, 20) as first:
            client.send(b"RETR file\r\n")
            downloaded = _read_to_end(first)
            assert [client.reply().code for _ in range(2)] == [150, 226]
        assert (downloaded.data, downloaded.ended) == (FILE, "fin")
        try:
            second = socket.create_connection(address, 20)
        except OSError:
            return
        with second:
            assert _read_quietly(second) == b""


def test_a_data_connection_that_talks_first_is_no_command(stage: Stage) -> None:
    """Bytes on the data connection of a download go nowhere."""
    with stage.logged_in() as client:
        data = client.passive()
        data.send(b"DELE file\r\n")
        assert client.command("RETR file").code == 150
        data.read_to_end()
        client.reply()
        assert client.command("PWD").code == 257
    assert "DELE" not in stage.server.last.verbs()


def test_epsv_all(stage: Stage) -> None:
    with stage.logged_in() as client:
        assert client.command("EPSV ALL").code == 200
        for command in ("PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|50000|", "LPSV"):
            assert client.command(command).code in (501, 502, 503)
        assert client.download(mode="EPSV")[0].data == FILE


def test_epsv_with_a_family(stage: Stage) -> None:
    with stage.logged_in() as client:
        assert client.command("EPSV 2").code == 522
        assert client.command("EPSV 7").code in (501, 522)
        address = client.passive_address("EPSV 1")
        client.send(b"RETR file\r\n")
        with socket.create_connection(address, 20) as sock:
            assert _read_to_end(sock).data == FILE


def test_the_227_is_what_naive_parsers_want(stage: Stage) -> None:
    """One line, no digits before the parenthesis."""
    with stage.logged_in() as client:
        reply = client.command("PASV")
        assert reply.raw.count(b"\n") == 1
        assert reply.raw.startswith(b"227 Entering Passive Mode (127,0,0,1,")
        assert reply.raw.endswith(b")\r\n")


def test_one_session_for_each_file(stage: Stage) -> None:
    """Scripts that log in for every file, a dozen at once."""
    clients: list[BadClient] = []
    try:
        for _ in range(12):
            clients.append(stage.logged_in())
        for number, client in enumerate(clients):
            assert client.upload(FILE[: 1000 * number], f"up{number}")[-1].code == 226
    finally:
        for client in clients:
            client.close()
    assert [len(stage.server.files[b"up%d" % number]) for number in range(12)] == [
        1000 * number for number in range(12)
    ]


def test_names_cannot_forge_the_log(stage: Stage) -> None:
    """Control characters and quotes of file names, users and replies stay inside one JSON string."""
    name = 'x","event":"session.login","ok":true,"y":"\x1b[2J\u2028\x7f'
    stage.play(Quirks(), {name.encode(): FILE[:10]})
    with stage.client() as client:
        assert client.command(f"USER {name}").code == 331
        assert client.command("PASS x").code == 230
        assert client.download(name)[0].data == FILE[:10]
    assert stage.event("transfer.finished")["path"] == name
    assert stage.event("session.login")["user"] == name
    stage.event("session.closed")
    assert len(stage.events("session.login")) == 1


def test_passwords_are_in_no_log(stages: Stages) -> None:
    """At any level, whatever the line around it looks like."""
    stage = stages("debug")
    secret = "sEsAm-0815"
    with stage.client() as client:
        client.send(f"USER anna\r\nPASS wrong\r\nPASS {secret}\r\n".encode())
        client.send(f"pass {secret}\r\n  PASS {secret}\r\nACCT {secret}\r\nPASS {secret}\x00\r\nPWD\r\n".encode())
        while client.reply().code != 257:
            pass
    stage.event("session.closed")
    assert secret not in str(stage.events())
    assert secret not in stage.gateway.text
    assert stage.events("session.command")


def _read_to_end(sock: socket.socket) -> Downloaded:
    sock.settimeout(20)
    data = bytearray()
    try:
        while part := sock.recv(1 << 16):
            data += part
    except ConnectionResetError:
        return Downloaded(bytes(data), "reset")
    return Downloaded(bytes(data), "fin")


def _read_quietly(sock: socket.socket) -> bytes:
    """What comes within a moment, if anything."""
    sock.settimeout(0.5)
    try:
        return sock.recv(1 << 16)
    except OSError:
        return b""


def test_active_arguments() -> None:
    assert active_argument("PORT", "127.0.0.1", 258) == "127,0,0,1,1,2"
    assert active_argument("EPRT", "::1", 258) == "|2|::1|258|"
