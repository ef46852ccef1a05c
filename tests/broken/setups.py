"""Set-ups that do not work, as operators have them: one frozen value each. What is printed is all that mends them."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import servers
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates, KeyPair
from tests.support.gateway import Event
from tests.support.web_server import web_server

Settings = Mapping[str, Any]
"""`url`, `ca_file`, and the tables `upstream`, `listener`, `timeouts`."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What the operator has before him: what the client heard last, the lines of the log, what `probe` says."""

    heard: str
    logged: tuple[Event, ...]
    probed: str

    def line(self, name: str) -> Event:
        """The first line of that event."""
        return next(event for event in self.logged if event["event"] == name)

    def found(self, pattern: str) -> str:
        """What was printed there, wherever it was."""
        for text in (self.heard, *(str(event) for event in self.logged), self.probed):
            if (match := re.search(pattern, text)) is not None:
                return match[1]
        raise AssertionError(f"nothing like {pattern!r} was printed: {self}")


Cure = Callable[[Printed], Settings]


@dataclass(frozen=True, slots=True)
class Broken:
    """`stands` is what stands at the server's place: it yields the URL that the operator has written; `wrong` what else
    he has. `heard` and `probed` are looked for in what the client and `probe` say, `logged` in the line of `event`.
    `cure` makes settings of what was printed; None where the remedy is elsewhere, and is named."""

    name: str
    stands: Callable[[Certificates], contextlib.AbstractContextManager[str]]
    heard: str
    event: str
    logged: Mapping[str, Any]
    probed: str
    cure: Cure | None
    wrong: Settings


def _real(start: Callable[..., Any], *, scheme: str = "", **options: Any) -> Callable[[Certificates], Any]:
    """A real server; its URL, perhaps with the wrong scheme."""

    @contextlib.contextmanager
    def stands(certificates: Certificates) -> Iterator[str]:
        made = {key: value(certificates) if callable(value) else value for key, value in options.items()}
        with start(certificates, **made) as server:
            yield f"{scheme}://{server.url.partition('://')[2]}" if scheme else server.url

    return stands


def _hostile(quirks: Quirks, scheme: str = "ftpes") -> Callable[[Certificates], Any]:
    """What no real server can be made to do."""

    @contextlib.contextmanager
    def stands(certificates: Certificates) -> Iterator[str]:
        pair = certificates.server
        with BadServer(pair.certificate_file, pair.key_file, quirks) as server:
            yield f"{scheme}://127.0.0.1:{server.port}"

    return stands


_BEHIND_A_FIREWALL = Quirks(
    passive={"EPSV": "229 ok (|||{deaf}|)\r\n", "PASV": "227 ok (127,0,0,1,{deaf1},{deaf2})\r\n"}
)


@contextlib.contextmanager
def _web(_: Certificates) -> Iterator[str]:
    with web_server() as port:
        yield f"ftpes://127.0.0.1:{port}"


