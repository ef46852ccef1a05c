"""The gateway as one process: signals, reload, and what the log hears of both. supervisor.py does it for several."""

import gc
import signal
import time
from collections.abc import Callable

import trio

from ftpsproxy import errors
from ftpsproxy.config import ConfigError, Settings, same_workers
from ftpsproxy.observe import log, metrics
from ftpsproxy.serve import listening
from ftpsproxy.serve.gateway import Gateway
from ftpsproxy.serve.limits import LocalSessionLimits, RefusedLogins
from ftpsproxy.serve.listening import ListenError
from ftpsproxy.serve.upstream_slots import TooManyUpstreams, UpstreamSlots
from ftpsproxy.tls import TlsConfigError

HELD_BACK = frozenset({signal.SIGHUP, signal.SIGUSR1})
"""Signals that are blocked from the start of the process until it can heed them: they would end it."""
Load = Callable[[], Settings]
"""Reads the configuration again; raises ConfigError."""


class Unchangeable(Exception):
    """A change of the configuration that needs a new start; `str()` is one plain line."""


_UNUSABLE = (ConfigError, TlsConfigError, ListenError, TooManyUpstreams, Unchangeable, log.LogError)


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
    task_status: trio.TaskStatus[tuple[Gateway, Settings]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `settings` until `stop` is set; all sessions have ended then. Raises what Gateway.change_to does.

    Starts with the gateway, and the settings with real ports.
    """
    started = time.monotonic()
    table = metrics.Table()
    metrics.count_in(table)
    gateway = Gateway(settings, LocalSessionLimits(settings.limits), UpstreamSlots(), RefusedLogins(), table)
    async with trio.open_nursery() as nursery:
        real = await nursery.start(gateway.serve, stop if stop is not None else trio.Event())
        listeners, admin = listening.shown(real)
        log.gateway_ready(listening=listeners, admin=admin)
        task_status.started((gateway, real))
    log.gateway_stopped(seconds=round(time.monotonic() - started, 3))


def run(settings: Settings, load: Load) -> None:
    """Serve until SIGTERM or SIGINT, which drain; a second one ends at once; SIGHUP has the settings loaded again, and
    SIGUSR1 the files of the log opened anew. Raises as `serve` does."""
    settle()
    try:
        trio.run(_run, settings, load)
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


async def _run(settings: Settings, load: Load) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *HELD_BACK) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)  # from here on they no longer end the process
        async with trio.open_nursery() as nursery:

            async def main(task_status: trio.TaskStatus[tuple[Gateway, Settings]]) -> None:
                await serve(settings, stop=stop, task_status=task_status)
                nursery.cancel_scope.cancel()

            gateway, _ = await nursery.start(main)
            async for number in signals:
                if number == signal.SIGUSR1:
                    log.reopen()
                elif number == signal.SIGHUP:
                    if not stop.is_set():
                        await _reload(gateway, load, settings)
                elif stop.is_set():
                    nursery.cancel_scope.cancel()
                else:
                    stop.set()


async def _reload(gateway: Gateway, load: Load, settings: Settings) -> None:
    try:
        asked = read_again(load, settings)
        prepared = log.Prepared(asked.log)
        new = await gateway.change_to(asked)
    except Exception as error:
        say_not_reloaded(error)
    else:
        say_reloaded(new, prepared)
