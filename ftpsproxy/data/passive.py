"""Passive ports, shared: a listener stays open and hands each connection to the session that expects its address there.

The ports needed are the transfers that one client address has at a time, whatever the number of clients; and no socket
is made and closed for a file. Whom nobody expects is reset. A listener that was of no use for some time is closed.

Behind one address may be others than the client: a NAT, a pod, the users of a host. So the port is another one each
time, nobody knows which, and a second connection for one pending makes both worthless: who is who can't be told.
"""

import contextlib
import contextvars
import errno
import itertools
import random
from collections.abc import Callable, Collection

import trio

from ftpsproxy import errors, net
from ftpsproxy.net import Socket, now
from ftpsproxy.observe import log

Ports = tuple[int, int] | None
"""Lowest and highest port, or None for any free one."""


_random = random.SystemRandom()  # RFC 2577 section 5: nobody is to guess which
# Where any free port will do, a transfer gets one of so many at least.
SPARE_PORTS = 16
# Strangers at one port are said this often, with so many of those who are expected there.
_QUIET_SECONDS = 10.0
_MOST_NAMED = 5
# So many connections are accepted without giving others a turn: strangers may come without end.
_MOST_AT_ONCE = 64


class NoPort(Exception):
    """There is no port to listen on; `str()` is one plain line."""


class Contested(Exception):
    """More than one connection has come for one transfer; `str()` is one plain line."""

    def __init__(self, host: str) -> None:
        super().__init__(f"a second data connection came from {host}, and which is the client's nobody can tell")


class Unreachable(Exception):
    """The port at which the connection was expected is lost."""


class TooManyPending(NoPort):
    """As many connections are expected already as may be."""


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
        "host",
        "port",
        "sock",
        "stranger",
    )

    def __init__(self, host: str, listener: "PassiveListener", over: Callable[[], None]) -> None:
        self.host = host
        self.port = listener.port
        self.sock: Socket | None = None
        self.stranger = ""  # the address of somebody else who came meanwhile
        self._arrived = trio.Event()
        self._renewed = False
        self._taken = False
        self._contested = False
        self._on_contest: Callable[[], None] | None = None
        self._listener = listener
        self._over: Callable[[], None] | None = over
        self._tell: Callable[[Socket], None] | None = None

    def deliver(self, sock: Socket) -> bool:
        """A connection has come → whether it is this one's."""
        if self._taken or self._contested or (self.sock is not None and not self._renewed):
            self._contest()
            return False
        if self.sock is not None:
            net.reset(self.sock)  # a new one in place of the one left over from what was refused
        self._renewed = False
        self.sock = sock
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


class PassiveListener:
    """One open port and who is expected at it; `once`: it is closed when nobody is any more, `single`: at the first
    connection. `serve` is a task of the gateway's. While it is open it stands among its `siblings`, by its port."""

    __slots__ = ("_quiet_until", "_siblings", "_strangers", "expected", "once", "port", "single", "sock", "used")

    def __init__(self, sock: Socket, siblings: "dict[int, PassiveListener]", *, once: bool) -> None:
        self.sock = sock
        self._siblings = siblings
        self.port: int = sock.getsockname()[1]
        self.once = once
        self.single = False
        self.expected: dict[str, PendingConnection] = {}
        self.used = now()  # when somebody was last expected, or came
        self._strangers = 0
        self._quiet_until = 0.0
        siblings[self.port] = self

    @property
    def closed(self) -> bool:
        """Whether nobody can come in any more."""
        return self.sock.fileno() < 0

    async def serve(self) -> None:
        """Hand out connections until closed."""
        log.unbind()  # it outlives the session that has started it
        try:
            while not self.closed:
                await net.readable(self.sock)  # each time: many strangers must not keep the others from being heard
                if self._hand_out(*await net.accepted(self.sock)) and self.single:
                    return
        except OSError:  # it was closed, or is of no use any more
            for waiting in self.expected.values():
                waiting.give_up()
        finally:
            self._close()

    def accept_waiting(self) -> None:
        """Hand out those that have come already, for a session that can't wait until `serve` has its turn."""
        context = contextvars.copy_context()
        context.run(log.unbind)  # they may be anybody's
        with contextlib.suppress(OSError):
            for _ in range(_MOST_AT_ONCE):
                context.run(self._hand_out, *net.accepted_nowait(self.sock))

    def _hand_out(self, sock: Socket, peer: str) -> bool:
        """To the session that expects it, if there is one."""
        pending = self.expected.get(peer)
        if pending is not None and pending.deliver(sock):
            self.used = now()
            return True
        net.reset(sock)
        if pending is None:
            self._note_stranger(peer)
        return False

    def _note_stranger(self, peer: str) -> None:
        """A load balancer or a second interface of the client's, perhaps: say so, but not for each of a thousand."""
        for waiting in self.expected.values():
            waiting.stranger = peer
        self._strangers += 1
        if now() >= self._quiet_until:
            expected = list(itertools.islice(self.expected, _MOST_NAMED))
            log.data_stranger(came_from=peer, port=self.port, expected=expected, count=self._strangers)
            self._quiet_until, self._strangers = now() + _QUIET_SECONDS, 0

    def forget(self, pending: PendingConnection) -> None:
        """Called when one of them is over."""
        if self.expected.get(pending.host) is pending:
            del self.expected[pending.host]
            self.used = now()
            self._close_if_done()

    def keep_open(self, keep: bool) -> None:
        """Whether it stays open when nobody is expected any more."""
        self.once = not keep
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.once and not self.expected:
            self._close()

    def _close(self) -> None:
        net.close(self.sock)
        if self._siblings.get(self.port) is self:
            del self._siblings[self.port]


