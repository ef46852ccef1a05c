"""TLS on the server's data connection, from the transfer command on.

Not before the command: ProFTPD, Pure-FTPd and Azure wait for that first. And not only behind the 150: ftp-srv says it
when TLS stands, and for all others a round trip is saved. So the handshake goes on while the 150 is waited for, without
a limit; it has one from the moment when the transfer has begun.
"""

from collections.abc import Callable

import trio

from ftpsproxy import net
from ftpsproxy.data.passive import Contested, PendingConnection, Unreachable
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.data.service import SessionData
from ftpsproxy.net import Socket
from ftpsproxy.tls import Refused, Tls, TlsError, check_pins, explain
from ftpsproxy.tls.handshake import NotBegun, shake_hands


class Opening:
    """One opening: `shake_hands` goes as far as it can, `verify` says what has become of it.

    `on_heard` is called at the server's first byte: it answers TLS, so the command is a transfer. `sock` is the
    connection once it is there; `pending` what will bring it.
    """

    __slots__ = ("_begun", "_error", "_over", "_scope", "_session", "on_heard", "pending", "sock", "tls")

    def __init__(self, session: SessionData, pending: PendingConnection | Socket | None, tls: Tls | None) -> None:
        self.pending = pending
        self.tls = tls
        self.sock: Socket | None = None
        self.on_heard: Callable[[], None] | None = None
        self._session = session
        self._scope = trio.CancelScope()
        self._begun = self._over = False
        self._error: Exception | None = None

    def begin(self) -> None:
        """Its transfer has begun: from here on it has a limit."""
        self.on_heard = None
        self._begun = True
        if not self._over:
            self._limit()

    def _limit(self) -> None:
        policy = self._session.service.policy
        self._scope.deadline = net.now() + (policy.data_connect if self.sock is None else policy.handshake)

    async def shake_hands(self) -> None:
        """Connect, and do the handshake; what goes wrong is kept for `verify`."""
        pending, tls = self.pending, self.tls
        if pending is None or tls is None:
            return
        with self._scope:
            try:
                if isinstance(pending, PendingConnection):
                    self.sock = await pending.wait()
                    pending.cancel()
                else:
                    self.sock = pending
                self.pending = None
                if self._begun:
                    self._limit()
                await shake_hands(self.sock, tls, self._heard)
            except (TlsError, OSError, Refused, Contested, Unreachable) as error:
                self._error = error
                self._session.resumption.failed(tls)
        self._over = True

    def _heard(self) -> None:
        if self.on_heard is not None:
            self.on_heard()

    def verify(self) -> Tls:
        """The connection stands, and the server has proved on it what it must. Raises NotBegun where it has closed
        without a word of TLS, RelayError for all else that is amiss."""
        tls, resumption, upstream = self.tls, self._session.resumption, self._session.service.upstream
        if self.sock is None or tls is None:
            raise RelayError(425, self._no_connection())
        if self._error is not None:
            resumption.start_again()
            if isinstance(self._error, NotBegun):
                raise self._error
            raise _not_secured(self._error)
        if self._scope.cancelled_caught:
            raise RelayError(425, "the server did not finish the TLS handshake of the data connection")
        if not tls.resumed:  # to resume a session proves what its full handshake has proved
            try:
                check_pins(tls, upstream.pins)
                if upstream.data_session_reuse == "require":
                    raise Refused("not_resumed", "the server did not resume the TLS session on the data connection")
            except Refused as error:
                resumption.start_again()
                raise _not_secured(error) from None
        return tls

    def _no_connection(self) -> str:
        if self.pending is None:
            return "no data connection to the server was prepared"
        stranger = self.pending.stranger if isinstance(self.pending, PendingConnection) else ""
        return "the server opened no data connection in time" + (f"; one came from {stranger}" if stranger else "")

    def take(self) -> Socket | None:
        """The connection, which is the caller's from here on."""
        sock, self.sock = self.sock, None
        return sock

    def drop(self) -> None:
        """Forget it; what is open is reset."""
        if isinstance(self.pending, PendingConnection):
            self.pending.cancel()
        elif self.pending is not None:
            net.reset(self.pending)
        if self.sock is not None:
            net.reset(self.sock)
        self.pending = self.sock = None


def _not_secured(error: Exception) -> RelayError:
    return RelayError(425, f"TLS on the data connection: {explain(error).detail}")
