"""Several processes behind the same ports (SO_REUSEPORT), each with whole sessions of its own.

The parent serves nobody: it starts the workers, starts a new one for one that is lost, tells them when to stop, and
reads the configuration again for all of them. They hear no signals, as a terminal and systemd send those to every
process of a group, but orders from a socket: to drain, to stop at once, to serve by other settings, and its end, when
the parent is gone, to drain.
"""

import contextlib
import dataclasses
import os
import pickle
import select
import signal
import sys
import time
from typing import NoReturn

import trio

from ftpsproxy import gateway, listening, log, metrics, net
from ftpsproxy.config import Settings
from ftpsproxy.gateway import Gateway, Load, Unchangeable
from ftpsproxy.listening import ListenError
from ftpsproxy.net import Socket
from ftpsproxy.seats import SharedSeats
from ftpsproxy.tls import build_context

_DRAIN, _STOP, _CHANGE = b"d", b"s", b"c"
_READY, _CHANGED, _FAILED = b"r", b"c", b"x"
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
# A worker that is lost sooner than this after its start is replaced only then.
_SOON_SECONDS = 1.0
_CHANGE_SECONDS = 10.0
_ORDER_BYTES = 1 << 20


def run(settings: Settings, load: Load) -> None:
    """Serve with `settings.process.workers` processes; `load` reads the settings again. Raises as gateway.run does."""
    if settings.process.workers == 1:
        gateway.run(settings, load)
    else:
        _Parent(settings, load).run()


def share(settings: Settings, worker: int) -> Settings:
    """What of `settings` belongs to this worker: its part of every range of ports."""
    count = settings.process.workers

    def part(ports: tuple[int, int] | None) -> tuple[int, int] | None:
        if ports is None:
            return None
        size = ports[1] - ports[0] + 1
        return ports[0] + size * worker // count, ports[0] + size * (worker + 1) // count - 1

    return dataclasses.replace(
        settings,
        listeners=tuple(dataclasses.replace(one, passive_ports=part(one.passive_ports)) for one in settings.listeners),
        upstreams={
            name: dataclasses.replace(one, active_ports=part(one.active_ports))
            for name, one in settings.upstreams.items()
        },
    )


def _packed(settings: Settings) -> bytes:
    """For the way to a worker."""
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return pickle.dumps(fields | {"upstreams": dict(settings.upstreams)})


def _unpacked(data: bytes) -> Settings:
    return Settings(**pickle.loads(data))  # noqa: S301 - from our parent


@dataclasses.dataclass(slots=True)
class _Worker:
    """A running worker: its pid, where it hears orders, when it was started."""

    pid: int
    orders: Socket
    started: float


