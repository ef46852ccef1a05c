"""What the log hears of the gateway as a whole."""

import time

from ftpsproxy.observe import metrics
from ftpsproxy.observe.log.writing import limited, say
from ftpsproxy.observe.redaction import told


def gateway_ready(*, listeners: list[str], workers: int | None = None, admin: str | None = None) -> None:
    """All listeners are bound: `NAME ADDR:PORT -> URL` each; with how many processes, when there are several; where
    metrics and health are to be had, `ADDR:PORT`."""
    metrics.CONFIG_LOADED.set(value=time.time())
    say("info", "gateway.ready", listeners=listeners, workers=workers, admin=admin)


def gateway_reloaded(*, listeners: list[str], admin: str | None = None) -> None:
    """The configuration was read again, and is in use for all sessions from now on."""
    metrics.RELOADS.add("ok")
    metrics.CONFIG_LOADED.set(value=time.time())
    say("info", "gateway.reloaded", listeners=listeners, admin=admin)


def gateway_reload_failed(*, reason: str) -> None:
    """The configuration was read again and is of no use: the one before stays."""
    metrics.RELOADS.add("failed")
    say("error", "gateway.reload_failed", reason=reason)


def gateway_worker_lost(*, worker: int, pid: int, status: int, reason: str | None = None) -> None:
    """A worker process ended unasked, its sessions with it; another takes its place. `status`: its exit code, or the
    signal that killed it, negative; what it said last, if it could not begin."""
    metrics.WORKERS_LOST.add()
    say("error", "gateway.worker_lost", worker=worker, pid=pid, status=status, reason=reason)


def gateway_worker_retired(*, worker: int, pid: int, reason: str) -> None:
    """A worker could not take new settings: it ends as when the gateway stops, and another takes its place."""
    say("error", "gateway.worker_retired", worker=worker, pid=pid, reason=reason)


def gateway_crashed(*, error: BaseException) -> None:
    """A defect of the gateway, in no session: it cost a worker, or the answer to a probe."""
    limited("error", "gateway.crashed", **told(error))


def gateway_starved(*, reason: str) -> None:
    """Clients wait unheard: the system gives no descriptors, memory or processes for them."""
    metrics.STARVED.add()
    say("error", "gateway.starved", reason=reason)


def gateway_draining(*, sessions: int, seconds: float) -> None:
    """No new sessions; running transfers have `seconds` to end."""
    say("info", "gateway.draining", sessions=sessions, seconds=round(seconds, 3))


def gateway_stopped(*, seconds: float) -> None:
    """All sessions are over; `seconds` since the start."""
    say("info", "gateway.stopped", seconds=round(seconds, 3))
