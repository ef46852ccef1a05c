"""A load balancer that speaks the PROXY protocol stands before the gateway, or a server that wants it behind."""

from __future__ import annotations

import contextlib
import ftplib
import io
import re
import socket
from collections.abc import Iterator

import pytest

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, start_gateway
from tests.support.servers import PASSWORD, USER, Endpoint

BALANCER = "127.0.0.9"
CLIENT, REACHED = "10.1.2.3", "10.9.9.9"
V1 = f"PROXY TCP4 {CLIENT} {REACHED} 4711 21\r\n".encode()
V6 = b"PROXY TCP6 fd00::1 fd00::9 4711 21\r\n"
LOCAL_V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0\0\0"


class Behind(ftplib.FTP):
    """A client behind a balancer that connects from `source` and says `header` first."""

    def __init__(
        self, to: Endpoint, header: bytes, *, source: str = BALANCER, data_header: bytes | None = None
    ) -> None:
        super().__init__()
        self._to, self.source = to, source
        self.data_header = header if data_header is None else data_header
        self.shown = ""
        self.af = socket.AF_INET
        self.sock = self.connection(to.port, header)
        self.file = self.sock.makefile("r", encoding="latin-1")
        try:
            self.welcome = self.getresp()
        except BaseException:
            self.close()
            raise

    def connection(self, port: int, header: bytes) -> socket.socket:
        sock = socket.create_connection((self._to.host, port), 30, source_address=(self.source, 0))
        sock.sendall(header)
        return sock

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        self.shown, port = ftplib.parse227(self.sendcmd("PASV"))
        sock = self.connection(port, self.data_header)
        try:
            assert self.sendcmd(cmd).startswith("1")
        except BaseException:
            sock.close()
            raise
        return sock, None

    def refused(self, cmd: str) -> None:
        """No data connection comes of this command."""
        with self.ntransfercmd(cmd)[0] as sock, contextlib.suppress(OSError):
            sock.sendall(b"no header")
        with pytest.raises(ftplib.error_temp, match=r"425 .*one came from"):
            self.getresp()

    def log_in(self) -> None:
        self.login(USER, PASSWORD)


@pytest.fixture(scope="module")
def running(certificates: Certificates) -> Iterator[Gateway]:
    with (
        servers.pyftpdlib(certificates) as server,
        start_gateway(
            server.url,
            certificates.ca_file,
            listener={
                "proxy_protocol": [BALANCER],
                "proxy_protocol_data": True,
                "clients": ["10.1.0.0/16", "127.0.0.0/8"],
            },
            timeouts={"data_connect": 2},
        ) as started,
    ):
        yield started


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    running.wait_for_sessions()  # of the test before
    return running


def test_the_clients_own_address_is_what_counts(gateway: Gateway) -> None:
    since = gateway.mark()
    with Behind(gateway.endpoint, V1) as ftp:
        ftp.log_in()
        ftp.storbinary("STOR behind", io.BytesIO(b"x" * 100_000))
        assert ftp.shown == REACHED  # where the client can connect to
        found = bytearray()
        ftp.retrbinary("RETR behind", found.extend)
        assert found == b"x" * 100_000
        with pytest.raises(ftplib.error_perm):  # somebody else's address
            ftp.sendport(BALANCER, 5000)
    closed = gateway.wait_for_event("session.closed", since=since)
    assert (closed["client"], closed["transfers"], closed["torn"]) == (CLIENT, 2, 0)
    assert {one["client_mode"] for one in gateway.events("transfer.finished", since=since)} == {"balanced"}


def test_a_data_connection_without_a_header_is_nobodys(gateway: Gateway) -> None:
    since = gateway.mark()
    with Behind(gateway.endpoint, V1, data_header=b"") as ftp:
        ftp.log_in()
        ftp.refused("STOR unheard")
    assert "PROXY header" in gateway.wait_for_event("data.stranger", since=since)["detail"]


def test_one_for_somebody_else_is_not_taken(gateway: Gateway) -> None:
    since = gateway.mark()
    with Behind(gateway.endpoint, V1, data_header=V1.replace(b"10.1.2.3", b"10.1.2.4")) as ftp:
        ftp.log_in()
        ftp.refused("STOR anothers")
    failed = gateway.wait_for_event("data.failed", since=since)  # a port names its strangers every 10 s at most
    assert (failed["cause"], failed["came_from"]) == ("foreign_address", "10.1.2.4")


def test_data_connections_by_a_balancer_are_taken_only_where_the_operator_will_have_them(
    certificates: Certificates,
) -> None:
    with (
        servers.pyftpdlib(certificates) as server,
        start_gateway(
            server.url,
            certificates.ca_file,
            listener={"proxy_protocol": [BALANCER], "passive_address": "127.0.0.1"},
            timeouts={"data_connect": 2},
        ) as gateway,
    ):
        with Behind(gateway.endpoint, V1.replace(b"10.1.2.3", b"127.0.0.8")) as ftp:
            ftp.log_in()
            ftp.refused("STOR by_the_balancer")
            ftp.source, ftp.data_header = "127.0.0.8", b""
            ftp.storbinary("STOR straight", io.BytesIO(b"x" * 1000))
        assert gateway.wait_for_event("transfer.finished", count=2)["client_mode"] == "passive"