class _Parent:
    """The process that was started."""

    def __init__(self, settings: Settings, load: Load) -> None:
        _build_contexts(settings)  # an error here is for the one who started us
        workers = settings.process.workers
        self._load = load
        self._held = listening.renew({}, listening.addresses(settings), listening.reserve)
        self._settings = listening.real(settings, self._held)
        self._seats = SharedSeats(settings.limits, workers)
        self._places = gateway.places(settings)
        self._table = metrics.Table(workers + 1)  # one row is the parent's
        self._workers: dict[int, _Worker] = {}
        self._ready, self._say_ready = os.pipe()
        self._stopping = 0

    def run(self) -> None:
        """Until told to stop and all workers have ended."""
        settings = self._settings
        started = time.monotonic()
        metrics.count_in(self._table, settings.process.workers)
        if settings.admin.host:
            import ftpsproxy.admin  # noqa: F401 - its memory is for all workers then
        gateway.settle()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for worker in range(settings.process.workers):
            self._start(worker)
        self._await_ready()
        listeners, admin = listening.shown(settings)
        log.gateway_ready(listeners=listeners, workers=settings.process.workers, admin=admin)
        while self._workers:
            got = signal.sigwait(_SIGNALS)
            if got == signal.SIGCHLD:
                self._reap()
            elif got == signal.SIGHUP:
                if not self._stopping:
                    self._reload()
            else:
                self._stopping += 1
                self._tell(_DRAIN if self._stopping == 1 else _STOP)
        listening.drop(self._held, {})
        log.gateway_stopped(seconds=round(time.monotonic() - started, 3))

    def _await_ready(self) -> None:
        """Until each worker listens. Raises ListenError when one does not."""
        for _ in self._workers:
            if os.read(self._ready, 1) != _READY:
                self._tell(_STOP)
                raise ListenError("a worker could not be started")

    def _reload(self) -> None:
        """Have all workers serve by the configuration as it is now, or none."""
        try:
            new = gateway.load_again(self._load, self._settings)
            _build_contexts(new)
            held = listening.renew(self._held, listening.addresses(new), listening.reserve)
            try:
                real = listening.real(new, held)
                order = _CHANGE + _packed(real)
                if len(order) > _ORDER_BYTES:
                    raise Unchangeable("so large a configuration needs a new start of the gateway")
                self._places.know(gateway.limits_of(new))
            except BaseException:
                listening.drop(held, self._held)
                raise
        except Exception as error:
            gateway.say_not_reloaded(error)
            return
        old, self._held, self._settings, self._seats.limits = self._held, held, real, new.limits
        self._places.limit(gateway.limits_of(new))
        if self._change_workers(order):
            gateway.say_reloaded(real)
        else:
            gateway.say_not_reloaded(Unchangeable("not all workers took it, some still serve by what was before"))
        listening.drop(old, held)

    def _change_workers(self, order: bytes) -> bool:
        """Have all workers change → whether all say, within a few seconds, that they have."""
        while select.select([self._ready], [], [], 0)[0]:
            os.read(self._ready, 1)  # of workers that took the place of others
        told = self._tell(order)
        answers: list[bytes] = []
        until = time.monotonic() + _CHANGE_SECONDS
        while len(answers) < told and (left := until - time.monotonic()) > 0:
            if select.select([self._ready], [], [], left)[0] and (answer := os.read(self._ready, 1)) != _READY:
                answers.append(answer)
        return answers == [_CHANGED] * len(self._workers)

    def _start(self, worker: int) -> None:
        theirs, ours = net.message_pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for other in self._workers.values():
                other.orders.close()
            self._be_worker(worker, theirs)
        theirs.close()
        self._workers[worker] = _Worker(pid, ours, time.monotonic())

    def _be_worker(self, worker: int, orders: Socket) -> NoReturn:
        """In the child, for the rest of its life."""
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._seats.serve(worker)
            self._places.serve(worker)
            metrics.count_in(self._table, worker)
            served = Gateway(share(self._settings, worker), self._seats, self._places, self._table, share_port=True)
            status = trio.run(_serve, served, worker, orders, self._say_ready)
        except BaseException as error:
            log.session_crashed(error=error)
            with contextlib.suppress(OSError):
                os.write(self._say_ready, _FAILED)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
            os._exit(status)

    def _reap(self) -> None:
        for worker, state in list(self._workers.items()):
            pid, status = os.waitpid(state.pid, os.WNOHANG)
            if not pid:
                continue
            state.orders.close()
            del self._workers[worker]
            self._seats.clear(worker)
            self._places.clear(worker)
            self._table.rows[worker].end()
            if self._stopping:
                continue
            log.gateway_worker_lost(worker=worker, pid=pid, status=os.waitstatus_to_exitcode(status))
            if time.monotonic() - state.started < _SOON_SECONDS:
                time.sleep(_SOON_SECONDS)  # the parent does nothing else; signals wait until then
            self._start(worker)

    def _tell(self, order: bytes) -> int:
        """Give all workers an order → how many took it: one that does not listen any more is not waited for."""
        told = 0
        for state in self._workers.values():
            with contextlib.suppress(OSError):
                state.orders.send(order)
                told += 1
        return told


def _build_contexts(settings: Settings) -> None:
    """See whether they can be built. Raises TlsConfigError."""
    for upstream in settings.upstreams.values():
        build_context(upstream)


async def _serve(served: Gateway, worker: int, orders: Socket, say_ready: int) -> int:
    """One worker → its exit code."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            while True:
                await trio.lowlevel.wait_readable(orders)
                order = orders.recv(_ORDER_BYTES)
                if order[:1] == _CHANGE:
                    os.write(say_ready, _change(served, share(_unpacked(order[1:]), worker)))
                    continue
                if order == _STOP or (stop.is_set() and order):
                    nursery.cancel_scope.cancel()
                    return
                stop.set()
                if not order:
                    return

        async def work() -> None:
            async with trio.open_nursery() as serving:
                await serving.start(served.serve, stop)
                os.write(say_ready, _READY)
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        nursery.start_soon(work)
    return 0


def _change(served: Gateway, settings: Settings) -> bytes:
    """Serve by these settings → the answer for the parent, which has tried them already."""
    try:
        served.change(settings)
    except Exception as error:
        gateway.say_not_reloaded(error)
        return _FAILED
    log.configure(settings.log.format, settings.log.level)
    return _CHANGED
