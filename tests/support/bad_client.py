"""A scriptable misbehaving FTP client: plain sockets, blocking, a deadline on everything.

`download` and `upload` do a whole transfer; a test that wants to be rude takes it apart: `passive` or `active`, `send`,
`reply`, then the data connection's own `send`, `fin`, `reset` and `read_to_end`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.link_local import sockaddr, zoned

PATIENCE = 20.0
"""Seconds any wait may take before it is a failure (TimeoutError)."""

IAC_IP = b"\xff\xf4"
IAC_DM = b"\xff\xf2"


class Ended(Exception):
    """The gateway has ended the control connection; `how` is "fin" or "reset"."""

    def __init__(self, how: str, leftover: bytes) -> None:
        super().__init__(f"{how} after {leftover!r}")
        self.how = how
        self.leftover = leftover


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its code and its whole text, line ends included."""

    code: int
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "backslashreplace")

    @property
    def good(self) -> bool:
        return 200 <= self.code < 300


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came on a data connection and how it ended: "fin" (the file is whole, FTP says) or "reset"."""

    data: bytes
    ended: str


def set_to_reset(sock: socket.socket) -> None:
    """Have the coming close() send a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class DataConnection:
    """One data connection of the client, dialled already or still to be accepted."""

    def __init__(self, sock: socket.socket | None = None, listener: socket.socket | None = None) -> None:
        self._sock = sock
        self.listener = listener

    @property
    def sock(self) -> socket.socket:
        """The connection; accepts it first where the gateway calls back."""
        if self._sock is None:
            assert self.listener is not None
            self._sock, _ = self.listener.accept()
            self._sock.settimeout(PATIENCE)
            self.listener.close()
        return self._sock

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_what_fits(self, data: bytes, seconds: float) -> int:
        """Send until all is gone or nothing moved for so many seconds; return the number of bytes taken."""
        self.sock.settimeout(seconds)
        sent = 0
        view = memoryview(data)
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += self.sock.send(view[sent : sent + 65536])
        self.sock.settimeout(PATIENCE)
        return sent

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes, fewer only at the end."""
        data = bytearray()
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                break
            data += part
        return bytes(data)

    def read_to_end(self) -> Downloaded:
        """Read all there is and say how it ended."""
        data = bytearray()
        try:
            while part := self.sock.recv(1 << 18):
                data += part
        except ConnectionResetError:
            ended = "reset"
        else:
            ended = "fin"
        self.close()
        return Downloaded(bytes(data), ended)

    def fin(self) -> None:
        """Say the end of the file and keep the socket. Raises ConnectionResetError where the gateway has reset it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # what a reset is to shutdown(2) once a send has not heard of it
                raise
            raise ConnectionResetError from error

    def reset(self) -> None:
        """Close with a RST once the gateway's kernel has taken what was sent."""
        set_to_reset(self.sock)
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        if self.listener is not None:
            self.listener.close()

    def local_port(self) -> int:
        return int(self.sock.getsockname()[1])


