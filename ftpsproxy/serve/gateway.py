"""All listeners and sessions of one process: limits, drain, a change of settings; the crash barrier round each
session."""

from functools import partial
from typing import TYPE_CHECKING

import trio

from ftpsproxy import errors, net
from ftpsproxy.clients import is_allowed, one_client
from ftpsproxy.config import Listener, Settings
from ftpsproxy.data.passive import PassivePorts
from ftpsproxy.data.service import DataService, transfer_policy
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.net import Socket, turn
from ftpsproxy.observe import log, metrics
from ftpsproxy.observe.labels import Names
from ftpsproxy.serve import listening
from ftpsproxy.serve.activation import ListenError
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.limits import TOO_MANY_LOGINS, Refusal, RefusedLogins, SessionLimits
from ftpsproxy.serve.listening import Sockets, Source
from ftpsproxy.serve.places import Places
from ftpsproxy.serve.turning_away import NOT_ALLOWED, turn_away, unknown
from ftpsproxy.serve.upstream_slots import UpstreamSlots
from ftpsproxy.session.service import NoPlace, Service, patience, policy
from ftpsproxy.session.session import Session
from ftpsproxy.tls import Context, build_context

if TYPE_CHECKING:
    from ftpsproxy.serve.admin import Admin

# A burst of transfers opens passive listeners, and should find them for the next one.
_UNUSED_SECONDS = 300.0
# How often is looked after what no event tells of.
_LOOK_SECONDS = 1.0
_STOPPING = "gateway is shutting down"


