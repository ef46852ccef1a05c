"""Several processes behind the same ports (SO_REUSEPORT), each with whole sessions of its own.

The parent serves nobody: it starts the workers, starts a new one for one that is lost, tells them when to stop, and
reads the configuration again for all of them. They hear no signals, as a terminal and systemd send those to every
process of a group, but orders, each from a socket of its own, on which they also answer: to drain, to stop at once, to
serve by other settings, to open the log's files anew. Its end, when the parent is gone, is an order to drain.
"""

import contextlib
import dataclasses
import errno
import os
import pickle
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import NoReturn

import trio

from ftpsproxy import errors, net
from ftpsproxy.config import Settings
from ftpsproxy.net import Socket
from ftpsproxy.observe import log, metrics
from ftpsproxy.serve import listening, process
from ftpsproxy.serve.gateway import Gateway, build_contexts
from ftpsproxy.serve.heartbeat import SILENT_SECONDS, Pulse
from ftpsproxy.serve.limits import RefusedLogins, SharedSessionLimits
from ftpsproxy.serve.listening import ListenError
from ftpsproxy.serve.process import Load
from ftpsproxy.serve.upstream_slots import UpstreamSlots

_DRAIN, _STOP, _CHANGE, _REOPEN = b"d", b"s", b"c", b"o"
_READY, _CHANGED, _FAILED = b"r", b"c", b"x"  # and why, behind the last
_ENDING = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*_ENDING, *process.HELD_BACK, signal.SIGCHLD}
# A worker that is lost sooner than this after its start is replaced only then; one that can't be started waits so long.
_SOON_SECONDS = 1.0
_READY_SECONDS = 60.0
_CHANGE_SECONDS = 10.0
# While the parent waits for answers it looks this often whether it is to stop.
_LOOK_SECONDS = 0.1
_PULSE_SECONDS = 2.0
_ANSWER_BYTES = 4096
_STUCK = f"it did nothing for {SILENT_SECONDS:g} seconds"


def run(settings: Settings, load: Load) -> None:
    """Serve with `settings.process.workers` processes; `load` reads the settings again. Raises as process.run does."""
    if settings.process.workers == 1:
        process.run(settings, load)
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


def _written(settings: Settings) -> int:
    """A file in memory that holds them, for the way to the workers; its descriptor. Raises OSError."""
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    file = os.memfd_create("settings")
    with open(file, "wb", closefd=False) as stream:
        stream.write(pickle.dumps(fields | {"upstreams": dict(settings.upstreams)}))
    return file


def _read(file: int) -> Settings:
    """What is in such a file; all workers share the place where it is read, so none moves it."""
    return Settings(**pickle.loads(os.pread(file, os.fstat(file).st_size, 0)))  # noqa: S301 - from our parent


@dataclasses.dataclass(slots=True)
class _Worker:
    """A running worker: its pid, where it hears orders and answers, when it was started; whether it is to end, or was
    ended because it did nothing any more."""

    pid: int
    orders: Socket
    started: float
    retired: bool = False
    stuck: bool = False


