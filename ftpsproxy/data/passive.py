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
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import trio

from ftpsproxy import errors, net
from ftpsproxy.clients import is_allowed
from ftpsproxy.config import Network
from ftpsproxy.data.pending import PendingConnection
from ftpsproxy.net import Introductions, NoHeader, Origin, Socket, now
from ftpsproxy.observe import log

Ports = tuple[int, int] | None
"""Lowest and highest port, or None for any free one."""
Networks = tuple[Network, ...]


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


class TooManyPending(NoPort):
    """As many connections are expected already as may be."""


@dataclass(frozen=True, slots=True)
class Balancers:
    """Load balancers, who say by a header for whom each of their connections is, and where that is heard."""

    networks: Networks
    introductions: Introductions


class PassiveListener:
    """One open port and who is expected at it; `once`: it is closed when nobody is any more, `single`: at the first
    connection. `serve` is a task of the gateway's. While it is open it stands among its `siblings`, by its port."""

    __slots__ = (
        "_balancers",
        "_quiet_until",
        "_siblings",
        "_strangers",
        "expected",
        "once",
        "port",
        "single",
        "sock",
        "used",
    )

    def __init__(
        self, sock: Socket, siblings: "dict[int, PassiveListener]", balancers: Balancers, *, once: bool
    ) -> None:
        self.sock = sock
        self._balancers = balancers
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
        """To the session that expects it, if there is one → whether that is known, and there is."""
        balancers = self._balancers
        if balancers.networks and is_allowed(peer, balancers.networks):
            known, failed = partial(self._introduced, sock, peer), partial(self._unknown, sock, peer)
            balancers.introductions.introduce(sock, known, failed)
            return False
        return self._deliver(sock, peer)

    def _introduced(self, sock: Socket, balancer: str, origin: Origin | None) -> None:
        self._deliver(sock, balancer if origin is None else origin.client, balanced=True)

    def _unknown(self, sock: Socket, balancer: str, why: NoHeader) -> None:
        net.reset(sock)
        if str(why):
            self._note_stranger(balancer, str(why))

    def _deliver(self, sock: Socket, peer: str, *, balanced: bool = False) -> bool:
        pending = self.expected.get(peer)
        if pending is not None and pending.deliver(sock, balanced=balanced):
            self.used = now()
            return True
        net.reset(sock)
        if pending is None:
            self._note_stranger(peer)
        return False

    def _note_stranger(self, peer: str, why: str = "") -> None:
        """A load balancer or a second interface of the client's, perhaps: say so, but not for each of a thousand."""
        for waiting in self.expected.values():
            waiting.stranger = peer
        self._strangers += 1
        if now() >= self._quiet_until:
            expected = list(itertools.islice(self.expected, _MOST_NAMED))
            log.data_stranger(came_from=peer, port=self.port, expected=expected, count=self._strangers, detail=why)
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
        self._introductions = Introductions(nursery.start_soon)
        self._listeners: dict[tuple[str, Ports, Networks], dict[int, PassiveListener]] = {}

    def change(self, most: int, ranges: Collection[Ports]) -> None:
        """The configuration has changed, and these are its ranges of ports. A listener of another one, for sessions
        from before, stays open no longer than it must: another range may need its port."""
        self._most = most
        self._ranges = frozenset(ranges)
        for (_, ports, _), listeners in self._listeners.items():
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

    def expect(self, local: str, ports: Ports, peer: str, balancers: Networks = ()) -> PendingConnection:
        """Expect a connection from `peer` at a port of the local address `local`. Raises NoPort.

        `local` needs its zone if it has one, and that is the peer's: `peer` has none here.
        `ports`: lowest and highest port, or None for any free one.
        `balancers`: whoever comes from there says by a header whom it comes for; such ports are shared with no others.
        """
        self._check()
        listeners = self._listeners.setdefault((local, ports, balancers), {})
        free = [listener for listener in listeners.values() if peer not in listener.expected]
        unopened = SPARE_PORTS - len(free) if ports is None else ports[1] - ports[0] + 1 - len(listeners)
        # Any of those that could be had, the ones not opened yet included.
        if free and (drawn := _random.randrange(len(free) + max(unopened, 0))) < len(free):
            return self._add(free[drawn], peer)
        try:
            once = self._ranges is not None and ports not in self._ranges
            return self._add(self._open(local, ports, listeners, balancers, once=once), peer)
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

    def _open(
        self, local: str, ports: Ports, taken: dict[int, PassiveListener], balancers: Networks = (), *, once: bool
    ) -> PassiveListener:
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
            listener = PassiveListener(sock, taken, Balancers(balancers, self._introductions), once=once)
            self._nursery.start_soon(listener.serve)
            return listener
        raise NoPort(why)
