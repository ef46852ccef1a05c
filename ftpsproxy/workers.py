"""Several processes behind the same ports (SO_REUSEPORT), each with whole sessions of its own.

The parent serves nobody: it starts the workers, starts a new one for one that is lost, and tells them when to stop.
They hear no signals, as a terminal and systemd send those to every process of a group, but read from a pipe: a byte to
drain, another to stop at once, and its end, when the parent is gone, to drain.
"""

import contextlib
import dataclasses
import os
import signal
import socket
import sys
import time
from typing import NoReturn

import trio

from ftpsproxy import gateway, log, net
from ftpsproxy.config import Listener, Settings
from ftpsproxy.gateway import Bound, Gateway, ListenError
from ftpsproxy.net import Socket
from ftpsproxy.seats import Places, SharedSeats
from ftpsproxy.tls import build_context

_DRAIN, _STOP = b"d", b"s"
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
# A worker that is lost sooner than this after its start is replaced only then.
_SOON_SECONDS = 1.0
_READY_SECONDS = 30.0


def run(settings: Settings) -> None:
    """Serve with `settings.process.workers` processes. Raises as gateway.run does."""
    if settings.process.workers == 1:
        gateway.run(settings)
    else:
        _Parent(settings).run()


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


def _reserve(listener: Listener) -> Socket:
    """Hold the address for the workers without listening. Raises ListenError.

    First without sharing: another program there, even one that shares, is an error and not a partner.
    """
    gateway.listen(listener).close()
    family, sockaddr = net.numeric(listener.host, listener.port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listener.host == "::" else 1)
    try:
        sock.bind(sockaddr)
    except OSError as error:
        sock.close()
        why = (error.strerror or str(error)).lower()
        raise ListenError(f"listener {listener.name}: can't listen on {listener.host}: {why}") from None
    return sock


@dataclasses.dataclass(slots=True)
class _Worker:
    """A running worker: its pid, the pipe it obeys, when it was started."""

    pid: int
    orders: int
    started: float


class _Parent:
    """The process that was started."""

    def __init__(self, settings: Settings) -> None:
        for upstream in settings.upstreams.values():
            build_context(upstream)  # an error here is for the one who started us
        self._held = [_reserve(listener) for listener in settings.listeners]
        ports = [sock.getsockname()[1] for sock in self._held]
        listeners = tuple(
            dataclasses.replace(listener, port=port) for listener, port in zip(settings.listeners, ports, strict=True)
        )
        self._settings = dataclasses.replace(settings, listeners=listeners)
        self._seats = SharedSeats(settings.limits, settings.process.workers)
        self._places = gateway.places(settings)
        self._workers: dict[int, _Worker] = {}
        self._ready, self._say_ready = os.pipe()
        self._stopping = 0

    def run(self) -> None:
        """Until told to stop and all workers have ended."""
        settings = self._settings
        started = time.monotonic()
        gateway.settle()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for worker in range(settings.process.workers):
            self._start(worker)
        self._await_ready()
        bound = tuple(Bound(one.name, one.host, one.port) for one in settings.listeners)
        log.gateway_ready(listeners=gateway.shown(settings, bound), workers=settings.process.workers)
        while self._workers:
            got = signal.sigwait(_SIGNALS)
            if got == signal.SIGCHLD:
                self._reap()
            else:
                self._stopping += 1
                self._tell(_DRAIN if self._stopping == 1 else _STOP)
        for sock in self._held:
            sock.close()
        log.gateway_stopped(seconds=round(time.monotonic() - started, 3))

    def _await_ready(self) -> None:
        """Until each worker listens. Raises ListenError when one does not."""
        for _ in self._workers:
            with contextlib.suppress(InterruptedError):
                if os.read(self._ready, 1) != b"r":
                    self._tell(_STOP)
                    raise ListenError("a worker could not be started")

    def _start(self, worker: int) -> None:
        orders_out, orders_in = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(orders_in)
            for other in self._workers.values():
                with contextlib.suppress(OSError):
                    os.close(other.orders)
            self._be_worker(worker, orders_out)
        os.close(orders_out)
        self._workers[worker] = _Worker(pid, orders_in, time.monotonic())

    def _be_worker(self, worker: int, orders: int) -> NoReturn:
        """In the child, for the rest of its life."""
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._seats.serve(worker)
            self._places.serve(worker)
            status = trio.run(_serve, share(self._settings, worker), self._seats, self._places, orders, self._say_ready)
        except BaseException as error:
            log.session_crashed(error=error)
            with contextlib.suppress(OSError):
                os.write(self._say_ready, b"x")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
            os._exit(status)

    def _reap(self) -> None:
        for worker, state in list(self._workers.items()):
            pid, status = os.waitpid(state.pid, os.WNOHANG)
            if not pid:
                continue
            os.close(state.orders)
            del self._workers[worker]
            self._seats.clear(worker)
            self._places.clear(worker)
            if self._stopping:
                continue
            log.gateway_worker_lost(worker=worker, pid=pid, status=os.waitstatus_to_exitcode(status))
            if time.monotonic() - state.started < _SOON_SECONDS:
                time.sleep(_SOON_SECONDS)  # the parent does nothing else; signals wait until then
            self._start(worker)

    def _tell(self, order: bytes) -> None:
        for state in self._workers.values():
            with contextlib.suppress(OSError):
                os.write(state.orders, order)


async def _serve(settings: Settings, seats: SharedSeats, places: Places, orders: int, say_ready: int) -> int:
    """One worker → its exit code."""
    os.set_blocking(orders, False)
    stop = trio.Event()
    served = Gateway(settings, seats, places, share_port=True)
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            while True:
                await trio.lowlevel.wait_readable(orders)
                order = os.read(orders, 1)
                if order == _STOP or (stop.is_set() and order):
                    nursery.cancel_scope.cancel()
                    return
                stop.set()
                if not order:
                    return

        async def work() -> None:
            async with trio.open_nursery() as serving:
                await serving.start(served.serve, stop)
                os.write(say_ready, b"r")
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        nursery.start_soon(work)
    return 0
