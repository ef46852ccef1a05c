"""What the log hears of the gateway as a whole."""

import time
from typing import TypedDict

from ftpsproxy.observe import metrics
from ftpsproxy.observe.lines import program
from ftpsproxy.observe.log.writing import limited, say
from ftpsproxy.observe.redaction import told


class Endpoint(TypedDict):
    """A listener, and the URL of the upstream it leads to."""

    listener: str
    address: str
    port: int
    upstream: str
    url: str


def gateway_ready(
    *, listening: list[Endpoint], workers: int | None = None, admin: str | None = None, replaces: int | None = None
) -> None:
    """All listeners are bound; with how many processes, when there are several; where metrics and health are to be had,
    `ADDR:PORT`; the process whose place this one has taken."""
    metrics.CONFIG_LOADED.set(value=time.time())
    if replaces is not None:
        metrics.REPLACEMENTS.add(metrics.OK)
    say("info", "gateway.ready", **program(), listening=listening, workers=workers, admin=admin, replaces=replaces)


def gateway_replaced(*, pid: int, sessions: int) -> None:
    """The process `pid` has taken this one's place; sessions that there are go on here."""
    say("info", "gateway.replaced", pid=pid, sessions=sessions)


def gateway_replace_failed(*, detail: str) -> None:
    """No other process has taken this one's place: all stays as it was."""
    metrics.REPLACEMENTS.add(metrics.FAILED)
    say("error", "gateway.replace_failed", detail=detail)


def gateway_reloaded(*, listening: list[Endpoint], admin: str | None = None) -> None:
    """The configuration was read again; the listeners as they are now."""
    metrics.CONFIG_LOADED.set(value=time.time())
    metrics.RELOADS.add(metrics.OK)
    say("info", "gateway.reloaded", **program(), listening=listening, admin=admin)


def gateway_reload_failed(*, detail: str) -> None:
    """The configuration was read again and is of no use: the one before stays."""
    metrics.RELOADS.add(metrics.FAILED)
    say("error", "gateway.reload_failed", detail=detail)


def gateway_worker_lost(*, worker: int, pid: int, status: int, detail: str | None = None) -> None:
    """A worker process ended unasked, its sessions with it; another takes its place. `status`: its exit code, or the
    signal that killed it, negative; what it said last, if it could not begin."""
    metrics.WORKERS_LOST.add()
    say("error", "gateway.worker_lost", worker=worker, pid=pid, status=status, detail=detail)


def gateway_worker_retired(*, worker: int, pid: int, detail: str) -> None:
    """A worker could not take new settings: it ends as when the gateway stops, and another takes its place."""
    say("error", "gateway.worker_retired", worker=worker, pid=pid, detail=detail)


def gateway_crashed(*, error: BaseException) -> None:
    """A defect of the gateway, in no session: it cost a worker, or the answer to a probe."""
    limited("error", "gateway.crashed", **told(error))


def gateway_starved(*, detail: str) -> None:
    """Clients wait unheard: the system gives no descriptors, memory or processes for them."""
    metrics.STARVED.add()
    say("error", "gateway.starved", detail=detail)


def gateway_draining(*, sessions: int, drain_seconds: float) -> None:
    """No new sessions; running transfers have `drain_seconds` to end."""
    say("info", "gateway.draining", sessions=sessions, drain_seconds=round(drain_seconds, 3))


def gateway_stopped(*, seconds: float) -> None:
    """All sessions are over; `seconds` since the start."""
    say("info", "gateway.stopped", seconds=round(seconds, 3))