class PassivePorts:
    """All passive listeners of one process, tasks of `nursery`. At most `most` connections are waited for."""

    def __init__(self, nursery: trio.Nursery, most: int = 10_000) -> None:
        self._nursery = nursery
        self._most = most
        self._ranges: frozenset[Ports] | None = None
        self._pending = 0
        self._listeners: dict[tuple[str, Ports], dict[int, PassiveListener]] = {}

    def change(self, most: int, ranges: Collection[Ports]) -> None:
        """The configuration has changed, and these are its ranges of ports. A listener of another one, for sessions
        from before, stays open no longer than it must: another range may need its port."""
        self._most = most
        self._ranges = frozenset(ranges)
        for (_, ports), listeners in self._listeners.items():
            for listener in list(listeners.values()):
                listener.keep_open(ports in self._ranges)

    def close_unused(self, seconds: float) -> None:
        """Close the listeners at which nobody was expected for so long."""
        before = now() - seconds
        for key, listeners in list(self._listeners.items()):
            for listener in list(listeners.values()):
                if listener.used < before and not listener.expected:
                    listener.keep_open(False)
            if not listeners:
                del self._listeners[key]

    def expect(self, local: str, ports: Ports, peer: str) -> PendingConnection:
        """Expect a connection from `peer` at a port of the local address `local`. Raises NoPort.

        `local` needs its zone if it has one, and that is the peer's: `peer` has none here.
        `ports`: lowest and highest port, or None for any free one.
        """
        self._check()
        listeners = self._listeners.setdefault((local, ports), {})
        free = [listener for listener in listeners.values() if peer not in listener.expected]
        unopened = SPARE_PORTS - len(free) if ports is None else ports[1] - ports[0] + 1 - len(listeners)
        # Any of those that could be had, the ones not opened yet included.
        if free and (drawn := _random.randrange(len(free) + max(unopened, 0))) < len(free):
            return self._add(free[drawn], peer)
        try:
            once = self._ranges is not None and ports not in self._ranges
            return self._add(self._open(local, ports, listeners, once=once), peer)
        except NoPort:
            if not free:
                raise
            return self._add(_random.choice(free), peer)

    def expect_once(self, local: str, ports: Ports, peer: str) -> PendingConnection:
        """The same at a port of its own, closed afterwards, for a peer that calls from a fixed port.

        A server that calls from port 20 can't reach the same port of ours again within TIME_WAIT.
        """
        self._check()
        listener = self._open(local, ports, {}, once=True)
        listener.single = True
        return self._add(listener, peer)

    def _check(self) -> None:
        if self._pending >= self._most:
            raise TooManyPending(f"{self._pending} data connections are pending already")

    def _over(self) -> None:
        self._pending -= 1

    def _add(self, listener: PassiveListener, peer: str) -> PendingConnection:
        pending = PendingConnection(peer, listener, self._over)
        self._pending += 1
        listener.expected[peer] = pending
        return pending

    def _open(self, local: str, ports: Ports, taken: dict[int, PassiveListener], *, once: bool) -> PassiveListener:
        candidates = [0]
        if ports is not None:
            candidates = [port for port in range(ports[0], ports[1] + 1) if port not in taken]
            _random.shuffle(candidates)
        why = f"all ports {ports[0]} to {ports[1]} are in use" if ports is not None else "no port"
        for port in candidates:
            try:
                sock = net.listen(local, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                why = errors.words(error)
                raise NoPort(f"can't listen on {net.unzoned(local)}: {why}") from None
            listener = PassiveListener(sock, taken, once=once)
            self._nursery.start_soon(listener.serve)
            return listener
        raise NoPort(why)
