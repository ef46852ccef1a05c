"""The service manager that has started us, systemd or one that speaks as it does: what it is told (sd_notify(3)).

A datagram each, to the socket that NOTIFY_SOCKET names, `@` before an abstract one. Nobody here ever waits for it, and
without it, or once it is gone, all goes on as it would. What changes its view of us (ready, reloading, which process is
the main one) and found no room is said again, in its order, with the next beat; a beat that finds none is not worth it.

The watchdog (WATCHDOG_USEC) hears of us from where a stuck process would fall silent: a task of trio's like any other,
or the parent's loop that looks after the workers' own beats (heartbeat.py).
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping

import trio

from ftpsproxy.observe import metrics
from ftpsproxy.serve import outcomes
from ftpsproxy.serve.heartbeat import BEAT_SECONDS

_MOST_OWED = 32
_LAST_SECONDS, _AGAIN_SECONDS = 1.0, 0.02
# systemd shows one line, and takes 4 KiB in all.
_STATUS_BYTES = 1000


class Manager:
    """Whom we tell. Takes what is meant for this process alone out of the environment; one that takes this one's place
    (`successor`) is told to be the main process by the one before."""

    def __init__(self, environ: MutableMapping[str, str], *, successor: bool = False) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name[:1] == "@" else name if name[:1] == "/" else ""
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._quiet = True  # until it is ready
        self._owed: deque[str] = deque(maxlen=_MOST_OWED)
        self._said = ""
        self._trouble = ""
        seconds = _watchdog_seconds(environ, successor=successor)
        self._watched = seconds is not None
        self.pause = BEAT_SECONDS if seconds is None else min(BEAT_SECONDS, seconds / 3)

    # --- what happens -------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Clients are let in, by this process, which is the main one."""
        self._quiet = False
        self._tell("READY=1")

    def reloading(self) -> float:
        """The configuration is being read again → when that began, for `reloaded`."""
        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={began // 1000}")
        return began / 1e9

    def reloaded(self, began: float, why: str | None) -> None:
        """That is over; `why` it was of no use."""
        self.trouble(f"not reloaded: {why}" if why else "")
        self._tell("READY=1")
        outcomes.answer(outcomes.RELOAD, began, why)

    def trouble(self, what: str) -> None:
        """What the operator has to mend, shown until there is other news; empty: nothing."""
        self._trouble = what

    def stopping(self) -> None:
        """No new clients."""
        self._tell("STOPPING=1")

    def hand_over(self, pid: int) -> None:
        """The process `pid` is the main one from here on, and speaks; this one has nothing more to say."""
        self._tell(f"MAINPID={pid}")
        self._quiet = True

    # --- all the time -------------------------------------------------------------------------------------------------

    def beat(self, table: metrics.Table) -> None:
        """This process works; to be called every `pause` seconds."""
        self._catch_up()
        if self._quiet or self._socket is None:
            return
        words = [f"{number} {what}{'' if number == 1 else 's'}" for what, number in _open(table)]
        status = "; ".join(filter(None, (", ".join(words), self._trouble)))
        lines = ["WATCHDOG=1"] if self._watched else []
        if status != self._said:
            lines.append("STATUS=" + " ".join(status.split()).encode()[:_STATUS_BYTES].decode(errors="ignore"))
        if lines and self._send("\n".join(lines)):
            self._said = status

    async def beat_always(self, table: metrics.Table) -> None:
        """The same, for as long as it takes."""
        while True:
            self.beat(table)
            await trio.sleep(self.pause)

    def _tell(self, text: str) -> None:
        """What it must hear, in the order in which it was."""
        if self._socket is not None and not self._quiet:
            self._owed.append(text)
            self._catch_up()

    def _catch_up(self) -> None:
        while self._owed and self._send(self._owed[0]):
            self._owed.popleft()

    def _send(self, text: str) -> bool:
        """→ False when there is no room. A manager that is not there is none that misses it."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(text.encode(), socket.MSG_NOSIGNAL, self._address)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Nothing more is said, and the process about to end: what is owed has a moment to find room."""
        if self._socket is not None:
            until = time.monotonic() + _LAST_SECONDS
            self._catch_up()
            while self._owed and time.monotonic() < until:
                time.sleep(_AGAIN_SECONDS)  # there is no waiting for room at a socket that is not connected
                self._catch_up()
            self._socket.close()
            self._socket = None


def _open(table: metrics.Table) -> list[tuple[str, int]]:
    return [("session", table.sum(metrics.SESSIONS_OPEN)), ("transfer", table.sum(metrics.TRANSFERS_OPEN))]


def _watchdog_seconds(environ: MutableMapping[str, str], *, successor: bool) -> float | None:
    """How often it wants to hear of us; None: it does not. Meant for one process alone, or whoever takes its place."""
    with contextlib.suppress(ValueError):
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        whose = int(environ.pop("WATCHDOG_PID", os.getpid()))
        if seconds > 0 and (successor or whose == os.getpid()):
            return seconds
    return None
