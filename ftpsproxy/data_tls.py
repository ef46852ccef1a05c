"""TLS on the server's data connection, from the transfer command on.

Not before the command: ProFTPD, Pure-FTPd and Azure wait for that first. And not only behind the 150: ftp-srv says it
when TLS stands, and for all others a round trip is saved. So the handshake goes on while the 150 is waited for; what
becomes of it the transfer hears.
"""

from collections.abc import Callable

from ftpsproxy import net
from ftpsproxy.dataports import Contested, Expectation
from ftpsproxy.net import Socket
from ftpsproxy.reactor import NEVER, Flag, Task
from ftpsproxy.relay.handshake import shake_hands
from ftpsproxy.tls import Refused, Tls, TlsError


class DataTls:
    """One handshake under way. `run` is a task of the session; `on_heard` is called at the server's first byte,
    `failed` when it fails, whether anybody waits for it or not."""

    __slots__ = ("_arrived", "_end", "_error", "_failed", "_over", "_sock", "on_heard", "task", "tls")

    def __init__(self, end: Expectation | Socket, tls: Tls, failed: Callable[[Tls], None]) -> None:
        self.tls = tls
        self._failed = failed
        self.on_heard: Callable[[], None] | None = None
        self.task: Task | None = None
        self._end: Expectation | Socket | None = end
        self._sock: Socket | None = None
        self._arrived = Flag()
        self._over = Flag()
        self._error: Exception | None = None

    async def run(self) -> None:
        """Take the connection when it is there, and shake hands. For as long as it takes: whoever waits has a limit."""
        end = self._end
        try:
            if isinstance(end, Expectation):
                self._sock = await end.wait(NEVER)
                end.cancel()
            else:
                self._sock = end
            self._end = None
            self._arrived.set()
            assert self._sock is not None  # noqa: S101 - it was an expectation or a connection
            await shake_hands(self._sock, self.tls, NEVER, self._heard)
        except (TlsError, OSError, Refused, Contested) as error:
            self._error = error
            self._failed(self.tls)
        self._arrived.set()
        self._over.set()

    def _heard(self) -> None:
        if self.on_heard is not None:
            self.on_heard()

    async def connection(self, until: float) -> Socket:
        """The connection, which is the caller's from here on. Raises TimeoutError at `until`, or where it is lost."""
        if not await self._arrived.wait(until) or self._sock is None:
            raise TimeoutError
        sock, self._sock = self._sock, None
        return sock

    async def finish(self, until: float) -> None:
        """The end of the handshake. Raises TlsError, Refused, OSError, TimeoutError at `until`."""
        if not await self._over.wait(until):
            raise TimeoutError
        if self._error is not None:
            raise self._error

    @property
    def stranger(self) -> str:
        """Who else has come instead, as `Expectation.stranger`."""
        return self._end.stranger if isinstance(self._end, Expectation) else ""

    def drop(self) -> None:
        """Forget it; a connection that nobody has taken is reset."""
        if self.task is not None:
            self.task.cancel()
        if isinstance(self._end, Expectation):
            self._end.cancel()
        elif self._end is not None:
            net.reset(self._end)
        if self._sock is not None:
            net.reset(self._sock)
        self._end = self._sock = None
