"""Several processes behind the same ports (SO_REUSEPORT), each with whole sessions of its own.

The parent serves nobody: it starts the workers, starts a new one for one that is lost, tells them when to stop, and
reads the configuration again for all of them. They hear no signals, as a terminal and systemd send those to every
process of a group, but orders, each from a socket of its own, on which they also answer: to drain, to stop at once, to
serve by other settings, to open the log's files anew. Its end, when the parent is gone, is an order to drain.
"""

import contextlib
import dataclasses
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping

from ftpsproxy import errors, net
from ftpsproxy.config import Settings
from ftpsproxy.net import Socket
from ftpsproxy.observe import log, metrics
from ftpsproxy.serve import listening, process, settings_file
from ftpsproxy.serve.activation import ListenError, passed
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.gateway import build_contexts, names_in
from ftpsproxy.serve.handover import HandoverError, Predecessor, Successor
from ftpsproxy.serve.heartbeat import SILENT_SECONDS, Pulse
from ftpsproxy.serve.limits import RefusedLogins, SharedSessionLimits
from ftpsproxy.serve.listening import Address, Source
from ftpsproxy.serve.manager import Manager
from ftpsproxy.serve.process import Load
from ftpsproxy.serve.replacing import say_not_replaced
from ftpsproxy.serve.replacing_workers import Replacing, TakingOver
from ftpsproxy.serve.status import Status
from ftpsproxy.serve.upstream_slots import UpstreamSlots
from ftpsproxy.serve.worker import (
    CHANGED,
    DRAIN,
    FAILED,
    GO_ON,
    HEARD,
    PAUSE,
    PAUSED,
    READY,
    REOPEN,
    RETIRE,
    STOP,
    Given,
    Shared,
    be,
    said,
    tell,
    tell_change,
)

_ENDING = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*HEARD, signal.SIGCHLD}
# A worker that is lost sooner than this after its start is replaced only then; one that can't be started waits so long.
_SOON_SECONDS = 1.0
_READY_SECONDS = 60.0
_CHANGE_SECONDS = 10.0
# While the parent waits for answers it looks this often whether it is to stop.
_LOOK_SECONDS = 0.1
_PULSE_SECONDS = 2.0
_STUCK = f"it did nothing for {SILENT_SECONDS:g} seconds"


