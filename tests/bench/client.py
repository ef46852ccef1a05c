"""A light blocking FTP client for the drivers: no copies of downloaded bytes, no objects per byte.

It speaks plain FTP to a gateway, or FTPS straight to a server (for the direct figures and for stunnel's data). There is
also the one HTTP request that asks a gateway whether it is alive.
"""

from __future__ import annotations

import re
import socket
import ssl

from tests.bench.peers import PASSWORD, USER

_SIX_NUMBERS = re.compile(rb"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)")
_UPLOAD = memoryview(bytes(1 << 18))
_DISCARD = bytearray(1 << 20)
_SECONDS = 300.0  # no single step of any work takes as long
_PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Refused(Exception):
    """The peer answered something else than the work needs."""


def probe(port: int) -> None:
    """Ask /healthz in a connection of its own, and read the answer to its end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        connection.sendall(_PROBE)
        while more := connection.recv(4096):
            answer += more
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Refused(f"/healthz: {answer[:200]!r}")


class Client:
    """One control connection.

    ``authority`` (a PEM file) makes it FTPS; ``data_port`` sends every data connection, in plain text, to that port of
    127.0.0.1 instead of the one the server named.
    """

    def __init__(self, port: int, *, authority: str | None = None, data_port: int | None = None) -> None:
        self._data_port = data_port
        self._buffer = b""
        plain = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._control: socket.socket = plain
        self._expect(self.reply(), b"220")
        if authority is not None:
            self.command(b"AUTH TLS", b"234")
            context = ssl.create_default_context(cafile=authority)
            self._control = context.wrap_socket(plain, server_hostname="localhost")

    def reply(self) -> bytes:
        """The last line of the next reply (RFC 959 section 4.2), without its end of line."""
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if end:
                self._buffer = rest
                if line[:3].isdigit() and line[3:4] == b" ":
                    return line
            else:
                more = self._control.recv(4096)
                if not more:
                    raise Refused(f"connection closed, buffered {self._buffer!r}")
                self._buffer += more

    @staticmethod
    def _expect(reply: bytes, *codes: bytes) -> bytes:
        if not reply.startswith(codes):
            raise Refused(reply.decode("utf-8", "replace"))
        return reply

    def command(self, line: bytes, *codes: bytes) -> bytes:
        """Send one line and return the last line of the answer, which must begin with one of ``codes``."""
        self._control.sendall(line + b"\r\n")
        return self._expect(self.reply(), *codes)

    def login(self, user: str = USER) -> None:
        """USER, PASS, TYPE I; on FTPS also PBSZ and PROT P."""
        if isinstance(self._control, ssl.SSLSocket):
            self.command(b"PBSZ 0", b"200")
            self.command(b"PROT P", b"200")
        if self.command(b"USER " + user.encode(), b"331", b"230").startswith(b"331"):
            self.command(b"PASS " + PASSWORD.encode(), b"230", b"202")
        self.command(b"TYPE I", b"200")

    def noop(self) -> None:
        """One round trip."""
        self.command(b"NOOP", b"200")

    def _data(self, line: bytes) -> socket.socket:
        numbers = _SIX_NUMBERS.search(self.command(b"PASV", b"227"))
        if numbers is None:
            raise Refused("a 227 without six numbers")
        port = self._data_port or int(numbers[5]) << 8 | int(numbers[6])
        connection = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        try:
            self.command(line, b"150", b"125")
        except BaseException:
            connection.close()
            raise
        return connection

    def retrieve(self, path: str, size: int) -> None:
        """RETR; exactly ``size`` bytes must come. The kernel drops them unread (MSG_TRUNC, tcp(7))."""
        got = 0
        with self._data(b"RETR " + path.encode()) as data:
            while count := data.recv_into(_DISCARD, 0, socket.MSG_TRUNC):
                got += count
        self._expect(self.reply(), b"226", b"250")
        if got != size:
            raise Refused(f"{path}: {got} bytes of {size}")

    def store(self, path: str, size: int) -> None:
        """STOR of ``size`` zero bytes."""
        with self._data(b"STOR " + path.encode()) as data:
            left = size
            while left:
                left -= data.send(_UPLOAD[: min(left, len(_UPLOAD))])
        self._expect(self.reply(), b"226", b"250")

    def quit(self) -> None:
        """QUIT and close."""
        self.command(b"QUIT", b"221")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self._control.close()
