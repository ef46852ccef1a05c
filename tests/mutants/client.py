"""The client of a case: plays its steps on plain sockets, waits for nothing long, and notes what came of it."""

from __future__ import annotations

import contextlib
import re
import socket
import time

from tests.campaign.links import UNREAD, counted
from tests.mutants.cases import Case
from tests.mutants.seen import ClientData, SeenClient
from tests.mutants.steps import NAME, PASSWORD, USER, Step
from tests.support.bad_client import set_to_reset

BUDGET = 12.0
"""Seconds for all steps; a case has done enough by then."""
STAYS = 40.0
_TRANSFERS = re.compile(rb"(RETR|STOR|STOU|APPE|LIST|NLST|MLSD)\b[^\r\n\0\xff]*\r\n", re.IGNORECASE)
_LINE = re.compile(rb"[^\r\n\0\xff]+\r\n")


class Client:
    """One session. `play` returns when it is over at our end."""

    def __init__(self, case: Case, port: int) -> None:
        self._case = case
        self._port = port
        self._until = time.monotonic() + BUDGET
        self._patience = case.patience
        self._buffer = bytearray()
        self._port_told = 0
        self._listener: socket.socket | None = None
        self._data: socket.socket | None = None
        self._gone = False
        self._owed = 0  # replies to come; below zero: who knows
        self._asked = b""
        self._begun = False
        self.seen = SeenClient()

    def play(self) -> SeenClient:
        """Raises AssertionError if the gateway takes nobody in."""
        self._control = self._socket()
        try:
            self._connect(self._control, self._port, 20.0)
            self.seen.connected = True
            self._owed = 1
            for step in self._case.client_steps():
                if time.monotonic() > self._until:
                    break
                self._one(step)
            self._leave()
        finally:
            self._close_data()
            self._close_listener()
            self._control.close()
        return self.seen

    def _one(self, step: Step) -> None:
        try:
            getattr(self, f"_{step.do}")(step)
        except OSError:
            if step.where == "control":
                self._gone = True

    # The control connection

    def _say(self, step: Step) -> None:
        if self._gone:
            return
        text = self._fill(step.data)
        self.seen.said.append(text)
        self._owed = self._owed + 1 if self._owed == 0 and _LINE.fullmatch(text) else -1
        self._asked, self._begun = text, False
        self._control.sendall(text)

    def _urgent(self, step: Step) -> None:
        """Telnet Synch (RFC 959 section 4.1.3)."""
        self._owed = -1
        if not self._gone:
            self.seen.said.append(b"\xff\xf4\xff\xf2" + step.data)
            self._control.sendall(b"\xff\xf4")
            self._control.send(b"\xff", socket.MSG_OOB)
            self._control.sendall(b"\xf2" + step.data)

    def _hear(self, step: Step) -> None:
        """One reply, or nothing for a while."""
        lines = [self._line()]
        while lines[-1] and not re.match(rb"\d\d\d[ \r]", lines[-1]):
            lines.append(self._line())
        if not lines[-1]:
            self._owed = -1
            self._patience = min(self._patience, 0.2)
            return
        if found := re.match(rb"229.*\(\|\|\|(\d+)\|\)", lines[-1]):
            self._port_told = int(found[1])
        elif found := re.match(rb"227.*?(\d+),(\d+)\)", lines[-1]):
            self._port_told = int(found[1]) * 256 + int(found[2])
        code = int(lines[-1][:3])
        if code < 200:
            self._begun = True
            return
        if self._owed == 1 and self._begun and code in (226, 250) and _TRANSFERS.fullmatch(self._asked):
            self.seen.claims.append(self._asked)
        self._owed -= self._owed == 1

    def _line(self) -> bytes:
        until = time.monotonic() + self._patience
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or self._gone or not self._receive(left):
                return b""
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line + b"\n"

    def _receive(self, seconds: float) -> bool:
        """Whether something has come."""
        self._control.settimeout(max(seconds, 0.01))
        try:
            data = self._control.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            self.seen.ended = "reset"
            self._gone = True
            return False
        if not data:
            self.seen.ended = "fin"
            self._gone = True
        self._buffer += data
        self.seen.heard += data
        return bool(data)

    def _fill(self, text: bytes) -> bytes:
        if b"{" not in text:
            return text
        words = {b"{user}": USER.encode(), b"{password}": PASSWORD.encode(), b"{name}": NAME.encode()}
        if self._listener is not None:
            host, port = self._case.address, self._listener.getsockname()[1]
            words[b"EPRT {address}"] = f"EPRT |1|{host}|{port}|".encode()
            words[b"{address}"] = f"{host.replace('.', ',')},{port >> 8},{port & 255}".encode()
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    def _pause(self, step: Step) -> None:
        time.sleep(step.number)

    def _end(self, step: Step) -> None:
        """FIN or RST of either connection."""
        sock = self._control if step.where == "control" else self._data_now()
        if sock is None:
            return
        if step.data == b"rst":
            if step.where == "control":
                self._gone = True
                set_to_reset(sock)
                sock.close()
            else:
                self.seen.data[-1].cut = True
                set_to_reset(sock)
                self._close_data()
        elif step.where == "control":
            sock.shutdown(socket.SHUT_WR)
        else:
            self._fin(step)

    # Data connections

    def _dial(self, step: Step) -> None:
        if self._port_told:
            self._close_data()
            sock = self._data = self._socket()
            self.seen.data.append(ClientData())
            self._connect(sock, self._port_told, self._patience)

    def _listen(self, step: Step) -> None:
        self._close_listener()
        self._listener = socket.create_server((self._case.address, 0))
        self._listener.settimeout(self._patience)

    def _close_listener(self) -> None:
        """A call that nobody has taken is one that we end."""
        if self._listener is not None:
            self._listener.setblocking(False)
            with self._listener, contextlib.suppress(OSError), self._listener.accept()[0] as sock:
                self.seen.data.insert(0, ClientData(cut=True, fin=not counted(sock, UNREAD)))

    def _data_now(self) -> socket.socket | None:
        """The data connection; the gateway's call is taken where there is none."""
        if self._data is None and self._listener is not None:
            with contextlib.suppress(TimeoutError):
                self._data, _ = self._listener.accept()
                self.seen.data.append(ClientData())
        return self._data

    def _send(self, step: Step) -> None:
        sock = self._data_now()
        if sock is None:
            return
        seen = self.seen.data[-1]
        sock.settimeout(max(self._patience, 1.0))
        view = memoryview(step.data)
        try:
            while view:
                sent = sock.send(view)
                seen.sent += view[:sent]
                view = view[sent:]
        except OSError:
            seen.cut = True
            raise

    def _fin(self, step: Step) -> None:
        if (sock := self._data_now()) is not None:
            sock.shutdown(socket.SHUT_WR)
            seen = self.seen.data[-1]
            seen.fin = seen.fin or not seen.cut

    def _read(self, step: Step) -> None:
        """To the end, or so many bytes."""
        sock = self._data_now()
        if sock is None or self.seen.data[-1].ended:  # the kernel says RST once only
            return
        seen = self.seen.data[-1]
        sock.settimeout(max(self._patience, 1.0))
        left = int(step.number) or 1 << 40
        while left > 0 and time.monotonic() < self._until:
            try:
                data = sock.recv(min(left, 65536))
            except TimeoutError:
                return
            except OSError:
                seen.ended = "reset"
                return
            if not data:
                seen.ended = "fin"
                return
            seen.received += data
            left -= len(data)

    def _accept(self, step: Step) -> None:
        self._data_now()

    def _close(self, step: Step) -> None:
        self._close_data()

    def _close_data(self) -> None:
        """As close(2) does it: FIN, or RST where something is unread."""
        if self._data is not None:
            seen = self.seen.data[-1]
            if seen.ended != "fin":
                self._note_end(seen, self._data)
            self._data.close()
            self._data = None

    def _note_end(self, seen: ClientData, sock: socket.socket) -> None:
        """Read what is there; what we do not read means that we are the one who ends."""
        if sock.fileno() >= 0 and not seen.cut and not counted(sock, UNREAD):
            seen.fin = True  # a FIN, as far as can be known
        if not seen.ended:
            seen.cut = True

    # The end

    def _leave(self) -> None:
        match self._case.leave:
            case "reset" if not self._gone:
                set_to_reset(self._control)
            case "half" if not self._gone:
                with contextlib.suppress(OSError):
                    self._control.shutdown(socket.SHUT_WR)
                self._hear_out(2.0)
            case "stay":
                self._hear_out(STAYS)

    def _hear_out(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._gone and (left := until - time.monotonic()) > 0:
            self._receive(left)

    def _socket(self) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((self._case.address, 0))
        return sock

    def _connect(self, sock: socket.socket, port: int, seconds: float) -> None:
        sock.settimeout(seconds)
        sock.connect(("127.0.0.1", port))
