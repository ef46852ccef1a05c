"""What is no FTPS server is named, in seconds, and what to do about it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from tests.probe.conftest import Probe
from tests.probe.gateway import accepted, carries_a_file
from tests.support import servers
from tests.support.bad_server import BadServer, Handshake, Quirks
from tests.support.certificates import Certificates
from tests.support.web_server import web_server


@contextlib.contextmanager
def one_that_says(words: bytes, certificates: Certificates | None = None) -> Iterator[int]:
    """A server that says this to whoever comes, behind TLS if there are certificates, and nothing more → its port."""
    kept: list[socket.socket] = []
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificates is not None:
        context.load_cert_chain(certificates.server.certificate_file, certificates.server.key_file)

    def start(target: Callable[..., None], *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments))
        threads[-1].start()

    def say(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if certificates is not None:
                kept.append(sock := context.wrap_socket(sock, server_side=True))
                sock.recv(1)
            sock.sendall(words)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                kept.append(sock)
                start(say, sock)

    start(serve)
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        for sock in kept:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for sock in kept:
            sock.close()
        listener.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "this is an SSH server: SFTP, perhaps"),
        (b"* OK IMAP4rev1 ready\r\n", "a mail server (IMAP)"),
        (b"421 Too many connections\r\n", "the server refuses the session: 421 Too many connections"),
        (b"120 soon\r\n530 not you\r\n", "the server refuses the session: 530 not you"),
    ],
    ids=["ssh", "imap", "421", "530"],
)
@pytest.mark.parametrize("url", ["127.0.0.1:{}", "ftpes://127.0.0.1:{}", "ftps://127.0.0.1:{}"])
def test_what_says_so(probe: Probe, words: bytes, told: str, url: str) -> None:
    with one_that_says(words) as port:
        assert told in probe(url.format(port)).refusal()


@pytest.mark.parametrize("url", ["127.0.0.1:{}", "ftps://127.0.0.1:{}"])
def test_a_web_server(probe: Probe, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseHTTPRequestHandler, "log_message", lambda *_: None)
    with web_server() as port:
        assert "this is a web server, not FTP" in probe(url.format(port)).refusal()


def test_a_web_server_behind_tls(probe: Probe, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsproxy.probe.link.GREETING_SECONDS", 2.0)
    with one_that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n", certificates) as port:
        assert "this is a web server, not FTP" in probe(f"ftps://127.0.0.1:{port}").refusal()


def test_plain_ftp(probe: Probe) -> None:
    """It knows no AUTH; what it refuses is quoted."""
    with servers.plaintext() as server:
        said = probe(f"{server.host}:{server.port}")
        log = server.log()
    line = said.refusal()
    assert "this is plain FTP" in line
    assert 'AUTH TLS: 500 Command "AUTH" not understood.' in line
    assert "USER" not in log


def test_silence(probe: Probe) -> None:
    """Told in about ten seconds."""
    began = time.monotonic()
    with one_that_says(b"") as port:
        line = probe(f"127.0.0.1:{port}").refusal()
    assert "it says nothing in 10 s, neither in clear nor in answer to TLS: perhaps a firewall" in line
    assert time.monotonic() - began < 20


def test_words_that_are_no_replies_steer_no_terminal(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsproxy.probe.reach.GREETING_SECONDS", 2.0)
    with one_that_says(b"\x1b[2J\x1b]0;gone\x07 welcome\r\n") as port:
        said = probe(f"127.0.0.1:{port}")
    assert r"what it says is no FTP: '\x1b[2J\x1b]0;gone\x07 welcome'" in said.refusal()


def test_nobody_at_either_port(probe: Probe) -> None:
    """Without a port both usual ones are tried."""
    line = probe("127.0.0.1").refusal()
    assert "127.0.0.1 port 21: connection refused" in line
    assert "127.0.0.1 port 990: connection refused" in line


def test_a_name_that_is_none(probe: Probe) -> None:
    assert "the name no.such.invalid can't be resolved" in probe("no.such.invalid:21").refusal()


@pytest.mark.parametrize(
    ("handshake", "told"),
    [
        (Handshake.GARBAGE, "the server did not answer with TLS"),
        (Handshake.FIN, "a firewall that inspects FTP may have done it"),
        (Handshake.RESET, "the connection failed in the TLS handshake"),
        (Handshake.OLD_TLS, "the server knows neither TLS 1.2 nor 1.3"),
        (Handshake.ALERT, "the server refused the handshake"),
    ],
)
def test_handshakes_that_fail(probe: Probe, bad_server: BadServer, handshake: Handshake, told: str) -> None:
    bad_server.play(Quirks(handshake=handshake))
    assert told in probe(f"127.0.0.1:{bad_server.port}").refusal()


def test_words_in_clear_behind_auth(probe: Probe, bad_server: BadServer) -> None:
    bad_server.play(Quirks(after_auth=b"230 you are in\r\n"))
    assert "more in clear after it had agreed to TLS" in probe(f"127.0.0.1:{bad_server.port}").refusal()


@pytest.mark.parametrize("url", ["127.0.0.1:{}", "ftpes://127.0.0.1:{}", "ftps://127.0.0.1:{}"])
@pytest.mark.parametrize(
    ("quirks", "kind", "settings"),
    [
        (Quirks(), "explicit", ['url = "ftpes://127.0.0.1:{}"']),
        (Quirks(auth={"SSL": b"334 go\r\n"}), "explicit", ['url = "ftpes://127.0.0.1:{}"', 'auth = ["SSL"]']),
        (Quirks(implicit=True), "implicit", ['url = "ftps://127.0.0.1:{}"']),
        (
            Quirks(implicit=True, greeting_in_clear=True),  # z/OS
            "implicit_greeting_clear",
            ['url = "ftps://127.0.0.1:{}"', 'implicit_greeting = "clear"'],
        ),
    ],
    ids=["explicit", "auth-ssl", "implicit", "zos"],
)
def test_each_kind_by_each_url(
    probe: Probe,
    bad_server: BadServer,
    certificates: Certificates,
    quirks: Quirks,
    kind: str,
    settings: list[str],
    url: str,
) -> None:
    """Whatever the operator takes it for, it is found out what it is."""
    bad_server.play(quirks)
    port = bad_server.port
    told = probe(url.format(port), "--ca-file", certificates.ca_file, "--json").told
    assert (told["ok"], told["kind"]) == (True, kind)
    for line in settings:
        assert line.format(port) in told["toml"]


def test_the_settings_for_a_greeting_in_clear(
    probe: Probe, bad_server: BadServer, certificates: Certificates, login: list[str]
) -> None:
    bad_server.play(Quirks(implicit=True, greeting_in_clear=True))
    said = probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, *login)
    assert said.code == 0
    assert accepted(said.toml, certificates.folder)
    carries_a_file(said.toml)


def test_a_server_that_is_slow_to_greet(probe: Probe, bad_server: BadServer, certificates: Certificates) -> None:
    """It looks up the name of whoever comes; it is asked by TLS meanwhile, and what it is stays as it is."""
    bad_server.play(Quirks(greeting_after=1.2))
    told = probe(f"127.0.0.1:{bad_server.port}", "--ca-file", certificates.ca_file, "--json").told
    assert (told["ok"], told["kind"]) == (True, "explicit")