def test_epsv_is_refused_where_it_would_lead_to_the_balancer(certificates: Certificates) -> None:
    """229 has no address: at the balancer nobody listens, and the transfer would fail only when its time is up."""
    with (
        servers.pyftpdlib(certificates) as server,
        start_gateway(
            server.url,
            certificates.ca_file,
            listener={"proxy_protocol": [BALANCER], "passive_address": "127.0.0.1"},
        ) as gateway,
    ):
        with Behind(gateway.endpoint, V1) as ftp:
            ftp.log_in()
            for command in ("EPSV", "EPSV 1", "EPSV ALL"):
                with pytest.raises(ftplib.error_perm, match=r"^502 Data connections go to 127\.0\.0\.1, .*use PASV"):
                    ftp.sendcmd(command)
            assert ftp.sendcmd("PASV").startswith("227 ")
        with Behind(gateway.endpoint, b"", source="127.0.0.1") as ftp:  # before a NAT both are the same address
            ftp.log_in()
            assert ftp.sendcmd("EPSV").startswith("229 ")
        for reached, reply in ((V1.replace(b"10.9.9.9", b"127.0.0.1"), "229"), (V6, "502 .*use PASV")):
            with Behind(gateway.endpoint, reached) as ftp:
                ftp.log_in()
                ftp.putcmd("EPSV")
                assert re.match(reply, ftp.getmultiline())


def test_clients_come_without_a_balancer_too(gateway: Gateway) -> None:
    since = gateway.mark()
    with Behind(gateway.endpoint, b"", source="127.0.0.1") as ftp:
        ftp.log_in()
        ftp.storbinary("STOR direct", io.BytesIO(b"x" * 1000))
    assert gateway.wait_for_event("session.closed", since=since)["client"] == "127.0.0.1"


def test_who_is_not_allowed_is_not_let_in_by_a_balancer(gateway: Gateway) -> None:
    since = gateway.mark()
    with pytest.raises(ftplib.error_temp, match=r"421 .*address not allowed"):
        Behind(gateway.endpoint, V1.replace(b"10.1.2.3", b"10.2.2.3"))
    assert gateway.wait_for_event("session.refused", since=since)["client"] == "10.2.2.3"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"USER device\r\n", "begins without a PROXY header"),
        (b"PROXY TCP4 " + b"1" * 200, "does not end within 107 bytes"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "a PROXY header of 65551 bytes"),
    ],
)
def test_a_balancer_without_a_right_header_hears_why(gateway: Gateway, said: bytes, why: str) -> None:
    since = gateway.mark()
    with pytest.raises(ftplib.error_temp, match=rf"421 .*{why}"):
        Behind(gateway.endpoint, said)
    refused = gateway.wait_for_event("session.refused", since=since)
    assert (refused["client"], refused["limit"]) == (BALANCER, "proxy_protocol")


@pytest.mark.parametrize("said", [b"", LOCAL_V2])
def test_health_checks_leave_no_line(gateway: Gateway, said: bytes) -> None:
    since = gateway.mark()
    with socket.create_connection(
        (gateway.endpoint.host, gateway.endpoint.port), 30, source_address=(BALANCER, 0)
    ) as sock:
        sock.sendall(said)
        if said:
            sock.recv(100)
    test_clients_come_without_a_balancer_too(gateway)
    others = [one for one in gateway.events(since=since) if one.get("client") not in ("127.0.0.1", None)]
    assert {one["level"] for one in others} <= {"debug"}


@pytest.mark.parametrize("header", [V1, LOCAL_V2.replace(b"\x20", b"\x21"), V1[:4]])
@pytest.mark.parametrize("dial", ["login", "connect"])
def test_from_anyone_else_nothing_goes_upstream(certificates: Certificates, header: bytes, dial: str) -> None:
    with (
        servers.pyftpdlib(certificates) as server,
        start_gateway(
            server.url, certificates.ca_file, listener={"proxy_protocol": [BALANCER], "dial": dial}
        ) as gateway,
        socket.create_connection((gateway.endpoint.host, gateway.endpoint.port), 30) as sock,
    ):
        sock.sendall(header)
        if header == V1[:4]:  # in pieces
            assert sock.recv(1000)
            sock.sendall(V1[4:])
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
        assert gateway.wait_for_event("session.foreign")["protocol"] == "proxy"
        assert not [one for one in gateway.events("session.command") if one["verb"] == "PROXY" and dial == "login"]