class Gateway:
    """See above. In a worker, `settings` are its share of them."""

    def __init__(
        self,
        settings: Settings,
        session_limits: SessionLimits,
        slots: UpstreamSlots,
        refused_logins: RefusedLogins,
        table: metrics.Table,
        board: Board,
        source: Source,
        *,
        paused: bool = False,
    ) -> None:
        self._settings = settings
        self._session_limits = session_limits
        self._slots = slots
        self._refused_logins = refused_logins
        self.table = table
        self._board = board
        self._places = Places(slots, settings.timeouts.queue, self._current)
        self._source = source
        self._sockets: Sockets = {}
        self._quirks: dict[str, UpstreamQuirks] = {}
        self._services: dict[str, Service] = {}
        self._accepting: list[trio.CancelScope] = []
        self._admin: Admin | None = None
        self._sessions: dict[Session, tuple[str, str]] = {}  # and at which upstream whose slot each has
        self._clients = 0  # those that were let in: in a session, or on the way to one
        self._open = False
        self._paused = paused
        self._replaced_by: int | None = None
        self._patience = trio.CancelScope()
        self._all_gone = trio.Event()

    async def serve(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[Settings] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` is set, then drain; starts with the settings in use. Raises what `change_to` does before
        it is ready."""
        try:
            async with trio.open_nursery() as self._helpers:
                self._resolver = net.Resolver(self._helpers)
                self._passive_ports = PassivePorts(self._helpers, self._settings.limits.pending_data)
                self._helpers.start_soon(self._look_after)
                async with trio.open_nursery() as self._sessions_nursery:
                    async with trio.open_nursery() as self._listeners:
                        self._introductions = net.Introductions(self._listeners.start_soon)
                        task_status.started(self._change(self._settings, build_contexts(self._settings)))
                        await stop.wait()
                        await self._outlive()
                        self._listeners.cancel_scope.cancel()
                    await self._drain()
                self._helpers.cancel_scope.cancel()
        finally:
            self._close()

    async def change_to(self, settings: Settings) -> Settings:
        """Serve by these settings from now on → the same with real ports. Sessions that there are keep their own.

        Certificates are read anew, beside the loop: the system's roots take 6 ms for each upstream. Raises ListenError,
        TlsConfigError, TooManyUpstreams, TooManySeries, with nothing changed.
        """
        return self._change(settings, await trio.to_thread.run_sync(build_contexts, settings))

    def _change(self, settings: Settings, contexts: dict[str, Context]) -> Settings:
        self._slots.know(settings.upstreams)
        self.table.know(names_in(settings))
        self._have_admin(settings)
        listening.try_source_ports(settings)
        addresses = listening.addresses(settings)
        sockets = listening.renew(self._sockets, addresses, self._source)
        # From here on nothing can fail.
        self._stop_accepting()
        old, self._settings = self._settings, settings
        self.table.names = names_in(settings)
        listening.drop(self._sockets, sockets)
        self._sockets = sockets
        self._quirks = {
            name: self._quirks[name] if name in self._quirks and old.upstreams.get(name) == one else UpstreamQuirks()
            for name, one in settings.upstreams.items()
        }
        for name in old.upstreams.keys() - settings.upstreams.keys():
            metrics.UPSTREAM_EXPIRY.forget(name)
        self._session_limits.limits = settings.limits
        upstreams = settings.upstreams
        self._slots.limit(
            {name: one.sessions for name, one in upstreams.items()},
            {name: one.sessions_per_client for name, one in upstreams.items()},
        )
        self._places.queue.change(settings.timeouts.queue)
        self._passive_ports.change(settings.limits.pending_data, [one.passive_ports for one in settings.listeners])
        self._services = {}
        for listener in settings.listeners:
            self._services[listener.name] = self._service(settings, listener, contexts[listener.upstream])
        self._open = True
        if not self._paused:
            self._start_accepting()
        return listening.real(settings, sockets)

    def _service(self, settings: Settings, listener: Listener, context: Context) -> Service:
        """What all sessions of this listener share, computed once."""
        upstream, timeouts = settings.upstreams[listener.upstream], settings.timeouts
        data = DataService(
            listener,
            upstream,
            timeouts,
            context,
            self._quirks[listener.upstream],
            self._passive_ports,
            transfer_policy(listener, upstream, timeouts),
        )
        return Service(
            data,
            settings.limits,
            self._resolver,
            patience(timeouts),
            policy(listener, upstream, settings.limits),
            partial(self._note_refused_login, upstream.name, settings),
            settings.log.debugs,
            settings.log.progress_seconds,
        )

    def _note_refused_login(self, upstream: str, settings: Settings, client: str) -> int:
        """One more of this client's → how many there were lately."""
        who = one_client(client, settings.limits.client_prefix)
        return self._refused_logins.add(upstream, who, settings.timeouts.refused_logins)

    async def _look_after(self) -> None:
        """Every second, what no event tells of. A defect here must not end sessions."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            try:
                log.sum_up()
                self._make_way()
                for session in list(self._sessions):
                    session.note_progress()
                self._passive_ports.close_unused(_UNUSED_SECONDS)
                if self._admin is not None:
                    self._admin.status.look_after()
            except Exception as error:
                log.gateway_crashed(error=error)

    def _make_way(self) -> None:
        """Where clients wait for slots, end sessions that only hold one: without a login, or silent, of a client that
        has two more than whoever is next; of these one at a time, as each changes who has how many."""
        slots, seconds = self._slots, self._settings.timeouts.others_wait
        full = (upstream for upstream in slots.limits if slots.is_full(upstream))
        wanted = {upstream: has for upstream in full if (has := slots.wanted(upstream)) is not None}
        if not wanted:
            return
        busy = {upstream for session, (upstream, _) in self._sessions.items() if session.makes_way}
        for session, (upstream, who) in list(self._sessions.items()):
            if upstream in wanted:
                rich = upstream not in busy and slots.has(upstream, who) >= wanted[upstream] + 2
                if session.make_way(seconds, rich=rich):
                    busy.add(upstream)

    def _have_admin(self, settings: Settings) -> None:
        """Be ready to answer probes, if that is wanted. Raises ListenError."""
        if self._admin is None and settings.admin.host:
            try:
                from ftpsproxy.serve.admin import Admin  # not worth its memory where nobody asks
                from ftpsproxy.serve.status import Status
            except (ImportError, OSError) as error:
                raise ListenError(f"admin: {error}") from None
            self._admin = Admin(self.table, Status(self.table, self._board, lambda: self._sessions, self._is_open))
            self._helpers.start_soon(self._admin.run)

    def _is_open(self) -> bool:
        return self._open

    def _start_accepting(self) -> None:
        settings, addresses = self._settings, listening.addresses(self._settings)
        for listener in settings.listeners:
            for sock in self._sockets[addresses[listening.of_listener(listener.name)]]:
                net.tune(sock, settings.timeouts.keepalive)
                scope = trio.CancelScope()
                self._accepting.append(scope)
                self._listeners.start_soon(self._accept, sock, self._services[listener.name], scope)
        if self._admin is not None:
            probed = self._sockets[addresses[listening.ADMIN]][0] if settings.admin.host else None
            self._admin.open(probed, settings.admin)

    # --- another process takes its place ------------------------------------------------------------------------------

    @property
    def sockets(self) -> Sockets:
        """What it listens on."""
        return self._sockets

    @property
    def slots(self) -> UpstreamSlots:
        """The places of its sessions at their servers."""
        return self._slots

    def pause(self) -> None:
        """Accept nobody, not even probes, until `go_on`: they wait in the kernel."""
        self._paused = True
        self._stop_accepting()
        if self._admin is not None:
            self._admin.open(None, self._settings.admin)

    def go_on(self) -> None:
        """Accept clients, if it was told not to."""
        if self._paused:
            self._paused = False
            self._start_accepting()

    def retire(self, pid: int, stop: trio.Event) -> None:
        """Process `pid` accepts in our place: serve those that there are to their end, then `stop`."""
        self._replaced_by = pid
        stop.set()

    def hurry(self) -> None:
        """It is to stop after all: with the patience of SIGTERM."""
        self._patience.cancel()

    async def _outlive(self) -> None:
        """Once another process accepts in our place: those that there are end as they like, for so long at the most."""
        if self._replaced_by is None:
            return
        timeouts = self._settings.timeouts
        listening.drop(self._sockets, {})
        self._sockets = {}
        self._passive_ports.change(self._settings.limits.pending_data, ())  # the other process has a use for them
        log.gateway_replaced(pid=self._replaced_by, sessions=len(self._sessions))
        self._open = False
        with self._patience:
            self._patience.deadline = net.now() + timeouts.replaced
            # Polled, as no event tells of the end of introductions.
            while self._clients or self._introductions.waiting:  # noqa: ASYNC110 - see above
                await trio.sleep(_LOOK_SECONDS)

    def _stop_accepting(self) -> None:
        for scope in self._accepting:
            scope.cancel()
        self._accepting = []

    def _close(self) -> None:
        listening.drop(self._sockets, {})
        self._sockets = {}

    async def _drain(self) -> None:
        """No new sessions; those that there are may end their transfers, until they are told to end, and then are."""
        timeouts = self._settings.timeouts
        self._open = False
        self._stop_accepting()
        listening.drop(self._sockets, listening.of_admin(self._settings, self._sockets))
        self._places.close(_STOPPING)
        if not self._clients:
            return
        log.gateway_draining(sessions=len(self._sessions), drain_seconds=timeouts.drain)
        self._sessions_nursery.cancel_scope.deadline = net.now() + timeouts.drain + timeouts.linger
        self._stop_sessions(now=False)
        with trio.move_on_after(timeouts.drain):
            await self._all_gone.wait()
        self._stop_sessions(now=True)

    def _stop_sessions(self, *, now: bool) -> None:
        for session in list(self._sessions):
            session.stop(f"The {_STOPPING}.", now=now)

    async def _accept(self, listener: Socket, service: Service, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    sock, client = await net.accepted(listener)
                except OSError:
                    if scope.cancel_called:
                        return  # it was closed in the moment when somebody came
                    raise
                if is_allowed(client, service.listener.proxy_protocol):
                    known = partial(self._introduced, service, sock, client)
                    self._introductions.introduce(sock, known, partial(unknown, service, sock, client))
                else:
                    self._let_in(service, sock, client)
                await turn()  # others are heard meanwhile, and whoever came first is first in the queue

    def _introduced(self, service: Service, sock: Socket, balancer: str, origin: net.Origin | None) -> None:
        """A load balancer has said for whom it has connected, or that it is there itself."""
        self._let_in(service, sock, balancer if origin is None else origin.client, origin)

    def _let_in(self, service: Service, sock: Socket, client: str, origin: net.Origin | None = None) -> None:
        """A client gets its session, or hears why not."""
        who = one_client(client, service.limits.client_prefix)
        if (reason := self._refusal(client, who, service)) is None:
            self._clients += 1
            self._sessions_nursery.start_soon(self._session, service, sock, client, who, origin)
        else:
            turn_away(sock, client, service, reason)

    def _refusal(self, client: str, who: str, service: Service) -> Refusal | None:
        """Why this client gets no session; None when it does, and is counted. `who` stands for it where clients are
        counted."""
        if not is_allowed(client, service.listener.clients):
            return NOT_ALLOWED
        lately = self._refused_logins.count(service.upstream.name, who, service.timeouts.refused_logins)
        return TOO_MANY_LOGINS if lately >= service.limits.refused_logins else self._session_limits.take(who)

    async def _session(self, service: Service, sock: Socket, client: str, who: str, origin: net.Origin | None) -> None:
        """One client that was let in: its session, and nothing left behind."""
        try:
            await self._serve_client(service, sock, client, who, origin)
        except Exception as error:
            log.session_crashed(error=errors.unwrapped(error))
        except BaseExceptionGroup as group:  # it crashed while it was cancelled
            crashed, cancelled = group.split(Exception)
            if crashed is not None:
                log.session_crashed(error=errors.unwrapped(crashed))
            if cancelled is not None:
                raise cancelled from None
        finally:
            net.close(sock)
            self._session_limits.leave(who)
            self._clients -= 1
            if not self._clients and not self._open:
                self._all_gone.set()

    async def _serve_client(
        self, service: Service, sock: Socket, client: str, who: str, origin: net.Origin | None
    ) -> None:
        place = self._places.of(service, client, who)
        session = Session(service, sock, client, place, origin)
        self._sessions[session] = service.upstream.name, who
        self._slots.has_client(service.upstream.name, 1)
        try:
            await session.run()
        finally:
            self._slots.has_client(service.upstream.name, -1)
            place.give_back()
            del self._sessions[session]

    def _current(self, service: Service, client: str) -> Service:
        """What is now in place of this service, for one that may have waited over a change. Raises NoPlace."""
        new = self._services.get(service.listener.name)
        if new is service:
            return service
        if new is None or new.upstream.name != service.upstream.name or not is_allowed(client, new.listener.clients):
            raise NoPlace("changed", "the gateway's settings have changed, please connect again")
        return new


def names_in(settings: Settings) -> Names:
    """Whose series are there from the start."""
    return Names(settings.pairs, tuple(one.name for one in settings.log.outputs))


def build_contexts(settings: Settings) -> dict[str, Context]:
    """TLS for each upstream. Raises TlsConfigError."""
    return {name: build_context(upstream) for name, upstream in settings.upstreams.items()}
