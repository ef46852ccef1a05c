"""The servers of the cases: answers as recorded from real ones, each answer a list of steps that may be mutated.

One `Upstream` a lane of the stage; it plays one case at a time, and a session in a thread of its own, transfers in
another, so that ABOR is heard.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag
from OpenSSL.SSL import Error

from tests.mutants.cases import RECORDED, Case
from tests.mutants.seen import SeenServer, ServerData
from tests.mutants.steps import FIN, Step, payload
from tests.mutants.wire import Wire
from tests.support.certificates import Certificates
from tests.support.hostile.renegotiating import Renegotiating

PATIENCE = 3.0
_IDLE = 60.0
_READS_ON = 10.0  # once the gateway has closed all
_DOWN, _UP = (b"RETR", b"LIST", b"NLST", b"MLSD"), (b"STOR", b"STOU", b"APPE")
_PASSIVE = {
    b"EPSV": "229 Entering Extended Passive Mode (|||{port}|)\r\n",
    b"PASV": "227 Entering Passive Mode (127,0,0,1,{p1},{p2}).\r\n",
}


class Upstream:
    """Listens while the `with` block lasts. `play` says which case comes next; `seen` is what was seen of it."""

    def __init__(self, certificates: Certificates, *, implicit: bool) -> None:
        self.certificates = certificates
        self.implicit = implicit
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="mutants' server")
        self._sessions: list[_Session] = []
        self._case: Case | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._listener.close()
        self.over()

    def play(self, case: Case) -> None:
        self._case, self._sessions = case, []

    def over(self) -> list[SeenServer]:
        """Say what was seen, once all that has come is read. More than one session is one too many."""
        for session in self._sessions:
            session.join(_READS_ON)
            session.stop()
        return [session.seen for session in self._sessions]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._case is None:
                sock.close()
                continue
            session = _Session(self, self._case, sock)
            self._sessions.append(session)
            session.start()


class _Session(threading.Thread):
    """One control connection."""

    def __init__(self, upstream: Upstream, case: Case, sock: socket.socket) -> None:
        super().__init__(name=f"mutants' session {case.number}")
        self._upstream = upstream
        self._case = case
        self._control = Wire(sock, PATIENCE)
        self._data: tuple[Wire, ServerData] | None = None
        self._context: ssl.SSLContext | None = None
        self._folder = tempfile.TemporaryDirectory() if case.by_hand else None
        self._listener: socket.socket | None = None
        self._dial: tuple[str, int] | None = None
        self._transfer: threading.Thread | None = None
        self._transfers = 0
        self._rest = 0
        self._stopped = False
        self.seen = SeenServer()

    def stop(self) -> None:
        self._stopped = True
        self._control.wake()
        if self._data is not None:
            self._data[0].wake()
        self.join(30)
        if self.is_alive():
            raise AssertionError(f"a server of ours hangs: {self._case}")

    # Life

    def run(self) -> None:
        try:
            self._talk()
        finally:
            self.seen.raw = self._control.raw
            if self._transfer is not None:
                self._transfer.join(30)
            self._control.close()
            if self._listener is not None:
                self._listener.close()
            if self._folder is not None:
                self._folder.cleanup()

    def _talk(self) -> None:
        greeting = [Step("say", self._recorded("")[0])]
        if self._upstream.implicit:
            greeting.insert(0, Step("tls"))
        self._turn(0, greeting)
        turn, buffer, until = 1, b"", time.monotonic() + _IDLE
        while not self._stopped and not self._control.ended and time.monotonic() < until:
            line, newline, rest = buffer.partition(b"\n")
            if not newline:
                buffer += self._control.read_on()
                continue
            buffer = rest
            self.seen.commands.append(line + b"\n")
            self._answer(turn, line.rstrip(b"\r"))
            turn += 1

    def _turn(self, turn: int, steps: list[Step]) -> None:
        self._case.mutate("turn", turn, steps)
        self._play(steps, None)

    def _answer(self, turn: int, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if verb in (*_DOWN, *_UP):
            if self._transfer is not None:
                self._transfer.join(PATIENCE)
            steps, seen = self._transferring(verb, argument), ServerData(verb)
            self._case.mutate("turn", turn, steps)
            if any(step.do == "open" for step in steps):
                self._case.mutate("transfer", self._transfers, steps)
                self._transfers += 1
            self._transfer = threading.Thread(target=self._play, args=(steps, seen))
            self._transfer.start()
        else:
            self._turn(turn, self._answering(verb, argument))

    def _answering(self, verb: bytes, argument: bytes) -> list[Step]:
        name = verb.decode("latin-1")
        if verb in _PASSIVE:
            return [Step("passive"), Step("say", _PASSIVE[verb].encode())]
        if verb in (b"PORT", b"EPRT"):
            self._note_address(verb, argument)
            return [Step("say", f"200 {name} command successful.\r\n".encode())]
        if verb == b"SIZE":
            size = len(self._file())
            return [Step("say", b"213 %d\r\n" % size)] if argument != b"nothing" else [Step("say", b"550 none\r\n")]
        if verb == b"ABOR" and self._transfer is not None and self._transfer.is_alive():
            return [
                Step("abort"),
                Step("say", b"426 Failure writing network stream.\r\n"),
                Step("say", b"226 ABOR ok.\r\n"),
            ]
        if verb == b"REST" and argument.isdigit():
            self._rest = int(argument)
        steps = [Step("say", word) for word in self._recorded(name)]
        if verb == b"AUTH":
            steps.append(Step("tls"))
        if verb == b"QUIT":
            steps.append(FIN)
        return steps

    def _transferring(self, verb: bytes, argument: bytes) -> list[Step]:
        words = self._recorded(verb.decode())
        if argument == b"nothing" or len(words) < 2 or (self._listener is None and self._dial is None):
            return [Step("say", self._recorded(verb.decode() + " no")[0])]
        begin = [Step("say", words[0]), Step("open", where="data"), Step("seal", where="data")]
        end = [Step(do, where="data") for do in ("close_notify", "fin", "drain")]
        middle = [Step("receive", where="data", number=10_000), Step("receive", where="data")]
        if verb in _DOWN:
            body = self._file()[self._rest :] if verb == b"RETR" else b"-rw-r--r-- 1 a a 1 Jan  1  2020 file\r\n" * 40
            self._rest = 0
            third = len(body) // 3 + 1
            middle = [Step("send", body[at : at + third], "data") for at in range(0, len(body), third)]
        return [*begin, *middle, *end, Step("say", words[1])]

    def _recorded(self, verb: str) -> list[bytes]:
        known = RECORDED[self._case.server]
        words = known.get(verb) or known.get(f"{verb} no") or known["XFOO no"]
        return [word.encode("latin-1") for word in words]

    def _file(self) -> bytes:
        return payload(f"{self._case.key}/server", self._case.size)

    def _note_address(self, verb: bytes, argument: bytes) -> None:
        numbers = re.findall(rb"\d+", argument)
        if verb == b"PORT" and len(numbers) == 6:
            self._dial = ".".join(map(bytes.decode, numbers[:4])), int(numbers[4]) * 256 + int(numbers[5])
        elif verb == b"EPRT" and argument.count(b"|") == 4:
            _, _, host, port, _ = argument.split(b"|")
            self._dial = host.decode(), int(port)

    # Steps

    def _play(self, steps: list[Step], seen: ServerData | None) -> None:
        """A turn. `seen` is there for a transfer, which is over at its end."""
        wire: Wire | None = None
        for step in steps:
            if self._stopped:
                break
            try:
                if step.where == "control":
                    self._on_control(step)
                elif step.do == "open" and seen is not None:
                    wire = wire or self._open(seen)
                elif wire is not None and seen is not None:
                    self._on_data(step, wire, seen)
            except (OSError, InvalidTag, ValueError, AssertionError, Error) as error:
                self.seen.troubles.append(f"{step.do}: {error!r}")
                if seen is not None and step.where == "data" and step.do != "seal":
                    seen.spoilt = seen.spoilt or not isinstance(error, AssertionError)  # nothing was sent then
        if wire is not None and seen is not None:
            seen.ended = seen.ended or wire.ended
            seen.note_fin()
            if wire.records.wrong:
                seen.in_clear = bytes(wire.raw)
            self._data = None
            wire.close()

    def _on_control(self, step: Step) -> None:
        wire = self._control
        match step.do:
            case "say":
                self.seen.said.append(step.data)
                wire.say(self._fill(step.data))
            case "passive":
                self._listen()
            case "abort":
                if self._data is not None:
                    self._data[1].reset = True
                    self._data[0].end(b"rst")
            case "tls":
                self.seen.good_certificate = self.seen.good_certificate and not step.data
                if not wire.secured:
                    wire.start_tls(self._tls_context(step.data))
                    self.seen.secured = True
            case _:
                self._spoil(step, wire)

    def _spoil(self, step: Step, wire: Wire) -> None:
        match step.do:
            case "pause":
                time.sleep(step.number)
            case "record":
                wire.say_aside([(int(step.number), step.data)])
            case "raw":
                wire.write_raw(step.data)
            case "corrupt" | "half":
                wire.spoil(step.do)
            case "alert":
                wire.alert()
            case "close_notify":
                wire.close_notify()
            case "tiny":
                wire.tiny = self._case.by_hand
            case "end":
                wire.end(step.data)
            case _:
                raise ValueError(f"a server does not {step.do}")

    def _on_data(self, step: Step, wire: Wire, seen: ServerData) -> None:
        if step.do in ("record", "tiny") and not self._case.by_hand:
            return
        match step.do:
            case "seal":
                if not wire.secured:
                    seen.good_certificate = not step.data
                    wire.start_tls(self._tls_context(step.data))
                    seen.secured = True
            case "renegotiate":
                self._renegotiate(step, wire, seen)
            case "send":
                seen.spoilt = seen.spoilt or not wire.secured
                wire.say(step.data)
                seen.sent += step.data
            case "receive":
                self._receive(wire, seen, int(step.number))
            case "close_notify":
                if wire.secured:
                    wire.close_notify()
                    seen.note_close_notify()
            case "fin":
                seen.note_fin()
                wire.fin()
            case "drain":
                self._receive(wire, seen, 0)
            case "pause":
                time.sleep(step.number)
            case _:
                seen.reset = seen.reset or (step.do == "end" and step.data == b"rst")
                if step.do == "end" and step.data == b"rst":
                    seen.first = seen.first or not seen.ended
                    wire.reset()
                    return
                if step.do == "end":
                    seen.note_fin()
                self._spoil(step, wire)
                seen.spoilt = seen.spoilt or step.do not in ("record", "tiny", "end")

    def _receive(self, wire: Wire, seen: ServerData, size: int) -> None:
        until = time.monotonic() + 10.0
        while not wire.ended and time.monotonic() < until and (not size or len(seen.received) < size):
            data = wire.read(16384)
            seen.received += data if wire.secured else b""
        seen.ended = seen.ended or wire.ended

    def _renegotiate(self, step: Step, wire: Wire, seen: ServerData) -> None:
        sock = wire._sock
        data = Renegotiating(sock, *self._certificate(b""), int(step.number), lambda times: None)
        seen.secured = True
        if seen.verb in _UP:
            seen.received += data.receive()
            seen.ended = "close_notify"
        else:
            body = self._file()
            data.send(body)
            seen.sent += body
            seen.note_close_notify()

    def _open(self, seen: ServerData) -> Wire:
        listener, dial = self._listener, self._dial
        self._listener = self._dial = None
        if listener is not None:
            with listener:
                listener.settimeout(PATIENCE)
                sock, _ = listener.accept()
        elif dial is not None:
            sock = socket.create_connection(dial, PATIENCE)
        else:
            raise OSError("no data connection was asked for")
        self.seen.data.append(seen)
        wire = Wire(sock, PATIENCE)
        self._data = wire, seen
        return wire

    def _listen(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = socket.create_server(("127.0.0.1", 0))

    def _fill(self, text: bytes) -> bytes:
        if b"{p" not in text:
            return text
        port = self._listener.getsockname()[1] if self._listener is not None else 1
        for word, value in ((b"{port}", port), (b"{p1}", port >> 8), (b"{p2}", port & 255)):
            text = text.replace(word, b"%d" % value)
        return text

    # TLS

    def _certificate(self, name: bytes) -> tuple[Path, Path]:
        pair = getattr(self._upstream.certificates, name.decode() or "server")
        return pair.certificate_file, pair.key_file

    def _tls_context(self, name: bytes) -> ssl.SSLContext:
        """One for the session, so that it is resumed; another one for another certificate."""
        if self._context is not None and not name:
            return self._context
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate(name))
        context.set_alpn_protocols(["ftp"])
        if self._case.tls == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self._folder is not None:
            context.keylog_filename = f"{self._folder.name}/secrets"
        if not name:
            self._context = context
        return context
