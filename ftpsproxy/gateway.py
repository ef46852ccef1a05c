"""Limits, signals, drain, a change of the configuration; the crash barrier round each session."""

import gc
import signal
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from ftpsproxy import listening, log, metrics, net
from ftpsproxy.config import ConfigError, Settings
from ftpsproxy.ftp import replies
from ftpsproxy.ftp.serverend import Learned
from ftpsproxy.listeners import DataListeners
from ftpsproxy.listening import ListenError, Sockets
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Reactor, Task, turn
from ftpsproxy.seats import OwnSeats, Places, Refusal, Seats, TooManyUpstreams
from ftpsproxy.service import Service, patience
from ftpsproxy.session import Session
from ftpsproxy.tls import TlsConfigError, build_context
from ftpsproxy.turns import NoTurn, Turns

if TYPE_CHECKING:
    from ftpsproxy.admin import Admin

Load = Callable[[], Settings]
"""Reads the configuration again; raises ConfigError."""

_STOPPING = "gateway is shutting down"
_NOT_ALLOWED = Refusal("clients", "address not allowed")


class Unchangeable(Exception):
    """A change of the configuration that needs a new start; `str()` is one plain line."""


UNUSABLE = (ConfigError, TlsConfigError, ListenError, TooManyUpstreams, Unchangeable)
"""What a configuration read again may raise; the one before stays."""


def places(settings: Settings) -> Places:
    """The places at all upstreams."""
    return Places(limits_of(settings), settings.process.workers)


def limits_of(settings: Settings) -> dict[str, int]:
    """How many sessions each upstream takes; 0 for any number."""
    return {name: one.sessions for name, one in settings.upstreams.items()}


