"""A data connection that is expected at a passive port, from one address, until it has come and is taken."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ftpsproxy import net
from ftpsproxy.net import Socket
from ftpsproxy.observe import log

if TYPE_CHECKING:
    from ftpsproxy.data.passive import PassiveListener


class Contested(Exception):
    """More than one connection has come for one transfer; `str()` is one plain line."""

    def __init__(self, host: str) -> None:
        super().__init__(f"a second data connection came from {host}, and which is the client's nobody can tell")


class Unreachable(Exception):
    """The port at which the connection was expected is lost."""


class PendingConnection:
    """One expected connection: of one address, at one port. The first that comes is held until `wait` takes it, and
    until `cancel` there must be no other."""

    __slots__ = (
        "_arrived",
        "_contested",
        "_listener",
        "_on_contest",
        "_over",
        "_renewed",
        "_taken",
        "_tell",
        "balanced",
        "host",
        "port",
        "sock",
        "stranger",
    )

    def __init__(self, host: str, listener: "PassiveListener", over: Callable[[], None]) -> None:
        self.host = host
        self.port = listener.port
        self.sock: Socket | None = None
        self.balanced = False  # whether it came by way of a load balancer, which ends it as it likes
        self.stranger = ""  # the address of somebody else who came meanwhile
        self._arrived = trio.Event()
        self._renewed = False
        self._taken = False
        self._contested = False
        self._on_contest: Callable[[], None] | None = None
        self._listener = listener
        self._over: Callable[[], None] | None = over
        self._tell: Callable[[Socket], None] | None = None

    def deliver(self, sock: Socket, *, balanced: bool = False) -> bool:
        """A connection has come → whether it is this one's."""
        if self._taken or self._contested or (self.sock is not None and not self._renewed):
            self._contest()
            return False
        if self.sock is not None:
            net.reset(self.sock)  # a new one in place of the one left over from what was refused
        self._renewed = False
        self.sock, self.balanced = sock, balanced
        if self._tell is not None:
            self._tell(sock)
        self._arrived.set()
        return True

    def _contest(self) -> None:
        if self._contested:
            return
        self._contested = True
        log.data_contested(came_from=self.host, port=self.port)
        if self.sock is not None:
            net.reset(self.sock)
            self.sock = None
        self._arrived.set()
        if self._on_contest is not None:
            self._on_contest()

    def on_contest(self, contested: Callable[[], None]) -> None:
        """Call `contested` should another connection come for it from here on."""
        self._on_contest = contested

    def tell(self, arrived: Callable[[Socket], None]) -> None:
        """Call `arrived` with the connection at once when it is there; with a new one again."""
        self._tell = arrived
        if self.sock is not None:
            arrived(self.sock)

    def give_up(self) -> None:
        """Nothing will come any more."""
        self._arrived.set()

    def take_stranger(self) -> str:
        """The address of somebody else who came; it is said once."""
        stranger, self.stranger = self.stranger, ""
        return stranger

    @property
    def who_came_instead(self) -> str:
        """For a reply and the log; empty when nobody did."""
        return f"; one came from {self.stranger}, and is expected from {self.host} only" if self.stranger else ""

    def take(self) -> Socket | None:
        """The connection, if it has come and nobody else for it; it is the caller's from here on."""
        if self._contested or self.sock is None or self._renewed:
            return None
        sock, self.sock = self.sock, None
        self._taken = True
        return sock

    def has_come(self) -> bool:
        """Whether it is there, though nobody may have had a turn yet to accept it."""
        if self.sock is None:
            self._listener.accept_waiting()
        return self.sock is not None

    async def wait(self) -> Socket:
        """`take`, for as long as it takes to come. Raises Contested where two have come, Unreachable once its port is
        lost."""
        if self._renewed and self.sock is not None and _spent(self.sock) and not net.unread(self.sock):
            net.reset(self.sock)
            self.sock = None
        if self.sock is None and not self._contested and not self._listener.closed:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._contested:
            raise Contested(self.host)
        self._renewed = False
        sock = self.take()
        if sock is None:
            raise Unreachable
        return sock

    def renew(self) -> None:
        """The transfer was refused before its data, the next one may come over the same port.

        Netscape 4 connects anew, others go on with the connection they have. That one is kept as long as it is open and
        has brought nothing: an end, or bytes, that belonged to what was refused must not become the next file.
        """
        self._renewed = True
        if self.sock is not None and (_spent(self.sock) or net.unread(self.sock)):
            net.reset(self.sock)
            self.sock = None
        self._listener.expected.setdefault(self.host, self)

    def cancel(self) -> None:
        """Expect nothing any more; reset what has come and was not taken."""
        self._listener.forget(self)
        if self._over is not None:
            self._over()
            self._over = None
        if self.sock is not None:
            net.reset(self.sock)
            self.sock = None


def _spent(sock: Socket) -> bool:
    return net.has_ended(sock) or net.is_broken(sock)
