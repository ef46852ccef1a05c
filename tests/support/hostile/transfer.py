"""One data transfer of the misbehaving server: the connection, its TLS, the bytes, the fault and the final reply."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from tests.support.hostile.channel import PATIENCE, Channel
from tests.support.hostile.quirks import Control, Fault, Final, Quirks
from tests.support.hostile.renegotiating import Renegotiating
from tests.support.hostile.seen import SeenData
from tests.support.records import ALERT

if TYPE_CHECKING:
    from tests.support.hostile.session import Session

_CHUNK = 16384
_LINGER = 0.5


class Transfer:
    """A transfer in a thread of its own. `body` is what a download sends; an upload has None and fills `received`.

    That belongs behind the first `offset` bytes of the file (REST).
    """

    def __init__(
        self, session: Session, quirks: Quirks, verb: str, argument: bytes, body: bytes | None, offset: int
    ) -> None:
        self.offset = offset
        self._session = session
        self._quirks = quirks
        self._body = body
        self._channel: Channel | None = None
        self._aborted = threading.Event()
        self.received = bytearray()
        self.seen = SeenData(verb, argument)
        self._thread = threading.Thread(target=self._run, name=f"hostile {verb}")

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._session.note_data(self.seen)
        self._thread.start()

    def abort(self) -> None:
        """Stop at once; no final reply is given any more."""
        self._aborted.set()
        if self._channel is not None:
            self._channel.wake()

    def join(self) -> None:
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        final = b""
        try:
            final = self._transfer()
        except OSError:
            # The peer was first; `_end` has noted how.
            final = self._quirks.final_torn
        finally:
            if self._channel is not None:
                self._end(self._channel)
            self.seen.over = True
            self._session.transfer_over(self, final if not self._aborted.is_set() else b"")

    def _transfer(self) -> bytes:
        quirks = self._quirks
        if quirks.never_calls:
            self._say(quirks.preliminary)
            self._wait_for_release()
            return b"425 no data connection\r\n"
        try:
            sock, self.seen.peer = self._session.data_socket()
        except OSError:
            return b"425 no data connection\r\n"
        if quirks.receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, quirks.receive_buffer)
        if quirks.renegotiate_at is not None:
            return self._renegotiating(sock, quirks.renegotiate_at)
        channel = self._channel = Channel(sock)
        self._say(quirks.preliminary)
        if quirks.refuse_data_tls:
            return quirks.refuse_data_tls
        if quirks.bare_end:
            channel.peek(5)
            if quirks.bare_end == "fin":
                sock.recv(65536)  # what is left unread would make a reset of it
            channel.close()
            return self._final_reply(quirks.final)
        if quirks.data_hangs:
            self._wait_for_release()
            return b""
        self.seen.first_bytes = channel.peek(5)
        if quirks.alert_in_data_handshake == len(self._session.seen.data):
            channel.read()
            channel.write_raw(b"\x15\x03\x03\x00\x02\x02\x28")
            channel.fin()
            return b"425 TLS on the data connection failed\r\n"
        context = self._session.data_context(self.seen)
        try:
            channel.start_tls(context, alert=quirks.alert_in_finished)
        except OSError as error:
            self.seen.ended = channel.ended or "broken"
            return f"425 TLS on the data connection failed: {type(error).__name__}\r\n".encode()
        tls = channel.tls
        self.seen.secured, self.seen.resumed = True, bool(tls.session_reused)
        self.seen.version, self.seen.cipher = tls.version() or "", (tls.cipher() or ("",))[0]
        if quirks.requires_same_tls and not self._session.is_like_control(self.seen):
            return quirks.requires_same_tls
        if quirks.requires_reuse and not self.seen.resumed:
            return quirks.requires_reuse
        if quirks.final_when is Final.EARLY:
            self._say(quirks.final)
        return self._receive(channel) if self._body is None else self._send(channel, self._body)

    def _renegotiating(self, sock: socket.socket, at: int) -> bytes:
        """A whole transfer with nothing wrong but a renegotiation in its middle."""
        with sock:
            sock.settimeout(PATIENCE)
            self._say(self._quirks.preliminary)
            data = Renegotiating(sock, *self._session.certificate(), at, self._renegotiated)
            self.seen.secured, self.seen.version = True, "TLSv1.2"
            if self._body is None:
                self.received += data.receive()
            else:
                data.send(self._body)
            self._renegotiated(data.renegotiations)
        self.seen.ended = "close_notify"
        return self._quirks.final

    def _say_asides(self, channel: Channel) -> None:
        until = time.monotonic() + self._quirks.aside_flood
        channel.say_aside(self._quirks.asides)
        while time.monotonic() < until:
            channel.say_aside(self._quirks.asides)

    def _renegotiated(self, times: int) -> None:
        if times != self.seen.renegotiations:
            self.seen.renegotiations = times
            self._session.news()

    # Downloads

    def _send(self, channel: Channel, body: bytes) -> bytes:
        quirks = self._quirks
        at = len(body) if quirks.fault_at is None else min(quirks.fault_at, len(body))
        for start in range(0, at, 1 << 18):
            part = body[start : min(start + (1 << 18), at)]
            until_aside = (quirks.asides_at if quirks.asides_at is not None else at) - start
            if 0 <= until_aside < len(part):
                channel.write(part[:until_aside])
                self._say_asides(channel)
                part = part[until_aside:]
                self.seen.sent += until_aside
            channel.write(part)
            self.seen.sent += len(part)
        self._control_fault()
        self._spoil(channel, body[at:])
        if quirks.fault is Fault.NONE:
            rest = body[at:]
            if rest:
                channel.write(rest)
                self.seen.sent += len(rest)
            if quirks.end_mark:
                return self._stay_open(channel)
            if quirks.asides_at is None:
                channel.say_aside(quirks.asides)
            channel.close_notify()
            channel.fin()
            self._read_to_end(channel)
        return self._final_reply(quirks.final)

    def _spoil(self, channel: Channel, rest: bytes) -> None:
        fault = self._quirks.fault
        record = rest[:_CHUNK] or bytes(1024)
        if fault is Fault.FIN:
            channel.fin()
            self._linger(channel)
        elif fault is Fault.RESET:
            channel.wait_until_sent()
            channel.reset()
            self._here()
        elif fault in (Fault.CUT_RECORD, Fault.CUT_RECORD_RESET):
            raw = channel.encrypt(record)
            channel.write_raw(raw[: len(raw) // 2])
            if fault is Fault.CUT_RECORD:
                channel.fin()
                self._linger(channel)
            else:
                channel.wait_until_sent()
                channel.reset()
                self._here()
        elif fault is Fault.CORRUPT:
            spoilt = bytearray(channel.encrypt(record))
            spoilt[len(spoilt) // 2] ^= 0x01
            channel.write_raw(bytes(spoilt))
            channel.write(rest[_CHUNK:])
            channel.close_notify()
            channel.fin()
            self._linger(channel)
        elif fault is Fault.ALERT:
            channel.alert()
            channel.fin()
            self._linger(channel)
        elif fault is Fault.PLAIN:
            channel.write_raw(record)
            channel.fin()
            self._linger(channel)
        elif fault is Fault.STALL:
            self._wait_for_release()
        elif fault is Fault.HALF_RECORD:
            raw = channel.encrypt(record)
            channel.write_raw(raw[: len(raw) // 2])
            self._read_to_end(channel)

    # Uploads

    def _receive(self, channel: Channel) -> bytes:
        quirks = self._quirks
        at = quirks.fault_at
        said = False
        while True:
            if at is not None and len(self.received) >= at:
                if quirks.deeds:
                    for deed in quirks.deeds:
                        self._do(deed, channel)
                    return b""
                self._control_fault()
                if quirks.fault is Fault.STALL:
                    self._wait_for_release()
                elif quirks.fault is Fault.RESET:
                    channel.reset()
                    self._here()
                    return self._final_reply(quirks.final)
                elif quirks.fault is Fault.ALERT:
                    channel.alert()
                    channel.fin()
                    return self._final_reply(quirks.final)
                elif quirks.fault is Fault.FIN:
                    channel.close_notify()
                    channel.close()
                    self._here()
                    return self._final_reply(quirks.final)
                at = None
            data = channel.read(_CHUNK)
            if not data:
                break
            self.received += data
            self.seen.received = len(self.received)
            if quirks.asides_at is not None and not said and len(self.received) >= quirks.asides_at:
                said = True
                self._say_asides(channel)
            self._session.news()
            if quirks.end_mark and self.received.endswith(quirks.end_mark):
                return self._stay_open(channel)
            if quirks.read_pause:
                time.sleep(quirks.read_pause)
        self.seen.ended = channel.ended
        if quirks.fault_at is None:
            self._control_fault()
        if channel.ended == "close_notify":
            if quirks.asides_at is None and quirks.asides:
                self._say_asides(channel)
            else:
                channel.close_notify()
            channel.fin()
            self.seen.tcp_ended = channel.read_to_tcp_end()
            return self._final_reply(quirks.final)
        return self._final_reply(quirks.final_torn)

    # Both

    def _do(self, deed: str, channel: Channel) -> None:
        """One of `Quirks.deeds`; all that is none of these words is a reply."""
        match deed:
            case "fin":
                channel.fin()
            case "close_notify":
                channel.close_notify()
            case "reset":
                channel.reset()
            case "alert":
                channel.say_aside(((ALERT, bytes([2, 20])),))
            case "pause":
                time.sleep(0.05)  # the far side hears of the last deed before the next
            case "wait":
                self._wait_for_release()
            case "control_ends":
                self._session.cut(reset=False)
            case _:
                self._say(deed.encode() + b"\r\n")

    def _stay_open(self, channel: Channel) -> bytes:
        """The file has ended in its data: say so, and leave it to the peer to close."""
        self._say(self._final_reply(self._quirks.final))
        self._read_to_end(channel)
        return b""

    def _final_reply(self, reply: bytes) -> bytes:
        when = self._quirks.final_when
        if when is Final.LATE:
            self._aborted.wait(self._quirks.final_delay)
        elif when is Final.HELD:
            self._wait_for_release()
        return b"" if when in (Final.NEVER, Final.EARLY) else reply

    def _control_fault(self) -> None:
        control = self._quirks.control
        if control is Control.SHUTS_DOWN:
            self._say(b"421 shutting down\r\n")
        if control is not Control.OPEN:
            self._session.cut(reset=control is Control.RESET)

    def _wait_for_release(self) -> None:
        self._session.news()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._aborted.is_set() and not self._session.released():
            pass

    def _linger(self, channel: Channel) -> None:
        """After a fault: give the peer a moment to end, as ProFTPD does, before the final reply."""
        channel.patience(_LINGER)
        self._read_to_end(channel)

    def _read_to_end(self, channel: Channel) -> None:
        while channel.read():
            pass
        self.seen.ended = channel.ended
        if channel.ended == "close_notify":
            self.seen.tcp_ended = channel.read_to_tcp_end()

    def _here(self) -> None:
        self.seen.ended = "here"

    def _end(self, channel: Channel) -> None:
        if self._aborted.is_set():
            self.seen.ended = "here"
        self.seen.ended = self.seen.ended or channel.ended or "here"
        channel.close()

    def _say(self, reply: bytes) -> None:
        if reply and not self._aborted.is_set():
            self._session.say(reply)