class BadClient:
    """A control connection from `local` to the gateway; the greeting is read when `greeting` is true."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        local: str | None = None,
        greeting: bool = True,
        patience: float = PATIENCE,
        receive_buffer: int | None = None,
    ) -> None:
        self.host = host
        self._local = local
        self._patience = patience
        self._receive_buffer = receive_buffer
        self._buffer = bytearray()
        self._data: list[DataConnection] = []
        self.sock = self._connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.greeting = self.reply() if greeting else Reply(0, b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        for data in self._data:
            data.close()

    # The control connection

    def send(self, data: bytes) -> None:
        """Send raw bytes in one go."""
        self.sock.sendall(data)

    def send_slowly(self, data: bytes, pause: float = 0.002) -> None:
        """Send byte by byte, each in a segment of its own."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            time.sleep(pause)

    def send_synch_abort(self, command: bytes = b"ABOR\r\n") -> None:
        """Send IAC IP, IAC DM with the DM as urgent byte (Telnet Synch, RFC 959 section 4.1.3), then the command."""
        self.sock.sendall(IAC_IP)
        self.sock.sendall(b"\xff")
        self.sock.send(b"\xf2", socket.MSG_OOB)
        self.sock.sendall(command)

    def reply(self) -> Reply:
        """Read one reply, however many lines. Raises Ended or TimeoutError."""
        raw = bytearray()
        code = b""
        while True:
            line = self._line()
            raw += line
            if not code:
                match = re.match(rb"(\d{3})([ \r-])", line)
                assert match, f"no reply: {line!r}"
                code = match[1]
                if match[2] != b"-":
                    break
            elif line.startswith(code + b" "):
                break
        return Reply(int(code), bytes(raw))

    def command(self, line: str) -> Reply:
        """Send one command and read one reply."""
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def refusal(self) -> Reply:
        """Why there is no session: the greeting, or behind one of the gateway's own the reply to USER."""
        return self.command("USER anna") if self.greeting.good else self.greeting

    def login(self, user: str = "anna", password: str = "open-sesame") -> None:
        reply = self.command(f"USER {user}")
        if reply.code == 331:
            reply = self.command(f"PASS {password}")
        assert reply.code in (230, 232), reply

    def quiet(self, seconds: float = 0.3) -> bool:
        """Say whether nothing at all comes for so long."""
        if self._buffer:
            return False
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return True
        except ConnectionResetError as error:
            raise Ended("reset", b"") from error
        finally:
            self.sock.settimeout(self._patience)
        if not data:
            raise Ended("fin", b"")
        self._buffer += data
        return False

    def rest(self) -> tuple[bytes, str]:
        """Read to the end of the control connection; return what came and how it ended ("fin" or "reset")."""
        try:
            while data := self.sock.recv(65536):
                self._buffer += data
        except ConnectionResetError:
            return bytes(self._buffer), "reset"
        return bytes(self._buffer), "fin"

    def reset(self) -> None:
        set_to_reset(self.sock)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    # Data connections

    def passive_address(self, verb: str = "EPSV") -> tuple[str, int]:
        """Ask for a passive port (`verb` may carry an argument) and return where to connect."""
        reply = self.command(verb)
        if reply.code == 229:
            match = re.search(rb"\(\|\|\|(\d+)\|\)", reply.raw)
            assert match, reply
            return self.host, int(match[1])
        assert reply.code == 227, reply
        match = re.search(rb"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)", reply.raw)
        assert match, reply
        numbers = [int(number) for number in match.groups()]
        return ".".join(str(number) for number in numbers[:4]), numbers[4] * 256 + numbers[5]

    def passive(self, verb: str = "EPSV") -> DataConnection:
        """Ask for a passive port and connect to it."""
        return self.dial(self.passive_address(verb))

    def dial(self, address: tuple[str, int]) -> DataConnection:
        """Connect to a passive port."""
        return self._keep(DataConnection(self._connect(address)))

    def active(self, verb: str = "PORT") -> DataConnection:
        """Listen, and tell the gateway with PORT or EPRT where."""
        name = self.sock.getsockname()
        host = name[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server(sockaddr(zoned(name), 0), family=family)
        listener.settimeout(self._patience)
        data = self._keep(DataConnection(listener=listener))
        reply = self.command(f"{verb} {active_argument(verb, host, listener.getsockname()[1])}")
        assert reply.code == 200, reply
        return data

    def data(self, mode: str) -> DataConnection:
        """A data connection by any of EPSV, PASV, PORT, EPRT."""
        return self.passive(mode) if mode in ("EPSV", "PASV") else self.active(mode)

    def download(self, name: str = "file", mode: str = "EPSV", verb: str = "RETR") -> tuple[Downloaded, list[Reply]]:
        """Fetch a file; return what came, and all the replies (preliminary and final) in their order."""
        data = self.data(mode)
        replies = [self.command(f"{verb} {name}".rstrip())]
        if not 100 <= replies[0].code < 200:
            data.close()
            return Downloaded(b"", "refused"), replies
        downloaded = data.read_to_end()
        replies.append(self.reply())
        return downloaded, replies

    def upload(self, content: bytes, name: str = "file", mode: str = "EPSV", verb: str = "STOR") -> list[Reply]:
        """Send a file and end it properly; return all the replies. A gateway that resets meanwhile is no error."""
        data = self.data(mode)
        replies = [self.command(f"{verb} {name}".rstrip())]
        if 100 <= replies[0].code < 200:
            with contextlib.suppress(ConnectionError):
                data.send(content)
                data.fin()
            replies.append(self.reply())
        data.close()
        return replies

    def _keep(self, data: DataConnection) -> DataConnection:
        self._data.append(data)
        return data

    def _connect(self, address: tuple[str, int]) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.settimeout(self._patience)
        try:
            if self._local is not None:
                sock.bind(sockaddr(self._local, 0))
            sock.connect(sockaddr(*address))
        except BaseException:
            sock.close()
            raise
        return sock

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError as error:
                raise Ended("reset", bytes(self._buffer)) from error
            if not data:
                raise Ended("fin", bytes(self._buffer))
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line + b"\n"


def active_argument(verb: str, host: str, port: int) -> str:
    """The argument of PORT or EPRT for this address."""
    if verb == "PORT":
        return f"{host.replace('.', ',')},{port >> 8},{port & 255}"
    return f"|{2 if ipaddress.ip_address(host).version == 6 else 1}|{host}|{port}|"
