"""Client to server, and what the server says meanwhile and behind it.

What it sends is read: tickets left unread would turn close into a reset, a TLS 1.2 renegotiation waits for an answer,
and an alert gives a 226 the lie.
"""

import contextlib

from ftpsproxy import net
from ftpsproxy.data.relay import buffers
from ftpsproxy.data.relay.flow import Flow, RelayError, TransferPolicy
from ftpsproxy.data.relay.relay import (
    LOOK_SECONDS,
    SMALL_TURN_BYTES,
    TURN_BYTES,
    Receiver,
    Relay,
    broke,
    read_all,
    write,
)
from ftpsproxy.data.relay.upload_end import UploadEnd
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.net import Socket, now
from ftpsproxy.tls import Tls

# An end counts as one byte; one that is not acknowledged takes nothing from the data before it.
_END = 1
# A server that has something to negotiate in mid-upload says more before long: for so long it is looked at that often.
_TALK_SECONDS = 5.0
_TALK_LOOK_SECONDS = 0.05
BROKE_BEFORE_END = "the server broke the data connection before the end"
# Of what servers say during an upload, tickets and alerts, at a time; and at most at once behind it.
_HEARD = 4096
_MOST_BEHIND = 16 * _HEARD


class _Done(Exception):
    """The server has ended an upload whose data had said its end."""


