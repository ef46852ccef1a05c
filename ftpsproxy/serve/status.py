"""What the page of the admin server shows, as data: sessions, transfers, what failed lately, certificates, workers.

Any worker can be asked. Each shows its own part on the board, once a second and only while somebody looks; whoever is
asked joins the parts, waiting a moment for those that have just heard of it. The parent of several workers has no
sessions, but what has failed of the gateway as a whole, it alone can tell.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from ftpsproxy import __version__, net
from ftpsproxy.observe import log, metrics
from ftpsproxy.observe.advice import advice
from ftpsproxy.observe.labels import Labels
from ftpsproxy.observe.metrics import Table
from ftpsproxy.serve.board import Board
from ftpsproxy.session.session import Session
from ftpsproxy.session.status import status

_MOST_SESSIONS = 200
_MOST_FAILURES = 30
_FRESH_SECONDS = 3.0
_WAIT_SECONDS, _LOOK_SECONDS = 1.5, 0.1
# What of a failure is shown; with the names of files only what may hold one.
_SHOWN = ("listener", "upstream", "client", "user", "verb", "side", "cause", "limit", "reply", "direction", "outcome")
_WITH_PATHS = ("path", "to", "detail", "text")

Sessions = Callable[[], Iterable[Session]]


class Status:
    """Of one process. `sessions` are its own."""

    def __init__(self, table: Table, board: Board, sessions: Sessions, ready: Callable[[], bool]) -> None:
        self.paths = True
        self._table = table
        self._board = board
        self._sessions = sessions
        self.ready = ready
        self._failures = log.remember(_MOST_FAILURES)
        self._minute = 0

    def show_if_watched(self) -> None:
        """To be called every second or so."""
        if self._board.watched:
            self._show()

    def look_after(self) -> None:
        """The same; and keep what was counted in each minute."""
        self.show_if_watched()
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute = minute
            counted = _counted(self._table.collect())
            self._board.note_minute(minute, [*counted["transfers"].values(), counted["bytes"]])

    def _show(self) -> None:
        sessions = sorted(self._sessions(), key=lambda one: (one.data is None or not one.data.under_way, one.seconds))
        most = _MOST_SESSIONS
        while True:
            shown = [status(one, paths=self.paths) for one in sessions[:most]]
            part = {
                "pid": os.getpid(),
                "count": len(sessions),
                "sessions": shown,
                "failures": [_failure(one, paths=self.paths) for one in self._failures],
            }
            if self._board.show(part) or not most:
                return
            most //= 2  # names may be long

    async def all(self) -> dict[str, Any]:
        """Of all processes, in the types of JSON."""
        self._board.ask()
        self._show()
        rows = [row for row, one in enumerate(self._table.rows) if one.pid]
        workers = rows[: self._board.workers]
        with trio.move_on_after(_WAIT_SECONDS):
            while any(self._board.age(row) > _FRESH_SECONDS for row in workers):  # noqa: ASYNC110 - others write there
                await trio.sleep(_LOOK_SECONDS)
        parts = {row: self._part(row) for row in rows}
        await net.turn()
        return self._joined(parts)

    def _part(self, row: int) -> dict[str, Any] | None:
        """What this process shows; None where that is old, or of one that was there before it."""
        found = self._board.read(row) if self._board.age(row) <= _FRESH_SECONDS else None
        return found if found is not None and found["pid"] == self._table.rows[row].pid else None

    def _joined(self, parts: Mapping[int, dict[str, Any] | None]) -> dict[str, Any]:
        there = [part for part in parts.values() if part is not None]
        found = self._table.collect()
        counted = _counted(found)
        sessions = [one for part in there for one in part["sessions"]]
        sessions.sort(key=lambda one: ("transfer" not in one, one["seconds"]))
        failures = sorted((one for part in there for one in part["failures"]), key=lambda one: -one["time"])
        names = (*counted["transfers"], "bytes")
        began = [{"time": self._table.began, **dict.fromkeys(names, 0)}]
        minutes = began + [
            {"time": int(minute[0]) * 60, **dict(zip(names, minute[1:], strict=True))}
            for minute in self._board.minutes()
        ]
        return {
            "gateway_version": __version__,
            "hostname": socket.gethostname(),
            "time": time.time(),
            "started": self._table.began,
            "ready": self.ready(),
            "workers": [
                {"worker": row, "pid": self._table.rows[row].pid, "sessions": part["count"] if part else None}
                for row, part in parts.items()
                if row < self._board.workers
            ],
            "sessions": sessions,
            "sessions_not_shown": sum(part["count"] for part in there) - len(sessions),
            "sessions_open": _sum(found, metrics.SESSIONS_OPEN),
            "transfers_open": _sum(found, metrics.TRANSFERS_OPEN),
            "waiting": {
                labels[0]: int(values[0])
                for labels, values in found.get(metrics.SESSIONS_WAITING, {}).items()
                if values[0]
            },
            **counted,
            "log_lines_lost": _sum(found, metrics.LOG_LINES_LOST),
            "minutes": minutes,
            "failures": failures[:_MOST_FAILURES],
            "certificates": [
                {"upstream": labels[0], "expires": values[0]}
                for labels, values in sorted(found.get(metrics.UPSTREAM_EXPIRY, {}).items())
            ],
        }


def _sum(found: Mapping[metrics.Family, Mapping[Labels, list[float]]], family: metrics.Family) -> int:
    return int(sum(values[0] for values in found.get(family, {}).values()))


def _counted(found: Mapping[metrics.Family, Mapping[Labels, list[float]]]) -> dict[str, Any]:
    """Transfers by their outcome, and bytes, since the start."""
    series = found.get(metrics.TRANSFERS, {})
    outcomes = metrics.TRANSFERS.words["outcome"]
    transfers = {one: int(sum(values[0] for labels, values in series.items() if labels[3] == one)) for one in outcomes}
    return {"transfers": transfers, "bytes": _sum(found, metrics.TRANSFER_BYTES)}


def _failure(event: Mapping[str, Any], *, paths: bool) -> dict[str, Any]:
    """In plain words, with what to do."""
    why = advice(event)
    shown = {key: event[key] for key in (*_SHOWN, *(_WITH_PATHS if paths else ())) if event.get(key) is not None}
    return {
        "time": event["time"],
        "level": event["level"],
        "event": event["event"],
        "why": why.why,
        "do": why.do,
    } | shown
