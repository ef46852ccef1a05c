"""The gateway as one process: signals, reload, and what the log hears of both. supervisor.py does it for several."""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable

import trio

from ftpsproxy import errors
from ftpsproxy.config import ConfigError, Settings, same_workers
from ftpsproxy.observe import log, metrics
from ftpsproxy.serve import listening, replacing
from ftpsproxy.serve.activation import ListenError, passed
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.gateway import Gateway, names_in
from ftpsproxy.serve.handover import Predecessor
from ftpsproxy.serve.limits import LocalSessionLimits, RefusedLogins
from ftpsproxy.serve.listening import Source
from ftpsproxy.serve.manager import Manager
from ftpsproxy.serve.replacing import Replacing
from ftpsproxy.serve.upstream_slots import TooManyUpstreams, UpstreamSlots
from ftpsproxy.tls import TlsConfigError

HELD_BACK = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""Signals that are blocked from the start of the process until it can heed them: they would end it."""
Load = Callable[[], Settings]
"""Reads the configuration again; raises ConfigError."""


class Unchangeable(Exception):
    """A change of the configuration that needs a new start; `str()` is one plain line."""


_UNUSABLE = (
    ConfigError,
    TlsConfigError,
    ListenError,
    TooManyUpstreams,
    metrics.TooManySeries,
    Unchangeable,
    log.LogError,
)


def read_again(load: Load, settings: Settings) -> Settings:
    """The settings as they are now, to take the place of these. Raises ConfigError, Unchangeable."""
    new = same_workers(load(), settings)
    if new.process.workers != settings.process.workers:
        raise Unchangeable(
            f"process.workers: {settings.process.workers} run, {new.process.workers} need a new start of the gateway"
        )
    return new


def say_reloaded(settings: Settings, prepared: log.Prepared) -> None:
    """These settings, with real ports, are in use; the log is written by them from here on."""
    prepared.use()
    listeners, admin = listening.shown(settings)
    log.gateway_reloaded(listening=listeners, admin=admin)


def say_not_reloaded(error: Exception) -> None:
    """The new settings are of no use. An error that nobody thought of ends no session either."""
    log.gateway_reload_failed(detail=reason(error))


def is_plain(error: BaseException) -> bool:
    """Whether it speaks to the operator, and not of a defect."""
    return isinstance(error, _UNUSABLE)


def reason(error: Exception) -> str:
    """Why settings can't be used, in one line."""
    if is_plain(error):
        return str(error)
    return errors.words(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


async def serve(
    settings: Settings,
    *,
    stop: trio.Event | None = None,
    source: Source | None = None,
    before: Predecessor | None = None,
    task_status: trio.TaskStatus[tuple[Gateway, Settings]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `settings` until `stop` is set; all sessions have ended then. Raises what Gateway.change_to does.

    Starts with the gateway, and the settings with real ports. Listens on new sockets where there is no other `source`,
    and as soon as the process `before` lets it.
    """
    started = time.monotonic()
    table = metrics.Table(names=names_in(settings))
    metrics.count_in(table)
    limits, slots, refused = LocalSessionLimits(settings.limits), UpstreamSlots(), RefusedLogins()
    source = source or Source()
    gateway = Gateway(settings, limits, slots, refused, table, Board(), source, paused=before is not None)
    async with trio.open_nursery() as nursery:
        real = await nursery.start(gateway.serve, stop if stop is not None else trio.Event())
        if before is not None:
            before.drop_unused(gateway.sockets)
            await replacing.take_over(before, gateway)
        listeners, admin = listening.shown(real)
        log.gateway_ready(listening=listeners, admin=admin, replaces=None if before is None else before.pid)
        task_status.started((gateway, real))
    log.gateway_stopped(seconds=round(time.monotonic() - started, 3))


def run(settings: Settings, load: Load, before: Predecessor | None = None) -> None:
    """Serve until SIGTERM or SIGINT, which drain; a second one ends at once; SIGHUP has the settings loaded again,
    SIGUSR1 the files of the log opened anew, and SIGUSR2 a new process take the place of this one, which has taken that
    of `before`. Raises as `serve` does."""
    settle()
    source = (
        Source(passed=passed(os.environ)) if before is None else Source(passed=before.passed, inherited=before.sockets)
    )
    try:
        trio.run(_Process(settings, load, source, before).run)
    finally:
        log.flush()


def settle() -> None:
    """What start-up made lives as long as the process: not worth a look at each collection.

    The second one makes Python forget how much that was: a full collection waits for a quarter as much to be new, which
    here was some 70,000 ended sessions, with all that OpenSSL still held for them.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


class _Process:
    """What the signals of a single process do."""

    def __init__(self, settings: Settings, load: Load, source: Source, before: Predecessor | None) -> None:
        self._settings = settings
        self._load = load
        self._source = source
        self._before = before
        self._stop = trio.Event()
        self._replacing: Replacing | None = None

    async def run(self) -> None:
        """Until it is to end."""
        with (
            contextlib.closing(Manager(os.environ, successor=self._before is not None)) as self._manager,
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *HELD_BACK) as signals,
        ):
            # From here on they no longer end the process.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
            async with trio.open_nursery() as nursery:

                async def main(task_status: trio.TaskStatus[tuple[Gateway, Settings]]) -> None:
                    await serve(
                        self._settings,
                        stop=self._stop,
                        source=self._source,
                        before=self._before,
                        task_status=task_status,
                    )
                    nursery.cancel_scope.cancel()

                self._gateway, _ = await nursery.start(main)
                if self._before is None:
                    self._manager.ready()
                else:
                    nursery.start_soon(replacing.hear_of, self._before, self._gateway.slots, self._manager.ready)
                nursery.start_soon(self._manager.beat_always, self._gateway.table)
                async for number in signals:
                    if number == signal.SIGUSR1:
                        log.reopen()
                    elif number == signal.SIGHUP:
                        await self._reload()
                    elif number == signal.SIGUSR2:
                        self._replace(nursery)
                    else:
                        self._end(nursery)

    def _end(self, nursery: trio.Nursery) -> None:
        """The first time: drain."""
        if self._replacing is not None and self._replacing.done and not self._replacing.hurried:
            self._replacing.hurried = True
            self._gateway.hurry()
        elif self._stop.is_set():
            nursery.cancel_scope.cancel()
        else:
            if self._replacing is not None:
                self._replacing.give_up("it was told to stop")
            self._manager.stopping()
            self._stop.set()

    def _replace(self, nursery: trio.Nursery) -> None:
        began = time.monotonic()
        why = self._busy()
        if why is None:
            self._replacing = Replacing(self._gateway, self._manager, self._source, self._stop)
            nursery.start_soon(self._replacing.run)
        else:
            replacing.say_not_replaced(began, why)

    def _busy(self) -> str | None:
        """Why it can't be told anything else now."""
        if self._replacing is not None and not self._replacing.failed:
            return self._replacing.busy
        return "it is about to stop" if self._stop.is_set() else None

    async def _reload(self) -> None:
        began = self._manager.reloading()
        why = self._busy()
        if why is not None:
            log.gateway_reload_failed(detail=why)
        else:
            try:
                asked = read_again(self._load, self._settings)
                prepared = log.Prepared(asked.log)
                new = await self._gateway.change_to(asked)
            except Exception as error:
                say_not_reloaded(error)
                why = reason(error)
            else:
                say_reloaded(new, prepared)
        self._manager.reloaded(began, why)
