"""Listeners, limits, signals, drain; the crash barrier round each session."""

import errno
import gc
import signal
import time
from dataclasses import dataclass
from ipaddress import ip_address

import trio

from ftpsproxy import log, net
from ftpsproxy.config import Listener, Settings
from ftpsproxy.ftp import replies
from ftpsproxy.ftp.serverend import Learned
from ftpsproxy.listeners import DataListeners
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Reactor, Task, turn
from ftpsproxy.seats import OwnSeats, Places, Seats
from ftpsproxy.service import Service, patience
from ftpsproxy.session import Session
from ftpsproxy.tls import Context, build_context
from ftpsproxy.turns import NoTurn, Turns

_STOPPING = "gateway is shutting down"


class ListenError(Exception):
    """An address can't be listened on; `str()` is one plain line."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A listener in service, with its real port."""

    name: str
    host: str
    port: int


def places(settings: Settings) -> Places:
    """The places at all upstreams."""
    return Places({name: one.sessions for name, one in settings.upstreams.items()}, settings.process.workers)


def listen(listener: Listener, *, share_port: bool = False, keepalive_seconds: float | None = None) -> Socket:
    """The listening socket of a listener. Raises ListenError."""
    try:
        return net.listen(listener.host, listener.port, share_port=share_port, keepalive_seconds=keepalive_seconds)
    except OSError as error:
        hint = ""
        if error.errno == errno.EACCES:
            hint = "; ports below 1024 need CAP_NET_BIND_SERVICE, or take a higher one"
        elif error.errno == errno.EADDRINUSE:
            hint = "; another program has it"
        why = (error.strerror or str(error)).lower()
        where = f"[{listener.host}]:{listener.port}" if ":" in listener.host else f"{listener.host}:{listener.port}"
        raise ListenError(f"listener {listener.name}: can't listen on {where}: {why}{hint}") from None


class Gateway:
    """All listeners and sessions of one process."""

    def __init__(self, settings: Settings, seats: Seats, places: Places, *, share_port: bool = False) -> None:
        self._settings = settings
        self._seats = seats
        self._turns = Turns(places, settings.timeouts.queue)
        self._share_port = share_port
        self._reactor = Reactor()
        self._sessions: set[Session] = set()
        self._clients = 0  # those that have a seat: in a session, or on the way to one
        self._draining = False
        self._empty = trio.Event()

    async def serve(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[tuple[Bound, ...]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` is set, then drain. Raises ListenError and tls.TlsConfigError before it is ready."""
        settings = self._settings
        contexts = {name: build_context(upstream) for name, upstream in settings.upstreams.items()}
        sockets: list[Socket] = []
        try:
            for listener in settings.listeners:
                sockets.append(
                    listen(listener, share_port=self._share_port, keepalive_seconds=settings.timeouts.keepalive)
                )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reactor.run)
                accepting, bound = self._open(sockets, contexts)
                task_status.started(bound)
                self._reactor.share(False)
                await stop.wait()
                for task in accepting:
                    task.cancel()
                for sock in sockets:
                    sock.close()
                await self._drain()
                nursery.cancel_scope.cancel()
        finally:
            for sock in sockets:
                sock.close()

    def _open(
        self,
        sockets: list[Socket],
        contexts: dict[str, Context],
    ) -> tuple[list[Task], tuple[Bound, ...]]:
        """Put the listening sockets into service → the tasks that accept, and what was bound."""
        settings = self._settings
        learned = {name: Learned() for name in settings.upstreams}
        resolver = net.Resolver()
        data_listeners = DataListeners(self._reactor, settings.limits.pending_data)
        accepting = []
        bound = []
        for listener, sock in zip(settings.listeners, sockets, strict=True):
            service = Service(
                listener,
                settings.upstreams[listener.upstream],
                settings.limits,
                settings.timeouts,
                contexts[listener.upstream],
                learned[listener.upstream],
                self._reactor,
                data_listeners,
                resolver,
                patience(settings.timeouts),
                settings.log.level == "debug",
            )
            bound.append(Bound(listener.name, listener.host, sock.getsockname()[1]))
            accepting.append(self._reactor.start(self._accept(sock, service)))
        return accepting, tuple(bound)

    async def _drain(self) -> None:
        seconds = self._settings.timeouts.drain
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
                log.session_refused(client=client, listener=service.listener.name, reason=reason)
                _turn_away(sock, reason)
                # Many that are turned away must not keep the others from being heard.
                await turn()
                continue
            self._clients += 1
            self._reactor.start(self._session(service, sock, client))

    def _refusal(self, client: str, service: Service) -> str | None:
        """Why this client gets no session; None when it does, and has its seat."""
        address = ip_address(client)
        if not any(address.version == network.version and address in network for network in service.listener.clients):
            return "address not allowed"
        return self._seats.take(client)

    async def _session(self, service: Service, sock: Socket, client: str) -> None:
        """One client that has its seat: its turn at the upstream, its session, and nothing left behind."""
        try:
            await self._serve_client(service, sock, client)
        except NoTurn as error:
            log.session_refused(client=client, listener=service.listener.name, reason=str(error))
            _turn_away(sock, str(error))
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
        listener, upstream = service.listener.name, service.upstream.name

        def queued(ahead: int) -> None:
            log.session_queued(client=client, listener=listener, upstream=upstream, ahead=ahead)

        waited = await self._turns.take(upstream, sock, queued)
        session = None
        try:
            session = Session(service, sock, client, waited)
            self._sessions.add(session)
            await session.run()
        finally:
            if session is not None:
                self._sessions.discard(session)
            self._turns.leave(upstream)


def _turn_away(sock: Socket, reason: str) -> None:
    """Say why, without waiting, and close."""
    try:
        sock.send(replies.own(421, f"Service not available: {reason}.").encode())
        sock.shutdown(net.SHUT_WR)
    except OSError:
        pass
    sock.close()


def shown(settings: Settings, bound: tuple[Bound, ...]) -> list[str]:
    """The listeners in service, for the log: `NAME ADDR:PORT -> URL`."""
    upstreams = {listener.name: settings.upstreams[listener.upstream] for listener in settings.listeners}
    found = []
    for one in bound:
        upstream = upstreams[one.name]
        host = f"[{one.host}]" if ":" in one.host else one.host
        far = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
        scheme = "ftps" if upstream.implicit else "ftpes"
        found.append(f"{one.name} {host}:{one.port} -> {scheme}://{far}:{upstream.port}")
    return found


async def serve(
    settings: Settings,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[tuple[Bound, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `settings` until `stop` is set; all sessions have ended then. Raises ListenError, tls.TlsConfigError."""
    started = time.monotonic()
    gateway = Gateway(settings, OwnSeats(settings.limits), places(settings))
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(gateway.serve, stop if stop is not None else trio.Event())
        log.gateway_ready(listeners=shown(settings, bound))
        task_status.started(bound)
    log.gateway_stopped(seconds=round(time.monotonic() - started, 3))


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, which drain; a second one ends at once. Raises as `serve` does."""
    settle()
    trio.run(_run, settings)


def settle() -> None:
    """What start-up made lives as long as the process: not worth a look at each collection."""
    gc.collect()
    gc.freeze()


async def _run(settings: Settings) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                        return
                    stop.set()

            nursery.start_soon(watch)
            await serve(settings, stop=stop)
            nursery.cancel_scope.cancel()