class _Parent:
    """The process that was started."""

    def __init__(self, settings: Settings, load: Load) -> None:
        build_contexts(settings)  # an error here is for the one who started us
        workers = settings.process.workers
        self._load = load
        self._held = listening.renew({}, listening.addresses(settings), listening.reserve)
        self._settings = listening.real(settings, self._held)
        self._session_limits = SharedSessionLimits(settings.limits, workers)
        self._slots = UpstreamSlots(workers=workers)
        self._refused_logins = RefusedLogins(workers)
        self._slots.know(settings.upstreams)
        self._table = metrics.Table(workers + 1)  # one row is the parent's
        self._workers: dict[int, _Worker] = {}
        self._pulse = Pulse(workers)
        self._missing = dict.fromkeys(range(workers), 0.0)  # when each may be started
        self._stopping = 0

    def run(self) -> None:
        """Until told to stop and all workers have ended."""
        settings = self._settings
        started = time.monotonic()
        metrics.count_in(self._table, settings.process.workers)
        if settings.admin.host:
            import ftpsproxy.serve.admin  # noqa: F401 - its memory is for all workers then
        process.settle()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._start_missing()
        self._await_ready()
        listeners, admin = listening.shown(settings)
        log.gateway_ready(listening=listeners, workers=settings.process.workers, admin=admin)
        while self._workers or (self._missing and not self._stopping):
            due = min(self._missing.values(), default=float("inf")) - time.monotonic()
            got = signal.sigtimedwait(_SIGNALS, min(_PULSE_SECONDS, max(0.0, due)))
            if got is not None:
                self._heed(got.si_signo)
            self._end_stuck()
            self._start_missing()
            log.sum_up()
        listening.drop(self._held, {})
        log.gateway_stopped(seconds=round(time.monotonic() - started, 3))
        log.flush()

    def _heed(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGUSR1:
            log.reopen()
            for state in self._workers.values():
                _tell(state, _REOPEN)  # one that can't be told sees it by itself a second later
        elif number != signal.SIGHUP:
            self._stopping += 1
            for state in self._workers.values():
                if self._stopping > 1 or not state.retired:
                    _tell(state, _DRAIN if self._stopping == 1 else _STOP)
        elif not self._stopping:
            self._reload()

    # --- workers come and go ------------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        time_now = time.monotonic()
        for worker, due in list(self._missing.items()):
            if due <= time_now and not self._stopping:
                try:
                    self._start(worker)
                    del self._missing[worker]
                except OSError as error:
                    log.gateway_starved(detail=f"no worker process: {errors.words(error)}")
                    self._missing[worker] = time_now + _SOON_SECONDS

    def _end_stuck(self) -> None:
        """A worker that does nothing any more can't drain either."""
        for worker in self._pulse.silent(self._settings.process.workers):
            if (state := self._workers.get(worker)) is not None and not state.stuck:
                state.stuck = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state.pid, signal.SIGKILL)

    def _start(self, worker: int) -> None:
        """Raises OSError."""
        self._pulse.begin(worker)
        theirs, ours = net.message_pair()
        try:
            pid = os.fork()
        except OSError:
            theirs.close()
            ours.close()
            raise
        if pid == 0:
            for sock in [ours, *self._held.values(), *(other.orders for other in self._workers.values())]:
                sock.close()
            self._be_worker(worker, theirs)
        theirs.close()
        self._workers[worker] = _Worker(pid, ours, time.monotonic())
        log.has_forked(pid)

    def _await_ready(self) -> None:
        """Until each worker listens, or a signal ends it before. Raises ListenError when one does not."""
        failed = self._hear(self._workers, _READY, _READY_SECONDS)
        if failed or self._missing:
            for state in self._workers.values():
                _tell(state, _STOP)
            why = next(filter(None, failed.values()), "it was lost")
            raise ListenError(f"a worker could not be started: {why}")

    def _be_worker(self, worker: int, orders: Socket) -> NoReturn:
        """In the child, for the rest of its life."""
        status = 1
        try:
            for number in (*_ENDING, *process.HELD_BACK):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            log.begin_chain()
            self._session_limits.serve(worker)
            self._slots.serve(worker)
            self._refused_logins.serve(worker)
            metrics.count_in(self._table, worker)
            mine = share(self._settings, worker)
            served = Gateway(
                mine, self._session_limits, self._slots, self._refused_logins, self._table, share_port=True
            )
            status = trio.run(_serve, served, worker, orders, self._pulse)
        except BaseException as error:
            error = errors.unwrapped(error)
            if isinstance(error, Exception) and process.is_plain(error):
                _answer(orders, _FAILED + process.reason(error).encode())
            else:
                log.gateway_crashed(error=error)
        finally:
            log.flush()
            if sys.stdout is not None:
                sys.stdout.flush()
            os._exit(status)

    def _reap(self) -> None:
        for worker, state in list(self._workers.items()):
            pid, status, usage = os.wait4(state.pid, os.WNOHANG)
            if not pid:
                continue
            last = b""
            while said := _said(state):
                last = said
            state.orders.close()
            del self._workers[worker]
            self._missing[worker] = state.started + _SOON_SECONDS
            self._session_limits.clear(worker)
            self._slots.clear(worker)
            self._table.rows[worker].end()
            metrics.CPU_OF_LOST.add(by=usage.ru_utime + usage.ru_stime)
            if not self._stopping and not state.retired:
                log.gateway_worker_lost(
                    worker=worker,
                    pid=pid,
                    status=os.waitstatus_to_exitcode(status),
                    detail=_STUCK if state.stuck else last[1:].decode() if last[:1] == _FAILED else None,
                )

    # --- other settings -----------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Have all workers serve by the configuration as it is now, or none.

        It is tried here first, so that a worker fails only for want of something. It must not go on with the old
        settings, which may let in whom the new ones do not: it is retired.
        """
        try:
            new = process.read_again(self._load, self._settings)
            prepared = log.Prepared(new.log)
            build_contexts(new)
            held = listening.renew(self._held, listening.addresses(new), listening.reserve)
            try:
                real = listening.real(new, held)
                self._slots.know(new.upstreams)
                file = _written(real)
            except BaseException:
                listening.drop(held, self._held)
                raise
        except Exception as error:
            process.say_not_reloaded(error)
            return
        old, self._held, self._settings = self._held, held, real
        serving = {worker: state for worker, state in self._workers.items() if not state.retired}
        failed = {worker: _tell(state, _CHANGE, file) for worker, state in serving.items()}
        os.close(file)
        failed |= self._hear([worker for worker, why in failed.items() if why is None], _CHANGED, _CHANGE_SECONDS)
        for worker, why in failed.items():
            if why:
                self._retire(worker, why)
        process.say_reloaded(real, prepared)
        listening.drop(old, held)

    def _retire(self, worker: int, why: str) -> None:
        """Let a worker end, for another one."""
        state = self._workers[worker]
        log.gateway_worker_retired(worker=worker, pid=state.pid, detail=why)
        state.retired = True
        _tell(state, _DRAIN)

    def _hear(self, workers: Iterable[int], wanted: bytes, seconds: float) -> dict[int, str | None]:
        """Until each of these workers has said what is wanted → those that have not, and why: "" for one that is gone.

        A signal to stop ends it before.
        """
        waiting = {self._workers[worker].orders.fileno(): worker for worker in workers}
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        failed: dict[int, str | None] = {}
        until = time.monotonic() + seconds
        while waiting and time.monotonic() < until and not signal.sigpending() & _ENDING:
            for fd, _ in poll.poll(_LOOK_SECONDS * 1000):
                said = _said(self._workers[waiting[fd]])
                if said == _READY != wanted:
                    continue  # of one that took the place of another
                if said != wanted:
                    failed[waiting[fd]] = said[1:].decode("utf-8", "replace")
                poll.unregister(fd)
                del waiting[fd]
        if signal.sigpending() & _ENDING:
            return failed
        failed.update(dict.fromkeys(waiting.values(), f"no answer within {seconds:g} seconds"))
        return failed


def _tell(state: _Worker, order: bytes, *files: int) -> str | None:
    """Give a worker an order → None, or why it takes none: "" when it is gone."""
    try:
        socket.send_fds(state.orders, [order], files)
    except BlockingIOError:
        return "it has not heard what it was told before"
    except OSError:
        return ""
    return None


def _said(state: _Worker) -> bytes:
    try:
        return state.orders.recv(_ANSWER_BYTES)
    except OSError:
        return b""


def _answer(orders: Socket, word: bytes) -> None:
    with contextlib.suppress(OSError):  # that the parent is gone is heard where orders are
        orders.send(word)


async def _serve(served: Gateway, worker: int, orders: Socket, pulse: Pulse) -> int:
    """One worker → its exit code."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            while True:
                await trio.lowlevel.wait_readable(orders)
                order, files, _, _ = socket.recv_fds(orders, 1, 1)
                if order == _CHANGE:
                    _answer(orders, await _change(served, worker, files))
                elif order == _REOPEN:
                    log.reopen()
                elif order == _STOP:
                    nursery.cancel_scope.cancel()
                    return
                else:
                    stop.set()
                    if not order:
                        return

        async def work() -> None:
            async with trio.open_nursery() as serving:
                await serving.start(served.serve, stop)
                _answer(orders, _READY)
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        nursery.start_soon(work)
        nursery.start_soon(pulse.beat, worker)
    return 0


async def _change(served: Gateway, worker: int, files: list[int]) -> bytes:
    """Serve by the settings in this file → the answer for the parent, which has tried them already."""
    try:
        if not files:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # the kernel had no descriptor for it
        try:
            settings = share(_read(files[0]), worker)
        finally:
            os.close(files[0])
        prepared = log.Prepared(settings.log)
        await served.change_to(settings)
    except Exception as error:
        return (_FAILED + process.reason(error).encode())[:_ANSWER_BYTES]
    prepared.use()
    return _CHANGED