class Gateway:
    """All listeners and sessions of one process. In a worker, `settings` are its share of them."""

    def __init__(
        self, settings: Settings, seats: Seats, places: Places, table: metrics.Table, *, share_port: bool = False
    ) -> None:
        self._settings = settings
        self._seats = seats
        self._places = places
        self._table = table
        self._turns = Turns(places, settings.timeouts.queue)
        self._share_port = share_port
        self._reactor = Reactor()
        self._resolver = net.Resolver()
        self._data_listeners = DataListeners(self._reactor, settings.limits.pending_data)
        self._sockets: Sockets = {}
        self._learned: dict[str, Learned] = {}
        self._accepting: list[Task] = []
        self._admin: Admin | None = None
        self._nursery: trio.Nursery | None = None
        self._sessions: set[Session] = set()
        self._clients = 0  # those that have a seat: in a session, or on the way to one
        self._open = False
        self._draining = False
        self._empty = trio.Event()

    async def serve(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[Settings] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` is set, then drain; starts with the settings in use. Raises what `change` does before it
        is ready."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._reactor.run)
                task_status.started(self.change(self._settings))
                self._reactor.share(False)
                await stop.wait()
                await self._drain()
                self._nursery.cancel_scope.cancel()
        finally:
            self._close()

    def change(self, settings: Settings) -> Settings:
        """Serve by these settings from now on → the same with real ports. Sessions that there are keep their own.

        Certificates are read anew. Raises one of UNUSABLE, with nothing changed.
        """
        self._places.know(limits_of(settings))
        contexts = {name: build_context(upstream) for name, upstream in settings.upstreams.items()}
        keepalive = settings.timeouts.keepalive
        addresses = listening.addresses(settings)
        sockets = listening.renew(
            self._sockets,
            addresses,
            lambda address: listening.listen(address, share_port=self._share_port, keepalive_seconds=keepalive),
        )
        # From here on nothing can fail.
        self._stop_accepting()
        old, self._settings = self._settings, settings
        listening.drop(self._sockets, sockets)
        self._sockets = sockets
        self._learned = {
            name: self._learned[name] if name in self._learned and old.upstreams.get(name) == one else Learned()
            for name, one in settings.upstreams.items()
        }
        self._seats.limits = settings.limits
        self._places.limit(limits_of(settings))
        self._turns.change(settings.timeouts.queue)
        self._data_listeners.change(settings.limits.pending_data, [one.passive_ports for one in settings.listeners])
        for listener in settings.listeners:
            service = Service(
                listener,
                settings.upstreams[listener.upstream],
                settings.limits,
                settings.timeouts,
                contexts[listener.upstream],
                self._learned[listener.upstream],
                self._reactor,
                self._data_listeners,
                self._resolver,
                patience(settings.timeouts),
                settings.log.level == "debug",
            )
            sock = sockets[addresses[listening.of_listener(listener.name)]]
            net.tune(sock, keepalive)
            self._accepting.append(self._reactor.start(self._accept(sock, service)))
        self._open = True
        self._change_admin(sockets[addresses[listening.ADMIN]] if settings.admin.host else None)
        return listening.real(settings, sockets)

    def _change_admin(self, sock: Socket | None) -> None:
        """Answer probes there, or nowhere."""
        if self._admin is None:
            if sock is None or self._nursery is None:
                return
            from ftpsproxy.admin import Admin  # not worth its memory where nobody asks

            self._admin = Admin(self._table, lambda: self._open)
            self._nursery.start_soon(self._admin.run)
        self._admin.open(sock, self._settings.admin.clients)

    def _stop_accepting(self) -> None:
        for task in self._accepting:
            task.cancel()
        self._accepting = []

    def _close(self) -> None:
        listening.drop(self._sockets, {})
        self._sockets = {}

    async def _drain(self) -> None:
        seconds = self._settings.timeouts.drain
        self._open = False
        self._stop_accepting()
        for who, address in listening.addresses(self._settings).items():
            if who != listening.ADMIN:
                self._sockets.pop(address).close()
        self._reactor.share(True)
        self._turns.close(_STOPPING)
        if not self._clients:
            return
        log.gateway_draining(sessions=len(self._sessions), seconds=seconds)
        for session in list(self._sessions):
            session.stop(f"The {_STOPPING}.", now=False)
        with trio.move_on_after(seconds):
            await self._all_gone()
            return
        for session in list(self._sessions):
            session.stop(f"The {_STOPPING}.", now=True)
        with trio.move_on_after(self._settings.timeouts.linger):
            await self._all_gone()

    async def _all_gone(self) -> None:
        self._draining = True
        if self._clients:
            await self._empty.wait()

    async def _accept(self, listener: Socket, service: Service) -> None:
        while True:
            sock, client = await net.accepted(listener)
            if (reason := self._refusal(client, service)) is not None:
                _turn_away(sock, client, service, reason)
                # Many that are turned away must not keep the others from being heard.
                await turn()
                continue
            self._clients += 1
            self._reactor.start(self._session(service, sock, client))

    def _refusal(self, client: str, service: Service) -> Refusal | None:
        """Why this client gets no session; None when it does, and has its seat."""
        address = ip_address(client)
        if not any(address.version == network.version and address in network for network in service.listener.clients):
            return _NOT_ALLOWED
        return self._seats.take(client)

    async def _session(self, service: Service, sock: Socket, client: str) -> None:
        """One client that has its seat: its turn at the upstream, its session, and nothing left behind."""
        try:
            await self._serve_client(service, sock, client)
        except NoTurn as error:
            _turn_away(sock, client, service, error.refusal)
        except Exception as error:
            log.session_crashed(error=error)
        finally:
            sock.close()
            self._seats.leave(client)
            self._clients -= 1
            if not self._clients and self._draining:
                self._empty.set()

    async def _serve_client(self, service: Service, sock: Socket, client: str) -> None:
        """Raises NoTurn."""
        where = listener, upstream = service.listener.name, service.upstream.name
        waiting = 0

        def queued(ahead: int) -> None:
            nonlocal waiting
            waiting = 1
            metrics.SESSIONS_WAITING.add(*where)
            log.session_queued(client=client, listener=listener, upstream=upstream, ahead=ahead)

        try:
            waited = await self._turns.take(upstream, sock, queued)
        finally:
            metrics.SESSIONS_WAITING.add(*where, by=-waiting)
        session = None
        metrics.SESSIONS_OPEN.add(*where)
        try:
            session = Session(service, sock, client, waited)
            self._sessions.add(session)
            await session.run()
        finally:
            metrics.SESSIONS_OPEN.add(*where, by=-1)
            if session is not None:
                self._sessions.discard(session)
            if waited is not None:
                self._turns.leave(upstream)


def _turn_away(sock: Socket, client: str, service: Service, why: Refusal) -> None:
    """Say why, without waiting, and close."""
    log.session_refused(client=client, listener=service.listener.name, reason=why.text, limit=why.limit)
    try:
        sock.send(replies.own(421, f"Service not available: {why.text}.").encode())
        sock.shutdown(net.SHUT_WR)
    except OSError:
        pass
    sock.close()


def load_again(load: Load, settings: Settings) -> Settings:
    """The settings as they are now. Raises ConfigError, Unchangeable."""
    new = load()
    if new.process.workers != settings.process.workers:
        raise Unchangeable(
            f"process.workers: {settings.process.workers} run, {new.process.workers} need a new start of the gateway"
        )
    return new


def say_reloaded(settings: Settings) -> None:
    """These settings, with real ports, are in use; the log is written by them from here on."""
    log.configure(settings.log.format, settings.log.level)
    listeners, admin = listening.shown(settings)
    log.gateway_reloaded(listeners=listeners, admin=admin)


def say_not_reloaded(error: Exception) -> None:
    """The settings are of no use, or, what must not end a session either, we can't read them for a defect of ours."""
    reason = str(error) if isinstance(error, UNUSABLE) else f"{type(error).__name__}: {error}"
    log.gateway_reload_failed(reason=reason)


async def serve(
    settings: Settings,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[tuple[Gateway, Settings]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `settings` until `stop` is set; all sessions have ended then. Raises ListenError, tls.TlsConfigError.

    Starts with the gateway, and the settings with real ports.
    """
    started = time.monotonic()
    table = metrics.Table()
    metrics.count_in(table)
    gateway = Gateway(settings, OwnSeats(settings.limits), places(settings), table)
    async with trio.open_nursery() as nursery:
        real = await nursery.start(gateway.serve, stop if stop is not None else trio.Event())
        listeners, admin = listening.shown(real)
        log.gateway_ready(listeners=listeners, admin=admin)
        task_status.started((gateway, real))
    log.gateway_stopped(seconds=round(time.monotonic() - started, 3))


def run(settings: Settings, load: Load) -> None:
    """Serve until SIGTERM or SIGINT, which drain; a second one ends at once; SIGHUP has the settings loaded again.
    Raises as `serve` does."""
    settle()
    trio.run(_run, settings, load)


def settle() -> None:
    """What start-up made lives as long as the process: not worth a look at each collection."""
    gc.collect()
    gc.freeze()


async def _run(settings: Settings, load: Load) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def main(task_status: trio.TaskStatus[tuple[Gateway, Settings]]) -> None:
                await serve(settings, stop=stop, task_status=task_status)
                nursery.cancel_scope.cancel()

            gateway, _ = await nursery.start(main)
            async for number in signals:
                if number == signal.SIGHUP:
                    if not stop.is_set():
                        _reload(gateway, load, settings)
                elif stop.is_set():
                    nursery.cancel_scope.cancel()
                else:
                    stop.set()


def _reload(gateway: Gateway, load: Load, settings: Settings) -> None:
    try:
        new = gateway.change(load_again(load, settings))
    except Exception as error:
        say_not_reloaded(error)
    else:
        say_reloaded(new)
