"""TLS on the server's data connection, from the transfer command on.

Not before the command: ProFTPD, Pure-FTPd and Azure wait for that first. And not only behind the 150: ftp-srv says it
when TLS stands, and for all others a round trip is saved. So the handshake goes on while the 150 is waited for, without
a limit; it has one from the moment when the transfer has begun.
"""

from collections.abc import Callable

from ftpsproxy import net
from ftpsproxy.data.pending import Contested, PendingConnection, Unreachable
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.data.service import SessionData
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.net import Socket, TimeLimit
from ftpsproxy.tls import Refused, Tls, TlsError, check_pins, explain
from ftpsproxy.tls.handshake import NotBegun, shake_hands


class ServerTls:
    """The handshake of one transfer: `shake_hands` goes as far as it can, `verify` says what has become of it.

    `on_heard` is called at the server's first byte: it answers TLS, so the command is a transfer. `sock` is the
    connection once it is there; `pending` what will bring it. `limit` is the transfer's own.
    """

    __slots__ = ("_begun", "_error", "_limit", "_over", "_shared", "on_heard", "pending", "sock", "tls")

    def __init__(
        self, shared: SessionData, pending: PendingConnection | Socket | None, tls: Tls | None, limit: TimeLimit
    ) -> None:
        self.pending = pending
        self.tls = tls
        self.sock: Socket | None = None
        self.on_heard: Callable[[], None] | None = None
        self._shared = shared
        self._limit = limit
        self._begun = self._over = False
        self._error: Exception | None = None

    def begin(self) -> None:
        """Its transfer has begun: from here on it has a limit."""
        self.on_heard = None
        self._begun = True
        if not self._over:
            self._set_limit()

    def _set_limit(self) -> None:
        policy = self._shared.service.policy
        if net.now() < self._limit.due:  # one that has passed has ended the wait already
            self._limit.put_off(net.now() + (policy.data_connect if self.sock is None else policy.handshake))

    async def shake_hands(self) -> None:
        """Connect, and do the handshake, within the limit; what goes wrong is kept for `verify`."""
        pending, tls = self.pending, self.tls
        if pending is None or tls is None:
            return
        try:
            if isinstance(pending, PendingConnection):
                self.sock = await pending.wait()
                pending.cancel()
            else:
                self.sock = pending
            self.pending = None
            if self._begun:
                self._set_limit()
            await shake_hands(self.sock, tls, self._heard)
        except (TlsError, OSError, Refused, Contested, Unreachable) as error:
            self._error = error
            self._shared.resumption.failed(tls)
        if net.now() < self._limit.due:  # else its end, seen in this very moment, may be on its way here already
            self._over = True
            self._limit.put_off(net.NEVER)

    def _heard(self) -> None:
        if self.on_heard is not None:
            self.on_heard()

    def verify(self) -> Tls:
        """The connection stands, and the server has proved on it what it must. Raises NotBegun where it has closed
        without a word of TLS, RelayError for all else that is amiss."""
        tls, resumption, upstream = self.tls, self._shared.resumption, self._shared.service.upstream
        if self.sock is None or tls is None:
            raise self._no_connection()
        if self._error is not None:
            resumption.start_again()
            if isinstance(self._error, NotBegun):
                raise self._error
            raise self._not_secured(self._error)
        if not self._over:
            raise self.too_late()
        if not tls.resumed:  # to resume a session proves what its full handshake has proved
            try:
                check_pins(tls, upstream.pins)
                if upstream.data_session_reuse == "require":
                    raise Refused("not_resumed", "the server did not resume the TLS session on the data connection")
            except Refused as error:
                resumption.start_again()
                raise self._not_secured(error) from None
        return tls

    def too_late(self) -> RelayError:
        """The limit has passed: what is to be said then."""
        if self.sock is None:
            return self._no_connection()
        why = "the server did not finish the TLS handshake of the data connection"
        return RelayError(425, why, "server", Cause.TLS)

    def _no_connection(self) -> RelayError:
        if self.pending is None:
            return RelayError(425, "no data connection to the server was prepared", "server", Cause.NOT_PREPARED)
        stranger = self.pending.stranger if isinstance(self.pending, PendingConnection) else ""
        came = f"; one came from {stranger}" if stranger else ""
        cause = Cause.FOREIGN_ADDRESS if stranger else Cause.NEVER_CAME
        return RelayError(425, f"the server opened no data connection in time{came}", "server", cause, stranger)

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

    def _not_secured(self, error: Exception) -> RelayError:
        cause = Cause.CONTESTED if isinstance(error, Contested) else Cause.TLS
        why = explain(error, self._shared.service.upstream).detail
        return RelayError(425, f"TLS on the data connection: {why}", "server", cause)
