"""All listeners and sessions of one process: limits, drain, a change of settings; the crash barrier round each
session."""

from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from ftpsproxy import listening, log, metrics, net
from ftpsproxy.clients import one_client
from ftpsproxy.config import Settings
from ftpsproxy.dataports import DataListeners
from ftpsproxy.ftp import replies
from ftpsproxy.ftp.serverend import Learned
from ftpsproxy.listening import ListenError, Sockets
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Reactor, Task, now, pause, turn
from ftpsproxy.seats import TOO_MANY_LOGINS, Arrivals, Places, Refusal, RefusedLogins, Seats
from ftpsproxy.service import Service, patience
from ftpsproxy.session import Session
from ftpsproxy.tls import Context, build_context
from ftpsproxy.turns import NoTurn, Turns

if TYPE_CHECKING:
    from ftpsproxy.admin import Admin

# A burst of transfers opens doors, and should find them for the next one; nobody comes in by one that is closed.
_DOOR_SECONDS = 300.0
# How often is looked after what no event tells of.
_LOOK_SECONDS = 1.0
_STOPPING = "gateway is shutting down"
_NOT_ALLOWED = Refusal("clients", "address not allowed")


class Gateway:
    """See above. In a worker, `settings` are its share of them."""

    def __init__(
        self,
        settings: Settings,
        seats: Seats,
        places: Places,
        refused_logins: RefusedLogins,
        table: metrics.Table,
        *,
        share_port: bool = False,
    ) -> None:
        self._settings = settings
        self._seats = seats
        self._places = places
        self._refused_logins = refused_logins
        self._table = table
        self._arrivals = Arrivals()
        self._turns = Turns(places, settings.timeouts.queue)
        self._share_port = share_port
        self._reactor = Reactor()
        self._resolver = net.Resolver()
        self._data_listeners = DataListeners(self._reactor, settings.limits.pending_data)
        self._sockets: Sockets = {}
        self._learned: dict[str, Learned] = {}
        self._services: dict[str, Service] = {}
        self._accepting: list[Task] = []
        self._admin: Admin | None = None
        self._nursery: trio.Nursery | None = None
        self._sessions: dict[Session, tuple[str, str]] = {}  # and at which upstream whose place each has
        self._clients = 0  # those that have a seat: in a session, or on the way to one
        self._open = False
        self._draining = False
        self._empty = trio.Event()

    async def serve(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[Settings] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` is set, then drain; starts with the settings in use. Raises what `change_to` does before
        it is ready."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._reactor.run)
                self._nursery.start_soon(self._look_after)
                task_status.started(self._change(self._settings, build_contexts(self._settings)))
                self._reactor.share(False)
                await stop.wait()
                await self._drain()
                self._nursery.cancel_scope.cancel()
        finally:
            self._close()

    async def change_to(self, settings: Settings) -> Settings:
        """Serve by these settings from now on → the same with real ports. Sessions that there are keep their own.

        Certificates are read anew, beside the loop: the system's roots take 6 ms for each upstream. Raises ListenError,
        TlsConfigError, TooManyUpstreams, with nothing changed.
        """
        return self._change(settings, await trio.to_thread.run_sync(build_contexts, settings))

    def _change(self, settings: Settings, contexts: dict[str, Context]) -> Settings:
        self._places.know(settings.upstreams)
        self._have_admin(settings)
        addresses = listening.addresses(settings)
        sockets = listening.renew(
            self._sockets, addresses, lambda one: net.listen(one.host, one.port, share_port=self._share_port)
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
        for name in old.upstreams.keys() - settings.upstreams.keys():
            metrics.UPSTREAM_EXPIRY.forget(name)
        self._seats.limits = settings.limits
        upstreams = settings.upstreams
        self._places.limit(
            {name: one.sessions for name, one in upstreams.items()},
            {name: one.sessions_per_client for name, one in upstreams.items()},
        )
        self._turns.change(settings.timeouts.queue)
        self._data_listeners.change(settings.limits.pending_data, [one.passive_ports for one in settings.listeners])
        self._services = {}
        for listener in settings.listeners:
            service = self._services[listener.name] = Service(
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
                self._refused_logins,
                settings.log.level == "debug",
            )
            sock = sockets[addresses[listening.of_listener(listener.name)]]
            net.tune(sock, settings.timeouts.keepalive)
            self._accepting.append(self._reactor.start(self._accept(sock, service)))
        self._open = True
        if self._admin is not None:
            self._admin.open(
                sockets[addresses[listening.ADMIN]] if settings.admin.host else None, settings.admin.clients
            )
        return listening.real(settings, sockets)

    async def _look_after(self) -> None:
        """Every second, what no event tells of. A defect here must not end sessions."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            try:
                log.sum_up()
                self._make_way()
                self._data_listeners.close_unused(_DOOR_SECONDS)
            except Exception as error:
                log.gateway_crashed(error=error)

    def _make_way(self) -> None:
        """Where clients wait for places, end sessions that only hold one: without a login, or silent, of a client that
        has two more than whoever is next; of these one at a time, as each changes who has how many."""
        places, seconds = self._places, self._settings.timeouts.others_wait
        wanted = {upstream: has for upstream in places.limits if (has := places.wanted(upstream)) is not None}
        if not wanted:
            return
        busy = {upstream for session, (upstream, _) in self._sessions.items() if session.makes_way}
        for session, (upstream, who) in list(self._sessions.items()):
            if upstream in wanted:
                rich = upstream not in busy and places.has(upstream, who) >= wanted[upstream] + 2
                if session.make_way(seconds, rich=rich):
                    busy.add(upstream)

    def _have_admin(self, settings: Settings) -> None:
        """Be ready to answer probes, if that is wanted. Raises ListenError."""
        if self._admin is None and self._nursery is not None and settings.admin.host:
            try:
                from ftpsproxy.admin import Admin  # not worth its memory where nobody asks
            except (ImportError, OSError) as error:
                raise ListenError(f"admin: {error}") from None
            self._admin = Admin(self._table, lambda: self._open)
            self._nursery.start_soon(self._admin.run)

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
            who = one_client(client, service.limits.client_prefix)
            if (reason := self._refusal(client, who, service)) is not None:
                _turn_away(sock, client, service, reason)
                # Many that are turned away must not keep the others from being heard.
                await turn()
                continue
            self._clients += 1
            self._reactor.start(self._session(service, sock, client, who))

    def _refusal(self, client: str, who: str, service: Service) -> Refusal | None:
        """Why this client gets no session; None when it does, and has its seat. `who` stands for it where clients are
        counted."""
        if not _allowed(client, service):
            return _NOT_ALLOWED
        lately = self._refused_logins.count(service.upstream.name, who, service.timeouts.refused_logins)
        return TOO_MANY_LOGINS if lately >= service.limits.refused_logins else self._seats.take(who)

    async def _session(self, service: Service, sock: Socket, client: str, who: str) -> None:
        """One client that has its seat: its turn at the upstream, its session, and nothing left behind."""
        try:
            await self._serve_client(service, sock, client, who)
        except NoTurn as error:
            _turn_away(sock, client, service, error.refusal)
        except Exception as error:
            log.session_crashed(error=error)
        finally:
            sock.close()
            self._seats.leave(who)
            self._clients -= 1
            if not self._clients and self._draining:
                self._empty.set()

    async def _serve_client(self, service: Service, sock: Socket, client: str, who: str) -> None:
        """Raises NoTurn."""
        upstream = service.upstream.name

        def queued(ahead: int) -> None:
            log.session_queued(client=client, listener=service.listener.name, upstream=upstream, ahead=ahead)

        early = self._arrivals.wait(who, service.limits)
        if early:
            await pause(now() + early)
            if net.is_broken(sock) or (net.has_ended(sock) and not net.unread(sock)):
                raise NoTurn("left", "the client left while it waited")
        waited = await self._turns.take(upstream, who, sock, queued)
        if early:
            waited = early + (waited or 0.0)
        try:
            service = self._current(service, client)
            session = Session(service, sock, client, waited)
            self._sessions[session] = upstream, who
            metrics.SESSIONS_OPEN.add(service.listener.name, upstream)
            try:
                await session.run()
            finally:
                metrics.SESSIONS_OPEN.add(service.listener.name, upstream, by=-1)
                del self._sessions[session]
        finally:
            self._turns.leave(upstream, who)

    def _current(self, service: Service, client: str) -> Service:
        """What is now in place of this service, for one that may have waited over a change. Raises NoTurn."""
        new = self._services.get(service.listener.name)
        if new is service:
            return service
        if new is None or new.upstream.name != service.upstream.name or not _allowed(client, new):
            raise NoTurn("changed", "the gateway's settings have changed, please connect again")
        return new


def build_contexts(settings: Settings) -> dict[str, Context]:
    """TLS for each upstream. Raises TlsConfigError."""
    return {name: build_context(upstream) for name, upstream in settings.upstreams.items()}


def _allowed(client: str, service: Service) -> bool:
    """Whether the listener lets this address in."""
    address = ip_address(client)
    return any(address.version == network.version and address in network for network in service.listener.clients)


def _turn_away(sock: Socket, client: str, service: Service, why: Refusal) -> None:
    """Say why, without waiting, and close."""
    log.session_refused(client=client, listener=service.listener.name, reason=why.text, limit=why.limit)
    try:
        sock.send(replies.own(421, f"Service not available: {why.text}.").encode())
        sock.shutdown(net.SHUT_WR)
    except OSError:
        pass
    sock.close()
