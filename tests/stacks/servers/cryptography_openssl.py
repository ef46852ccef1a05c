"""A small FTPS server on the OpenSSL that the cryptography package carries: see README.md for what all of them do.

pyOpenSSL has no name for KeyUpdate and for tickets sent when told to; so renegotiation is its only deed.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
NAME = f"{SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()} (cryptography)"
CHUNK = 16384
BIGGEST = 8 << 20
PATIENCE = 30
SIZES = ("0", "1", "16384", "8388608")
CONTENT = b"".join(b"%07d\n" % line for line in range(BIGGEST // 8))
_lib: Any = Binding().lib
BROKEN = (SSL.Error, OSError, EOFError)
T = TypeVar("T")
_HANDSHAKE_DONE = 0x20  # SSL_CB_HANDSHAKE_DONE


def say(line: str) -> None:
    """One line for the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Play:
    """What SITE has said."""

    do: str = ""
    at: int = 0
    times: int = 1
    stop: int = 1 << 62
    slow: int = 0
    reply: int = 0
    reuse: str = ""
    end: str = "plain"


class Secured:
    """TLS over a blocking socket. Raises SSL.Error where TLS fails, OSError where the socket does, EOFError at FIN."""

    def __init__(self, sock: socket.socket, context: SSL.Context) -> None:
        self.sock = sock
        self.tls = SSL.Connection(context, None)
        self.tls.set_accept_state()
        self._act(self.tls.do_handshake)

    def _act(self, act: Callable[[], T]) -> T:
        """Let TLS do that, with as much from the peer as it wants."""
        while True:
            try:
                result = act()
            except SSL.WantReadError:
                self._flush()
                self._feed()
            else:
                self._flush()
                return result

    def _feed(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.tls.bio_write(data)

    def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.sock.sendall(self.tls.bio_read(65536))

    @property
    def resumed(self) -> bool:
        return bool(_lib.SSL_session_reused(self.tls._ssl))

    def renegotiate(self, *, wait: bool) -> None:
        """Ask for a new handshake; `wait` for it, or leave it to the next reads."""
        self.tls.renegotiate()
        self.tls.do_handshake()
        self._flush()
        while wait and self.tls.renegotiate_pending():
            with contextlib.suppress(SSL.WantReadError):
                self.tls.recv(1)
            self._flush()
            if self.tls.renegotiate_pending():
                self._feed()

    def read(self, size: int) -> bytes:
        """What comes next, or b"" behind close_notify."""
        try:
            return bytes(self._act(lambda: self.tls.recv(size)))
        except SSL.ZeroReturnError:
            return b""

    def write(self, data: bytes) -> None:
        self._act(lambda: self.tls.sendall(data))

    def say_bye(self) -> None:
        """close_notify."""
        self.tls.shutdown()
        self._flush()

    def drain(self) -> str:
        """Read to the end, and say how that was."""
        try:
            while self.read(CHUNK):
                pass
        except BROKEN as error:
            return how_it_ended(error)
        return "close_notify"


def how_it_ended(error: Exception) -> str:
    return "fin" if isinstance(error, EOFError) else "broken"


def new_context(certificate: str, key: str, version: str) -> SSL.Context:
    """One for each session: no other session's ticket is worth anything."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.set_session_id(b"ftp")

    def notice(connection: SSL.Connection, where: int, _result: int) -> None:
        if where & _HANDSHAKE_DONE and connection.total_renegotiations() and not connection.renegotiate_pending():
            say("did renegotiate")

    context.set_info_callback(notice)
    return context


class Session:
    """One FTP session, in a thread of its own."""

    def __init__(self, sock: socket.socket, certificate: str, key: str, version: str) -> None:
        self.sock = sock
        self.version = version
        self.context = new_context(certificate, key, version)
        self.control: Secured | None = None
        self.passive: socket.socket | None = None
        self.play = Play()
        self.pending = b""

    def run(self) -> None:
        with contextlib.suppress(*BROKEN), self.sock:
            self.reply(f"220 {NAME}")
            while (line := self.line()) is not None:
                verb, _, argument = line.partition(" ")
                act = VERBS.get(verb.upper())
                if act is None:
                    self.reply("502 Not here")
                elif isinstance(act, str):
                    self.reply(act)
                else:
                    act(self, argument)
                if verb.upper() == "QUIT":
                    break
            if self.control is not None:
                self.control.say_bye()
        if self.passive is not None:
            self.passive.close()

    # --- the control connection ---

    def line(self) -> str | None:
        while b"\n" not in self.pending:
            data = self.control.read(4096) if self.control is not None else self.sock.recv(1)
            if not data:
                return None
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.rstrip(b"\r").decode()

    def reply(self, text: str) -> None:
        line = text.encode() + b"\r\n"
        if self.control is not None:
            self.control.write(line)
        else:
            self.sock.sendall(line)

    def auth(self, _argument: str) -> None:
        self.reply("234 TLS it is")
        self.control = Secured(self.sock, self.context)

    def listen(self, verb: str) -> None:
        if self.passive is not None:
            self.passive.close()
        self.passive = socket.create_server(("127.0.0.1", 0))
        self.passive.settimeout(PATIENCE)
        port = self.passive.getsockname()[1]
        if verb == "EPSV":
            self.reply(f"229 Entering Extended Passive Mode (|||{port}|)")
        else:
            self.reply(f"227 Entering Passive Mode (127,0,0,1,{port >> 8},{port & 255})")

    def site(self, argument: str) -> None:
        now, _, deed = argument.partition(" ")
        if now == "NOW":
            if not self.can(deed):
                self.reply(f"504 Not with {NAME}")
                return
            assert self.control is not None
            self.control.renegotiate(wait=True)
            self.reply("200 Done")
            return
        self.play = Play()
        for word in argument.split():
            name, _, value = word.partition("=")
            setattr(self.play, name, type(getattr(self.play, name))(value))
        self.reply("200 So be it" if not self.play.do or self.can(self.play.do) else f"504 Not with {NAME}")

    def can(self, deed: str) -> bool:
        return self.version == "1.2" and deed == "renegotiate"

    # --- data connections ---

    def open_data(self) -> Secured | None:
        """The data connection, secured and as `play` wants it; None behind a reply that says why not."""
        listener, self.passive = self.passive, None
        if listener is None:
            self.reply("425 Say EPSV or PASV first")
            return None
        self.reply("150 Here it comes")
        try:
            with listener:
                sock, _ = listener.accept()
            sock.settimeout(None)
        except OSError:
            self.reply("425 No data connection")
            return None
        try:
            data = Secured(sock, self.context)
        except BROKEN as error:
            sock.close()
            self.reply(f"425 No TLS on the data connection: {error!r}")
            return None
        say(f"data resumed={'yes' if data.resumed else 'no'}")
        if self.play.reuse and not data.resumed:
            data.say_bye()
            sock.close()
            self.reply("522 The TLS session of the control connection was not resumed")
            return None
        return data

    def close_data(self, data: Secured) -> None:
        with contextlib.suppress(*BROKEN):
            if self.play.end in ("plain", "wait"):
                data.say_bye()
            if self.play.end == "wait":
                say(f"peer {data.drain()}")
        if self.play.end == "reset":
            data.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        data.sock.close()

    def is_time(self, moved: int, done: int) -> bool:
        return bool(self.play.do) and done < self.play.times and moved >= self.play.at * (done + 1)

    def send(self, body: bytes) -> None:
        data = self.open_data()
        if data is None:
            return
        sent = done = 0
        broken = False
        try:
            while True:
                if self.is_time(sent, done):
                    done += 1
                    data.renegotiate(wait=True)
                    continue
                if sent == len(body) or sent >= self.play.stop:
                    break
                part = body[sent : min(sent + CHUNK, self.play.stop)]
                data.write(part)
                sent += len(part)
        except BROKEN:
            broken = True
        say(f"sent {sent}{' broken' if broken else ''}")
        self.close_data(data)
        self.reply(f"{self.verdict(not broken)} bytes={sent}")

    def store(self, _argument: str) -> None:
        data = self.open_data()
        if data is None:
            return
        stored = bytearray()
        done = 0
        end = "stopped"
        try:
            while len(stored) < min(self.play.stop, BIGGEST + CHUNK):
                if self.is_time(len(stored), done):
                    done += 1
                    data.renegotiate(wait=False)
                    continue
                time.sleep(self.play.slow / 1000)
                part = data.read(CHUNK)
                if not part:
                    end = "close_notify"
                    break
                stored += part
        except BROKEN as error:
            end = how_it_ended(error)
        say(f"stored {len(stored)} {end}")
        digest = hashlib.sha256(stored).hexdigest()
        self.close_data(data)
        whole = end in ("close_notify", "stopped")
        self.reply(f"{self.verdict(whole)} bytes={len(stored)} sha256={digest}")

    def verdict(self, whole: bool) -> int:
        return self.play.reply or (226 if whole else 426)

    def file(self, path: str, act: Callable[[int], None]) -> None:
        if path.isdecimal() and int(path) <= BIGGEST:
            act(int(path))
        else:
            self.reply("550 Files are called by their size")

    def list(self, pattern: str) -> None:
        self.send("".join(pattern.replace("SIZE", size) + "\r\n" for size in SIZES).encode())


VERBS: dict[str, str | Callable[[Session, str], Any]] = {
    "AUTH": Session.auth,
    "USER": "331 Password",
    "PASS": "230 Welcome",
    "PBSZ": "200 PBSZ=0",
    "PROT": "200 Protected",
    "TYPE": "200 Type is set",
    "NOOP": "200 Nothing done",
    "SYST": "215 UNIX Type: L8",
    "PWD": '257 "/"',
    "FEAT": "211-Features\r\n EPSV\r\n SIZE\r\n211 End",
    "EPSV": lambda session, _argument: session.listen("EPSV"),
    "PASV": lambda session, _argument: session.listen("PASV"),
    "SITE": Session.site,
    "SIZE": lambda session, path: session.file(path, lambda size: session.reply(f"213 {size}")),
    "RETR": lambda session, path: session.file(path, lambda size: session.send(CONTENT[:size])),
    "LIST": lambda session, _argument: session.list("-rw-r--r-- 1 ftp ftp SIZE Jan 01 00:00 SIZE"),
    "NLST": lambda session, _argument: session.list("SIZE"),
    "STOR": Session.store,
    "ABOR": "226 Nothing to abort",
    "QUIT": "221 Bye",
}


def serve(listener: socket.socket, certificate: str, key: str, version: str) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Session(sock, certificate, key, version).run, daemon=True).start()


def main() -> None:
    certificate, key = sys.argv[1:]
    ports = []
    for version in VERSIONS:
        listener = socket.create_server(("127.0.0.1", 0))
        ports.append(listener.getsockname()[1])
        threading.Thread(target=serve, args=(listener, certificate, key, version), daemon=True).start()
    say(f"ready {ports[0]} {ports[1]} {NAME}")
    threading.Event().wait()


if __name__ == "__main__":
    main()
