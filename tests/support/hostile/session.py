"""One control connection of the misbehaving server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.hostile import contexts
from tests.support.hostile.channel import Channel
from tests.support.hostile.quirks import Handshake, Quirks
from tests.support.hostile.seen import SeenData, SeenSession
from tests.support.hostile.transfer import Transfer
from tests.support.link_local import sockaddr, zoned
from tests.support.records import DATA

if TYPE_CHECKING:
    from tests.support.bad_server import BadServer

FLOOD_SECONDS = 30.0
_STANDARD = {
    "USER": b"331 password please\r\n",
    "PASS": b"230 logged in\r\n",
    "ACCT": b"230 logged in\r\n",
    "SYST": b"215 UNIX Type: L8\r\n",
    "PWD": b'257 "/" is the current directory\r\n',
    "XPWD": b'257 "/" is the current directory\r\n',
    "FEAT": b"211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n EPSV\r\n SIZE\r\n UTF8\r\n211 End\r\n",
    "STAT": b"211-status\r\n of the hostile server\r\n211 end\r\n",
    "HELP": b"214-help\r\n none\r\n214 end\r\n",
    "PBSZ": b"200 PBSZ=0\r\n",
    "PROT": b"200 PROT P\r\n",
    "QUIT": b"221 bye\r\n",
    "RNFR": b"350 ready for RNTO\r\n",
    "REST": b"350 restarting\r\n",
    "PRET": b"200 planned\r\n",
    "MKD": b'257 "made"\r\n',
    "REIN": b"220 ready again\r\n",
    **dict.fromkeys(("CWD", "CDUP", "DELE", "RMD", "RNTO", "SITE", "MFMT"), b"250 done\r\n"),
    **dict.fromkeys(("TYPE", "MODE", "STRU", "OPTS", "NOOP", "ALLO", "CLNT"), b"200 done\r\n"),
}
_INSTEAD_OF_HELLO = {
    Handshake.GARBAGE: b"\x00\x01\x02 this is no TLS at all \xff\xfe\r\n" * 8,
    Handshake.PLAIN: b"200 and on we go in clear\r\n",
    Handshake.ALERT: b"\x15\x03\x03\x00\x02\x02\x28",
}
_DOWNLOADS = ("RETR", "LIST", "NLST", "MLSD")
_UPLOADS = ("STOR", "APPE", "STOU")


class Session:
    """Speaks with one client in a thread of its own, transfers in another, as the server's `quirks` are just then."""

    def __init__(self, server: BadServer, sock: socket.socket, peer: tuple[str, int], *, crowded: bool) -> None:
        self._server = server
        self._crowded = crowded
        self._host = zoned(sock.getsockname())
        self._peer = peer
        self._channel = Channel(sock)
        self._buffer = bytearray()
        self._listener: socket.socket | None = None
        self._dial: tuple[str, int] | None = None
        self._context: ssl.SSLContext | None = None
        self._newer_context: ssl.SSLContext | None = None
        self._transfer: Transfer | None = None
        self._protected = self._quirks.prot_assumed
        self._logged_in = False
        self._pret = False
        self._offset = 0
        self._over = threading.Event()
        self._decoy: socket.socket | None = None
        self.seen = SeenSession(peer)
        self._thread = threading.Thread(target=self._run, name="hostile session")

    @property
    def _quirks(self) -> Quirks:
        return self._server.quirks

    def start(self) -> None:
        self._thread.start()

    @property
    def passive_port(self) -> int:
        assert self._listener is not None
        port: int = self._listener.getsockname()[1]
        return port

    def stop(self) -> None:
        """End the session from outside."""
        if self._transfer is not None:
            self._transfer.abort()
        self._channel.wake()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive(), "a session of the misbehaving server hangs"

    def say(self, reply: bytes) -> None:
        """Send a reply; a peer that is gone is no matter."""
        with contextlib.suppress(OSError):
            self._channel.write(reply)

    def cut(self, *, reset: bool) -> None:
        """End the control connection without a word of TLS."""
        self._server.news()
        if reset:
            self._channel.reset_from_any_thread()
        else:
            self._channel.wake()

    # For transfers

    def note_data(self, seen: SeenData) -> None:
        self.seen.data.append(seen)
        self.news()

    def news(self) -> None:
        self._server.news()

    def released(self) -> bool:
        """Wait a moment for the test to let a held transfer go on, or for the peer to be gone."""
        return self._server.released(0.05) or self._over.is_set()

    def transfer_over(self, transfer: Transfer, final: bytes) -> None:
        if transfer.seen.verb in (*_UPLOADS, *self._quirks.extra_upload_verbs):
            before = self._server.files.get(transfer.seen.argument, b"")
            if transfer.seen.verb != "APPE":
                before = before[: transfer.offset]
            self._server.files[transfer.seen.argument] = before + bytes(transfer.received)
        if final:
            self.say(final)
        self.news()

    def data_socket(self) -> tuple[socket.socket, str]:
        """Return the data connection, accepted or dialled, and the peer's address. Raises OSError."""
        if self._listener is not None:
            self._listener.settimeout(20)
            sock, address = self._listener.accept()
            self._close_listener()
            return sock, str(address[0])
        if self._dial is not None:
            dial, self._dial = self._dial, None
            _, _, zone = self._host.partition("%")
            far = (f"{dial[0]}%{zone}" if zone else dial[0], dial[1])
            return socket.create_connection(far, 20, sockaddr(self._host, 0)), dial[0]
        raise OSError("no data connection was asked for")

    def is_like_control(self, seen: SeenData) -> bool:
        """Whether a data connection has the TLS version and cipher of this one."""
        return (seen.version, seen.cipher) == (self.seen.version, self.seen.cipher)

    def certificate(self) -> tuple[Path, Path]:
        return self._server.certificate

    def data_context(self, seen: SeenData) -> ssl.SSLContext:
        """Return the context of the control connection, or another one when its sessions are to be forgotten."""
        quirks = self._quirks
        forget = quirks.forget_sessions_after
        if quirks.data_certificate is not None:
            chain, key = quirks.data_certificate
            return contexts.build(chain, key, quirks, seen)
        if quirks.new_sessions_after is not None and len(self.seen.data) > quirks.new_sessions_after:
            if self._newer_context is None:
                self._newer_context = self._server.context(quirks, seen)
            return self._newer_context
        if self._context is None or (forget is not None and len(self.seen.data) > forget):
            return self._server.context(quirks, seen)
        return self._context

    # The control connection

    def _run(self) -> None:
        try:
            self._talk()
        except OSError as error:
            self.seen.error = self.seen.error or f"{type(error).__name__}: {error}"
        finally:
            self.seen.ended = self._channel.ended or "here"
            self._over.set()
            self._channel.close()
            self._wait_for_transfer()
            self._close_listener()
            self.seen.over = True
            self.news()

    def _talk(self) -> None:
        quirks = self._quirks
        if self._crowded:
            self.say(b"421 too many connections from your address\r\n")
            return
        while quirks.instead_of_greeting:
            self._channel.write(quirks.instead_of_greeting)
            time.sleep(0.25)  # again and again, but not so fast that reading it is all anybody does
        if quirks.greeting_in_clear:
            self.say(quirks.greeting + quirks.after_greeting)
        if quirks.implicit and not self._secure():
            return
        if quirks.greeting_after:
            self._over.wait(quirks.greeting_after)
        if not quirks.greeting_in_clear or quirks.greets_again:
            self.say(quirks.greeting)
        if "" in quirks.flood:
            self._flood(quirks.flood[""], 0)
        while (line := self._line()) is not None:
            if self._channel.secured:
                self.seen.commands.append(line)
            self.news()
            verb, _, argument = line.partition(b" ")
            name = verb.decode("latin-1").upper()
            if not self._obey(name, argument, line):
                return
            if name in quirks.close_after:
                return

    def _line(self) -> bytes | None:
        while b"\n" not in self._buffer:
            data = self._channel.read()
            if not data:
                return None
            if not self._channel.secured:
                self.seen.plaintext += data
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line.removesuffix(b"\r")

    def _secure(self) -> bool:
        """Do, or spoil, the TLS handshake on the control connection; say whether to go on."""
        how = self._quirks.handshake
        if how is Handshake.PLAIN and self._quirks.implicit:
            self._channel.write_raw(self._quirks.greeting)
        if how not in (Handshake.NORMAL, Handshake.OLD_TLS):
            # First the ClientHello: what follows is no answer to AUTH but to the handshake.
            self.seen.hello = self._channel.read()
            if how in _INSTEAD_OF_HELLO:
                self._channel.write_raw(_INSTEAD_OF_HELLO[how])
            if how in (Handshake.FIN, Handshake.ALERT):
                self._channel.fin()
            elif how is Handshake.RESET:
                self._channel.reset()
            while data := self._channel.read():
                self.seen.hello += data
                self.news()
            return False
        self._buffer.clear()
        self._context = self._server.context(self._quirks, self.seen)
        self._channel.start_tls(self._context)
        tls = self._channel.tls
        self.seen.secured = True
        self.seen.version, self.seen.cipher = tls.version() or "", (tls.cipher() or ("",))[0]
        self.seen.alpn = tls.selected_alpn_protocol()
        self.seen.client_certificate = bool(tls.getpeercert(binary_form=True))
        self.news()
        return True

    def _obey(self, verb: str, argument: bytes, line: bytes) -> bool:
        """Answer one command; False ends the session."""
        quirks = self._quirks
        if not self._channel.secured:
            return self._obey_in_clear(verb, argument)
        time.sleep(quirks.slow.get(verb, 0.0))
        self._channel.say_aside(quirks.control_asides.get(verb, ()))
        told = quirks.replies.get(line.decode("latin-1"), quirks.replies.get(verb))
        if verb in quirks.clear_under_tls:
            self._channel.write_raw(_STANDARD[verb])
        elif told is not None:
            if quirks.closes_port_on_refusal and told[:1] in b"45" and (verb in _DOWNLOADS or verb in _UPLOADS):
                self._close_listener()
            for number, part in enumerate(told.splitlines(keepends=True) if verb in quirks.slow_lines else [told]):
                time.sleep(quirks.slow_lines.get(verb, 0.0) if number else 0.0)
                self.say(part)
        elif handler := self._handlers().get(verb):
            handler(argument)
        elif verb in (*_DOWNLOADS, *_UPLOADS, *quirks.extra_data_verbs, *quirks.extra_upload_verbs):
            self._begin(verb, argument)
        else:
            self.say(_STANDARD.get(verb, b"502 unknown command\r\n"))
        if verb in quirks.flood:
            self._flood(quirks.flood[verb], quirks.flood_record)
            return False
        if verb in quirks.alert_after:
            self._channel.alert()
            return False
        if verb == "QUIT":
            self._wait_for_transfer()
            with contextlib.suppress(OSError):
                self._channel.close_notify()
            self._channel.fin()
            self._channel.read_to_tcp_end()
            return False
        return True

    def _flood(self, data: bytes, record: int) -> None:
        """Until the peer has had enough, or half a minute has passed."""
        until = time.monotonic() + FLOOD_SECONDS
        parts = [data[at : at + record] for at in range(0, len(data), record)] if record else []
        while time.monotonic() < until:
            if parts:
                self._channel.say_aside((DATA, part) for part in parts)
            else:
                self._channel.write(data)

    def _obey_in_clear(self, verb: str, argument: bytes) -> bool:
        quirks = self._quirks
        told = quirks.clear_replies.get(verb)
        if told is not None:
            self.say(told)
            return True
        if verb == "QUIT":
            self.say(b"221 bye\r\n")
            return False
        if verb != "AUTH":
            self.say(b"530 TLS first\r\n")
            return True
        reply = quirks.auth.get(argument.decode("latin-1").upper(), b"504 unknown mechanism\r\n")
        agreed = reply[:1] in b"23" and not quirks.auth_lies
        self.say(reply + quirks.after_auth if agreed else reply)
        if not agreed:
            return True
        return not quirks.close_after_auth and self._secure()

    def _handlers(self) -> dict[str, Callable[[bytes], None]]:
        return {
            "PASS": self._do_pass,
            "PBSZ": self._do_prot,
            "PROT": self._do_prot,
            "EPSV": lambda _argument: self._do_passive("EPSV"),
            "PASV": lambda _argument: self._do_passive("PASV"),
            "PORT": self._do_port,
            "EPRT": self._do_eprt,
            "PRET": self._do_pret,
            "REST": self._do_rest,
            "SIZE": self._do_size,
            "ABOR": self._do_abor,
        }

    def _do_pass(self, argument: bytes) -> None:
        self._logged_in = argument != b"wrong"
        self.say(_STANDARD["PASS"] if self._logged_in else b"530 login incorrect\r\n")

    def _do_prot(self, argument: bytes) -> None:
        verb = self.seen.verbs()[-1]
        if self._quirks.prot_after_login and not self._logged_in:
            self.say(b"503 log in first\r\n")
        elif verb == "PROT" and "PBSZ" not in self.seen.verbs():
            self.say(b"503 PBSZ first\r\n")
        elif verb == "PROT" and argument.upper() != b"P":
            self.say(b"534 policy requires protection\r\n")
        else:
            self._protected = self._protected or verb == "PROT"
            self.say(_STANDARD[verb])

    def _do_pret(self, _argument: bytes) -> None:
        self._pret = True
        self.say(_STANDARD["PRET"])

    def _do_rest(self, argument: bytes) -> None:
        self._offset = int(argument or b"0")
        self.say(_STANDARD["REST"])

    def _do_size(self, argument: bytes) -> None:
        body = self._server.files.get(argument)
        self.say(b"550 no such file\r\n" if body is None else b"213 %d\r\n" % len(body))

    def _do_passive(self, verb: str) -> None:
        if self._quirks.requires_pret and not self._pret:
            self.say(b"550 PRET required before this command\r\n")
            return
        if self._quirks.requires_pret:
            self._offset = 0  # RFC 959: REST comes right before its transfer
        self._close_listener()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = self._listener = socket.socket(family, socket.SOCK_STREAM)
        if self._quirks.receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._quirks.receive_buffer)
        listener.bind(sockaddr(self._host, 0))
        listener.listen(5)
        port = listener.getsockname()[1]
        template = self._quirks.passive.get(verb)
        if template is None:
            host = self._host.replace(".", ",") if ":" not in self._host else "0,0,0,0"
            template = {
                "EPSV": "229 Entering Extended Passive Mode (|||{port}|)\r\n",
                "PASV": f"227 Entering Passive Mode ({host},{{p1}},{{p2}})\r\n",
            }[verb]
        if "dead" in template:
            self._decoy = socket.socket(family, socket.SOCK_STREAM)  # bound and not listening: refused
            self._decoy.bind(sockaddr(self._host, 0))
        dead = self._decoy.getsockname()[1] if self._decoy is not None else 0
        fields = {"port": port, "p1": port >> 8, "p2": port & 255, "n2": (port & 255) - 256, "dead": dead}
        if "deaf" in template:
            deaf = self._server.deaf_port()
            fields |= {"deaf": deaf, "deaf1": deaf >> 8, "deaf2": deaf & 255}
        self.say(template.format(**fields, dead1=dead >> 8, dead2=dead & 255).encode())

    def _do_port(self, argument: bytes) -> None:
        numbers = [int(number) for number in argument.split(b",")]
        self._dial = ".".join(str(number) for number in numbers[:4]), numbers[4] * 256 + numbers[5]
        self.say(b"200 PORT done\r\n")

    def _do_eprt(self, argument: bytes) -> None:
        _, _, host, port, _ = argument.decode().split(argument.decode()[0])
        self._dial = host, int(port)
        self.say(b"200 EPRT done\r\n")

    def _do_abor(self, _argument: bytes) -> None:
        transfer = self._transfer
        if transfer is None or not transfer.running:
            self.say(self._quirks.abor_idle)
            return
        if self._quirks.abor_closes_data:
            transfer.abort()
            transfer.join()
        self.say(self._quirks.abor)

    def _begin(self, verb: str, argument: bytes) -> None:
        quirks = self._quirks
        self._wait_for_transfer()
        if not self._protected:
            self.say(b"522 PROT P required\r\n")
            return
        body: bytes | None = None
        if verb in quirks.extra_data_verbs:
            body = quirks.extra_data_verbs[verb]
        elif verb == "RETR":
            if argument not in self._server.files:
                self.say(b"550 no such file\r\n")
                return
            body = self._server.files[argument][self._offset :]
        elif verb in _DOWNLOADS:
            body = b"".join(name + b"\r\n" for name in sorted(self._server.files))
        elif verb == "STOU":
            argument = b"unique-%d" % (len(self._server.files) + 1)
        self._transfer = Transfer(self, quirks, verb, argument, body, self._offset)
        self._offset, self._pret = 0, False
        self._transfer.start()

    def _wait_for_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer.join()

    def _close_listener(self) -> None:
        for sock in (self._listener, self._decoy):
            if sock is not None:
                sock.close()
        self._listener = self._decoy = None