class Upload(Relay):
    """`run` ends with the client's end, and says so to the server by close_notify and FIN. `end` judges that end."""

    def __init__(
        self, client: Socket, server: Socket, tls: Tls, end: UploadEnd, flow: Flow, policy: TransferPolicy
    ) -> None:
        super().__init__(client, server, tls, flow, policy)
        self._end = end
        self._sealed, self._clear = buffers.take(), buffers.take()
        self._to_server = Receiver(server, "server", policy.server_stall)
        self._unsealed = 0  # cleartext that waits for TLS
        self._idle = False  # whether the client is waited for
        self._said_end = False
        self._talk_until = 0.0

    async def run(self) -> None:
        """Raises RelayError, also where the client is gone and was not done."""
        try:
            self._hear_tls()  # an alert may have come in one piece with the end of the handshake
            await self._run(self._move)
            await self._end.heard_out()
            if not self.flow.at_end:
                self._end.end(self.flow.bytes)
            self._moved()  # from here on it is the server that is waited for
            await self._run(self._close)
        except _Done:
            pass
        finally:
            buffers.give(self._sealed, self._clear)

    def _look(self) -> None:
        self._hear()
        if self._tls.outgoing:  # the server negotiates anew (TLS 1.2), and waits for the answer
            self._talk_until = now() + _TALK_SECONDS
        if self._idle and not self.flow.at_end:
            self._end.look(self.flow.bytes)

    async def _move(self) -> None:
        """Until the client's end."""
        while True:
            await self._deliver()
            if not await self._receive():
                return

    async def _deliver(self) -> None:
        """All that has come goes to the server, and what TLS itself has to say."""
        while True:
            await self._send_sealed()
            if not self._unsealed:
                break
            if write(self._tls, self._clear, self._unsealed):
                self._unsealed = 0
            else:
                await self._negotiate()
        self._hear()
        if self._turn >= TURN_BYTES:
            self._turn = 0
            await net.turn()

    async def _send_sealed(self) -> None:
        while True:
            if self._to_server.unsent:
                await self._send(self._to_server)
            size = self._tls.take_into(self._sealed)
            if not size:
                return
            self._to_server.unsent = self._sealed.view[:size]

    async def _negotiate(self) -> None:
        """TLS 1.2: the server negotiates anew and wants an answer before anything else."""
        stall = self._policy.server_stall
        why = f"the server did not go on with TLS for {stall:g} seconds"
        await self._readable(self._server, "server", stall, why)
        self._moved()
        self._hear()
        self._turn = 0

    async def _receive(self) -> bool:
        """Cleartext of the client's → False at its end. Raises RelayError."""
        while True:
            try:
                got = self._source.recv_into(self._clear.view)
            except BlockingIOError:
                self._idle = True
                self._look()
                if self._tls.outgoing:
                    await self._send_sealed()
                every = _TALK_LOOK_SECONDS if self._talk_until and now() < self._talk_until else LOOK_SECONDS
                await self._more(self._policy.client_stall, "client", every=every)
                continue
            except OSError as error:
                raise broke("client", error) from None
            self._idle = False
            if not got:
                return False
            self._moved()
            self._patience.took(got)
            self.flow.count(self._clear.view[:got])
            self._unsealed = got
            self._turn += got
            return True

    async def _close(self) -> None:
        """close_notify and FIN."""
        while not self._said_end:
            await self._send_sealed()
            self._said_end = self._tls.end()
            if self._said_end:
                self._to_server.unsent = self._tls.take()
            else:
                await self._negotiate()
        try:
            await self._send(self._to_server, net.MSG_MORE)
            self._server.shutdown(net.SHUT_WR)
        except OSError as error:
            raise broke("server", error) from None
        except RelayError:
            if not self._has_taken_all():
                raise

    # --- what the server says -----------------------------------------------------------------------------------------

    def _has_taken_all(self) -> bool:
        """Whether a file has ended whose end stands in its data, and the server's kernel has taken it: how the
        connection ends is of no account then."""
        return self.flow.at_end and net.unsent(self._server) <= _END

    def _hear(self) -> None:
        """Take what the server has sent. Raises RelayError when it ends or fails, _Done when it may.

        In TLS 1.3 its close_notify alone ends its own side only (RFC 8446 section 6.1).
        """
        try:
            data = self._server.recv(_HEARD)
        except BlockingIOError:
            return
        except OSError as error:
            if self._has_taken_all():
                raise _Done from None
            raise broke("server", error) from None
        if not data:
            if self.flow.at_end:
                raise _Done
            why = "the server closed the data connection before the upload had ended"
            raise RelayError(426, why, "server", Cause.CUT)
        self.flow.note_aside(len(data))
        self._turn += len(data) * (TURN_BYTES // SMALL_TURN_BYTES)
        if not self._tls.ended:
            self._tls.feed(data)
            self._hear_tls()

    def _hear_tls(self) -> None:
        """What the server has said, in TLS. Raises RelayError and _Done as `_hear` does."""
        read_all(self._tls)
        if self._tls.ended and self._tls.version != "TLSv1.3":
            if self.flow.at_end:
                raise _Done
            raise RelayError(426, "the server ended the upload before the client had", "server", Cause.CUT)

    # --- behind the upload --------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Read until the server's end, so that no unread byte turns our close into a reset. For as long as that takes.

        Raises RelayError as `hear_behind` does.
        """
        while True:
            try:
                if not self._hear_behind():
                    return
            except BlockingIOError:
                with contextlib.suppress(OSError):  # closed meanwhile: seen above
                    await net.readable(self._server)
            else:
                await net.turn()

    def hear_behind(self) -> None:
        """Take what the server has said behind it and `drain` has not read yet: its 226 may have been read first.

        Raises RelayError when the server broke the connection without having taken all, or says by an alert that it
        could not read it: its 226 would be a lie.
        """
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_BEHIND // _HEARD):
                if not self._hear_behind():
                    return
            why = f"the server sent more than {_MOST_BEHIND} bytes behind the upload"
            raise RelayError(426, why, "server", Cause.TLS)

    def _hear_behind(self) -> bool:
        """Take what has come → whether more may. Raises BlockingIOError when nothing has, and RelayError."""
        try:
            data = self._server.recv(_HEARD)
        except BlockingIOError:
            raise
        except OSError as error:
            if net.unsent(self._server) > _END:  # which stays as it was when the connection broke
                raise broke("server", error, " before the end") from None
            return False
        if not data:
            if not self.flow.at_end and net.is_broken(self._server) and net.unsent(self._server) > _END:
                # Behind a FIN recv tells of no RST any more.
                raise RelayError(426, BROKE_BEFORE_END, "server", Cause.BROKEN)
            self.flow.close_notify = bool(self.flow.close_notify)
            return False
        self.flow.note_aside(len(data))
        if self.flow.close_notify is None:
            self._tls.feed(data)
            read_all(self._tls, " behind the upload")
            self.flow.close_notify = self._tls.ended or None
        return True
