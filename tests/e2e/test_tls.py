"""No verified TLS, no session; and what leaves the gateway, seen from the wire."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.sessions import logged_in, refusal
from tests.support import servers
from tests.support.certificates import Certificates, KeyPair
from tests.support.gateway import start_gateway
from tests.support.servers import PASSWORD, USER

BAD = ["expired", "not_yet_valid", "wrong_host", "unknown_authority", "self_signed"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_bad_certificate(certificates: Certificates, bad: str, implicit: bool) -> None:
    pair: KeyPair = getattr(certificates, bad)
    with (
        servers.vsftpd(certificates, certificate=pair, implicit=implicit) as server,
        start_gateway(server.url, certificates.ca_file) as gateway,
    ):
        said = refusal(gateway.endpoint)
        failed = gateway.wait_for_event("upstream.failed")
        gateway.wait_for_event("session.closed")
        assert not gateway.events("upstream.secured")
        log = server.log()
        digits = failed["certificate_sha256"]
        for pin in (_pin_in(said), digits, ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()):
            with (
                start_gateway(server.url, None, upstream={"verify": "pin", "pins": [pin]}) as gateway,
                logged_in(gateway.endpoint) as ftp,
            ):
                assert ftp.nlst() == []
            (secured,) = gateway.events("upstream.secured")
            assert (secured["verified_by"], secured["pin"]) == ("pin", pair.spki_pin)
    assert said.startswith("530"), said
    assert failed["cause"], failed
    assert "USER" not in log, log


def _pin_in(said: str) -> str:
    """What the client was told, and the operator may paste."""
    found = re.search(r"pin (sha256/\S{44})", said)
    assert found, said
    return found[1]


def test_revoked_certificate(certificates: Certificates) -> None:
    with servers.vsftpd(certificates, certificate=certificates.revoked) as server:
        with start_gateway(server.url, certificates.ca_file, upstream={"crl_file": certificates.crl_file}) as gateway:
            assert refusal(gateway.endpoint).startswith("530")
            gateway.wait_for_event("upstream.failed")
        assert "USER" not in server.log()
        with (
            start_gateway(server.url, certificates.ca_file) as gateway,
            logged_in(gateway.endpoint) as ftp,
        ):
            assert ftp.pwd() == "/"  # but for the list it is a good one


def test_good_certificate_with_revocation_list(certificates: Certificates) -> None:
    with (
        servers.vsftpd(certificates) as server,
        start_gateway(server.url, certificates.ca_file, upstream={"crl_file": certificates.crl_file}) as gateway,
        logged_in(gateway.endpoint) as ftp,
    ):
        assert ftp.nlst() == []


def test_pinned_self_signed_certificate(certificates: Certificates) -> None:
    pair = certificates.self_signed
    pinned = {"verify": "pin", "pins": [pair.spki_pin]}
    with servers.vsftpd(certificates, certificate=pair) as server:
        with start_gateway(server.url, None, upstream=pinned) as gateway, logged_in(gateway.endpoint) as ftp:
            assert ftp.nlst() == []
        wrong = {"verify": "pin", "pins": ["sha256/" + "A" * 43 + "="]}
        with start_gateway(server.url, None, upstream=wrong) as gateway:
            assert refusal(gateway.endpoint).startswith("530")


def test_client_certificate(certificates: Certificates) -> None:
    with servers.proftpd(certificates, client_ca=certificates.ca_file) as server:
        own = {"cert_file": certificates.client.certificate_file, "key_file": certificates.client.key_file}
        with (
            start_gateway(server.url, certificates.ca_file, upstream=own) as gateway,
            logged_in(gateway.endpoint) as ftp,
        ):
            assert ftp.nlst() == []
        with start_gateway(server.url, certificates.ca_file) as gateway:
            assert refusal(gateway.endpoint).startswith("530")
        assert server.log().count(f"USER {USER}: Login successful") <= 1


@pytest.mark.parametrize(
    ("limits", "protocols", "version"),
    [({"tls_max": "1.2"}, "TLSv1.2 TLSv1.3", "TLSv1.2"), ({"tls_min": "1.3"}, "TLSv1.2 TLSv1.3", "TLSv1.3")],
)
def test_tls_version_limits(certificates: Certificates, limits: dict[str, Any], protocols: str, version: str) -> None:
    with (
        servers.proftpd(certificates, protocols=protocols) as server,
        start_gateway(server.url, certificates.ca_file, upstream=limits) as gateway,
        logged_in(gateway.endpoint) as ftp,
    ):
        assert ftp.nlst() == []
        assert gateway.wait_for_event("upstream.secured")["tls_version"] == version
        assert gateway.wait_for_event("transfer.finished")["tls_version"] == version


def test_no_common_tls_version(certificates: Certificates) -> None:
    with (
        servers.proftpd(certificates, protocols="TLSv1.2") as server,
        start_gateway(server.url, certificates.ca_file, upstream={"tls_min": "1.3"}) as gateway,
    ):
        assert refusal(gateway.endpoint).startswith("530")
        gateway.wait_for_event("upstream.failed")


def test_plaintext_server_is_refused(certificates: Certificates) -> None:
    with (
        servers.plaintext() as server,
        start_gateway(server.url, certificates.ca_file) as gateway,
    ):
        assert refusal(gateway.endpoint).startswith("530")
        gateway.wait_for_event("upstream.failed")
        assert USER not in server.log()


def test_nothing_but_auth_in_clear(certificates: Certificates) -> None:
    """The control connection as a wiretap sees it: AUTH TLS, then TLS records only."""
    with (
        servers.vsftpd(certificates) as server,
        _wiretap(server.host, server.port) as (port, sent),
        start_gateway(f"ftpes://127.0.0.1:{port}", certificates.ca_file) as gateway,
    ):
        with logged_in(gateway.endpoint) as ftp:
            assert ftp.nlst() == []
        gateway.wait_for_event("session.closed")
        wire = bytes(sent)
    opening, _, rest = wire.partition(b"\r\n")
    assert opening == b"AUTH TLS"
    assert len(rest) > 500
    position = 0
    while position < len(rest):
        kind, major = rest[position], rest[position + 1]
        assert kind in (20, 21, 22, 23), "not a TLS record (RFC 8446 section 5.1)"
        assert major == 3
        position += 5 + int.from_bytes(rest[position + 3 : position + 5])
    assert position == len(rest)
    for secret in (USER, PASSWORD):
        assert secret.encode() not in wire


@contextlib.contextmanager
def _wiretap(host: str, port: int) -> Iterator[tuple[int, bytearray]]:
    """Passes one connection on to ``host``; yields its own port and the bytes the caller has sent so far."""
    sent = bytearray()

    def copy(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            near, _ = listener.accept()
            with near, socket.create_connection((host, port), timeout=60) as far:
                near.settimeout(60)
                back = threading.Thread(target=copy, args=(far, near, None))
                back.start()
                copy(near, far, sent)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], sent
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(90)