@contextlib.contextmanager
def _ssh(_: Certificates) -> Iterator[str]:
    """It says who it is, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError), contextlib.ExitStack() as kept:
                while True:
                    sock = kept.enter_context(listener.accept()[0])
                    sock.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ftpes://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def _nobody(_: Certificates) -> Iterator[str]:
    yield "ftpes://127.0.0.1:1"


@contextlib.contextmanager
def _no_such_name(_: Certificates) -> Iterator[str]:
    yield "ftpes://no-such-host.invalid"


def _certificate(name: str) -> Callable[[Certificates], KeyPair]:
    def made(certificates: Certificates) -> KeyPair:
        pair = getattr(certificates, name)
        assert isinstance(pair, KeyPair)
        return pair

    return made


def _pinned(printed: Printed) -> Settings:
    """By the pin that log, reply and probe show; compared with the partner, one hopes."""
    pin = printed.found(r"(sha256/[A-Za-z0-9+/=]{44})")
    assert pin == printed.line("upstream.failed")["pin"]
    return {"upstream": {"verify": "pin", "pins": [pin]}}


def _by_hex(printed: Printed) -> Settings:
    """By the SHA-256 of the certificate, as openssl and browsers show it, too."""
    return {"upstream": {"verify": "pin", "pins": [printed.line("upstream.failed")["certificate_sha256"]]}}


def _url(printed: Printed) -> Settings:
    return {"url": printed.found(r"(ftpe?s://127\.0\.0\.1:\d+)")}


_SOON: Settings = {"timeouts": {"greeting": 0.5, "data_connect": 1.5}}
_NO_CA: Settings = {"ca_file": None}
_UNTRUSTED = r"an issuer that is not trusted here"

BROKEN = (
    Broken(
        "passive-ports-blocked",
        _hostile(_BEHIND_A_FIREWALL),
        r"425 .*no answer from 127\.0\.0\.1 port \d+",
        "data.failed",
        {"side": "server", "cause": "no_answer", "mode": "epsv"},
        r"no answer from 127\.0\.0\.1 port \d+",
        lambda printed: {"upstream": {printed.found(r"have the server connect to us \((data_mode)\)"): "port"}},
        _SOON,
    ),
    Broken(
        "implicit-behind-an-explicit-url",
        _real(servers.vsftpd, implicit=True, scheme="ftpes"),
        r"530 .*it is implicit \(ftps://",
        "upstream.failed",
        {"reason": "implicit_tls"},
        r"implicit",
        _url,
        _SOON,
    ),
    Broken(
        "explicit-behind-an-implicit-url",
        _real(servers.vsftpd, scheme="ftps"),
        r"530 .*does not begin with TLS; perhaps it is explicit \(ftpes://",
        "upstream.failed",
        {"reason": "plaintext_on_implicit_port"},
        r"explicit",
        _url,
        {},
    ),
    Broken(
        "greeting-in-clear-before-implicit-tls",
        _hostile(Quirks(implicit=True, greeting_in_clear=True), "ftps"),
        r"530 .*implicit_greeting = \"clear\"",
        "upstream.failed",
        {"reason": "plaintext_on_implicit_port"},
        r"implicit_greeting = \"clear\"",
        lambda printed: {"upstream": {"implicit_greeting": printed.found(r'implicit_greeting = "(\w+)"')}},
        {},
    ),
    Broken(
        "explicit-that-was-to-greet-in-clear",
        _real(servers.vsftpd, scheme="ftps"),
        r"530 .*it did greet in clear: perhaps it is explicit \(ftpes://",
        "upstream.failed",
        {"reason": "handshake_garbage"},
        r"explicit",
        lambda printed: {**_url(printed), "upstream": {"implicit_greeting": "tls"}},
        {"upstream": {"implicit_greeting": "clear"}, "timeouts": {"handshake": 2}},
    ),
    Broken(
        "web-server",
        _web,
        r"530 .*speaks HTTP, not FTP: another port is meant, or another host",
        "upstream.failed",
        {"reason": "protocol_error"},
        r"this is a web server, not FTP",
        None,
        _SOON,
    ),
    Broken(
        "ssh-server", _ssh, r"530 .*SSH, not FTP", "upstream.failed", {"reason": "protocol_error"}, r"SSH", None, {}
    ),
    Broken(
        "plain-ftp-server",
        _real(lambda _: servers.plaintext(), scheme="ftpes"),
        r"530 .*the server refuses TLS: AUTH TLS: 5\d\d",
        "upstream.failed",
        {"reason": "auth_refused"},
        r"AUTH TLS",
        None,
        {},
    ),
    Broken(
        "nobody-listens",
        _nobody,
        r"530 .*no connection to 127\.0\.0\.1 port 1: connection refused",
        "upstream.failed",
        {"reason": "connect_failed"},
        r"connection refused",
        None,
        {},
    ),
    Broken(
        "no-such-name",
        _no_such_name,
        r"530 .*no-such-host\.invalid",
        "upstream.failed",
        {"reason": "connect_failed"},
        r"no-such-host\.invalid",
        None,
        {},
    ),
    Broken(
        "self-signed",
        _real(servers.vsftpd, certificate=_certificate("self_signed")),
        r"530 .*self-signed.*sha256/",
        "upstream.failed",
        {"reason": "self_signed"},
        r"self-signed",
        _pinned,
        {},
    ),
    Broken(
        "private-authority",
        _real(servers.proftpd),
        rf"530 .*{_UNTRUSTED}.*ca_file",
        "upstream.failed",
        {"reason": "unknown_ca"},
        _UNTRUSTED,
        _by_hex,
        _NO_CA,
    ),
    Broken(
        "another-authority",
        _real(servers.proftpd, certificate=_certificate("unknown_authority")),
        rf"530 .*{_UNTRUSTED} \(ca_file \S+ does not vouch for it\)",
        "upstream.failed",
        {"reason": "unknown_ca"},
        _UNTRUSTED,
        _pinned,
        {},
    ),
    Broken(
        "another-name",
        _real(servers.vsftpd, certificate=_certificate("wrong_host")),
        r"530 .*is for elsewhere\.example, 192\.0\.2\.1, not for 127\.0\.0\.1.*server_name",
        "upstream.failed",
        {"reason": "wrong_host"},
        r"elsewhere\.example",
        lambda printed: {"upstream": {"server_name": printed.found(r"is for ([a-z.]+),")}},
        {},
    ),
    Broken(
        "expired",
        _real(servers.pureftpd, certificate=_certificate("expired")),
        r"530 .*expired on 20\d\d-",
        "upstream.failed",
        {"reason": "expired"},
        r"expired on 20\d\d-",
        _pinned,
        {},
    ),
    Broken(
        "not-yet-valid",
        _real(servers.pyftpdlib, certificate=_certificate("not_yet_valid")),
        r"530 .*valid from 20\d\d-",
        "upstream.failed",
        {"reason": "not_yet_valid"},
        r"valid from 20\d\d-",
        _pinned,
        {},
    ),
    Broken(
        "pins-without-verify-pin",
        _real(servers.vsftpd, certificate=_certificate("self_signed")),
        r"530 .*verify = \"pin\"",
        "upstream.failed",
        {"reason": "self_signed"},
        r"self-signed",
        lambda printed: {"upstream": {"verify": printed.found(r'verify = "(pin)"')}},
        {"upstream": {"pins": ["{self_signed}"]}},
    ),
    Broken(
        "tls-1.2-for-a-server-of-1.3",
        _real(servers.proftpd, protocols="TLSv1.3"),
        r"530 .*speaks no TLS version allowed here \(tls_min = \"1\.2\", tls_max = \"1\.2\"\)",
        "upstream.failed",
        {"reason": "protocol_version"},
        r"TLS 1\.3",
        lambda printed: {"upstream": {printed.found(r"\b(tls_max)\b"): "1.3"}},
        {"upstream": {"tls_max": "1.2"}},
    ),
)