def run(settings: Settings, load: Load, before: Predecessor | None = None) -> None:
    """Serve with `settings.process.workers` processes, in the place of the process `before`; `load` reads the settings
    again. Raises as process.run does."""
    if settings.process.workers == 1:
        process.run(settings, load, before)
    else:
        _Parent(settings, load, before).run()


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

    def __init__(self, settings: Settings, load: Load, before: Predecessor | None) -> None:
        build_contexts(settings)  # an error here is for the one who started us
        workers = settings.process.workers
        self._load = load
        shared = listening.shared(workers)
        self._source = Source(shared, passed(os.environ)) if before is None else before.source(shared)
        self._addresses = listening.addresses(settings)
        self._held = listening.renew({}, self._addresses, self._source)
        if before is not None:
            before.drop_unused(self._held)
        self._settings = listening.real(settings, self._held)
        self._table = metrics.Table(workers + 1, names_in(settings))  # one row is the parent's
        self._board = Board(workers)
        self._slots = UpstreamSlots(workers=workers)
        self._slots.know(settings.upstreams)
        self._slots.limit({name: one.sessions for name, one in settings.upstreams.items()})
        self._pulse = Pulse(workers)
        limits = SharedSessionLimits(settings.limits, workers)
        self._shared = Shared(limits, self._slots, RefusedLogins(workers), self._table, self._board, self._pulse)
        self._workers: dict[int, _Worker] = {}
        self._missing = dict.fromkeys(range(workers), 0.0)  # when each may be started
        self._stopping = 0
        self._manager = Manager(os.environ, successor=before is not None)
        self._replaces = None if before is None else before.pid
        self._taking_over = None if before is None else TakingOver(before, self._slots, self._manager.ready)
        self._replacing: Replacing | None = None

    def run(self) -> None:
        """Until told to stop and all workers have ended."""
        settings = self._settings
        started = time.monotonic()
        metrics.count_in(self._table, settings.process.workers)
        self._board.serve(settings.process.workers)
        status = Status(self._table, self._board, list, lambda: not self._stopping)
        if settings.admin.host:
            import ftpsproxy.serve.admin  # noqa: F401 - its memory is for all workers then
        process.settle()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)  # never called: those who look see that this process knows it
        if self._taking_over is not None:
            self._taking_over.wait_for_turn()
        self._start_missing()
        self._await_ready()
        listeners, admin = listening.shown(settings)
        log.gateway_ready(
            listening=listeners,
            workers=settings.process.workers,
            admin=admin,
            replaces=self._replaces,
        )
        if self._taking_over is not None:
            self._taking_over.serving()
        else:
            self._manager.ready()
        while self._workers or (self._missing and not self._ending):
            self._manager.beat(self._table)
            got = signal.sigtimedwait(_SIGNALS, self._pause())
            if got is not None:
                self._heed(got.si_signo)
            self._end_stuck()
            self._start_missing()
            log.sum_up()
            status.show_if_watched()
            if self._taking_over is not None:
                self._taking_over.step()
            if self._replacing is not None:
                self._replacing.step()
        listening.drop(self._held, {})
        self._manager.close()
        log.gateway_stopped(seconds=round(time.monotonic() - started, 3))
        log.flush()

    @property
    def _ending(self) -> bool:
        """Whether no worker is started any more."""
        return bool(self._stopping or (self._replacing is not None and self._replacing.done))

    def _pause(self) -> float:
        """How long nothing is to be done but on a signal."""
        due = min(self._missing.values(), default=float("inf")) - time.monotonic()
        often = self._replacing is not None and self._replacing.under_way
        return min(_LOOK_SECONDS if often else _PULSE_SECONDS, self._manager.pause, max(0.0, due))

    def _busy(self) -> str | None:
        """Why this process can't be told anything else now."""
        if self._replacing is not None and not self._replacing.failed:
            return self._replacing.busy
        return "it is about to stop" if self._stopping else None

    def _heed(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGUSR1:
            log.reopen()
            for state in self._workers.values():
                tell(state.orders, REOPEN)  # one that can't be told sees it by itself a second later
        elif number == signal.SIGUSR2:
            self._replace()
        elif number == signal.SIGHUP:
            began = self._manager.reloading()
            self._manager.reloaded(began, self._reload())
        else:
            if self._replacing is not None:
                self._replacing.give_up("it was told to stop")
            self._stopping += 1
            self._manager.stopping()
            for state in self._workers.values():
                if self._stopping > 1 or not state.retired:
                    tell(state.orders, DRAIN if self._stopping == 1 else STOP)
            # They are the workers' now, who close them: nobody is to wait there for a process that is to come.
            listening.drop(self._held, {})
            self._held = {}

    # --- another process takes its place ------------------------------------------------------------------------------

    def _replace(self) -> None:
        began = time.monotonic()
        try:
            if (why := self._busy()) is not None:
                raise HandoverError(why)
            successor = Successor(self._held, self._source.passed)
        except HandoverError as error:
            say_not_replaced(began, str(error))
        else:
            self._replacing = Replacing(successor, self, self._manager, self._slots)

    def pause(self) -> None:
        """See replacing_workers.Workers."""
        serving = [worker for worker, state in self._workers.items() if not state.retired]
        for worker in serving:
            tell(self._workers[worker].orders, PAUSE)
        self._hear(serving, PAUSED, _CHANGE_SECONDS)  # one that is lost accepts nobody either

    def go_on(self) -> None:
        """See replacing_workers.Workers."""
        for state in self._workers.values():
            tell(state.orders, GO_ON)

    def retire(self, pid: int) -> None:
        """See replacing_workers.Workers."""
        for state in self._workers.values():
            tell(state.orders, RETIRE + str(pid).encode())
        listening.drop(self._held, {})
        self._held = {}

    # --- workers come and go ------------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        time_now = time.monotonic()
        for worker, due in list(self._missing.items()):
            if due <= time_now and not self._ending:
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
            given = self._given(worker, self._addresses)
            kept = {sock for those in given.values() for sock in those}
            held = (sock for those in self._held.values() for sock in those if sock not in kept)
            for sock in [ours, *held, *(other.orders for other in self._workers.values())]:
                sock.close()
            be(worker, self._settings, self._shared, theirs, given)
        theirs.close()
        self._workers[worker] = _Worker(pid, ours, time.monotonic())
        log.has_forked(pid)

    def _given(self, worker: int, addresses: Mapping[str, Address]) -> Given:
        """The listening sockets of this worker at these addresses, by whose they are."""
        workers = self._settings.process.workers
        return {who: listening.part(self._held[address], worker, workers) for who, address in addresses.items()}

    def _await_ready(self) -> None:
        """Until each worker listens, or a signal ends it before. Raises ListenError when one does not."""
        failed = self._hear(self._workers, READY, _READY_SECONDS)
        if failed or self._missing:
            for state in self._workers.values():
                tell(state.orders, STOP)
            why = next(filter(None, failed.values()), "it was lost")
            raise ListenError(f"a worker could not be started: {why}")

    def _reap(self) -> None:
        for worker, state in list(self._workers.items()):
            pid, status, usage = os.wait4(state.pid, os.WNOHANG)
            if not pid:
                continue
            last = b""
            while answer := said(state.orders):
                last = answer
            state.orders.close()
            del self._workers[worker]
            self._missing[worker] = state.started + _SOON_SECONDS
            self._shared.session_limits.clear(worker)
            self._slots.clear(worker)
            self._table.rows[worker].end()
            metrics.CPU_OF_LOST.add(by=usage.ru_utime + usage.ru_stime)
            if not self._ending and not state.retired:
                log.gateway_worker_lost(
                    worker=worker,
                    pid=pid,
                    status=os.waitstatus_to_exitcode(status),
                    detail=_STUCK if state.stuck else last[1:].decode() if last[:1] == FAILED else None,
                )

    # --- other settings -----------------------------------------------------------------------------------------------

    def _reload(self) -> str | None:
        """Have all workers serve by the configuration as it is now, or none → why it is none.

        It is tried here first, so that a worker fails only for want of something. It must not go on with the old
        settings, which may let in whom the new ones do not: it is retired.
        """
        if (why := self._busy()) is not None:
            log.gateway_reload_failed(detail=why)
            return why
        try:
            new = process.read_again(self._load, self._settings)
            prepared = log.Prepared(new.log)
            build_contexts(new)
            addresses = listening.addresses(new)
            held = listening.renew(self._held, addresses, self._source)
            try:
                real = listening.real(new, held)
                self._slots.know(new.upstreams)
                self._table.know(names_in(new))
                file = settings_file.written(real)
            except BaseException:
                listening.drop(held, self._held)
                raise
        except Exception as error:
            process.say_not_reloaded(error)
            return process.reason(error)
        old, self._held, self._settings, self._addresses = self._held, held, real, addresses
        self._slots.limit({name: one.sessions for name, one in real.upstreams.items()})
        opened = {who: address for who, address in addresses.items() if address not in old}
        serving = {worker: state for worker, state in self._workers.items() if not state.retired}
        failed = {
            worker: tell_change(state.orders, file, self._given(worker, opened)) for worker, state in serving.items()
        }
        os.close(file)
        failed |= self._hear([worker for worker, why in failed.items() if why is None], CHANGED, _CHANGE_SECONDS)
        for worker, why in failed.items():
            if why:
                self._retire(worker, why)
        listening.drop(old, held)  # before it is said: who still came would be reset, and is to be refused
        process.say_reloaded(real, prepared)
        return None

    def _retire(self, worker: int, why: str) -> None:
        """Let a worker end, for another one."""
        state = self._workers[worker]
        log.gateway_worker_retired(worker=worker, pid=state.pid, detail=why)
        state.retired = True
        tell(state.orders, DRAIN)

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
            self._manager.beat(self._table)
            for fd, _ in poll.poll(_LOOK_SECONDS * 1000):
                answer = said(self._workers[waiting[fd]].orders)
                if answer == READY != wanted:
                    continue  # of one that took the place of another
                if answer != wanted:
                    failed[waiting[fd]] = answer[1:].decode("utf-8", "replace")
                poll.unregister(fd)
                del waiting[fd]
        if signal.sigpending() & _ENDING:
            return failed
        failed.update(dict.fromkeys(waiting.values(), f"no answer within {seconds:g} seconds"))
        return failed
