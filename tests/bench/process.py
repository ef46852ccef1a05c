"""Processes under test: start and stop them, and read from /proc what they cost.

Nothing here knows FTP. CPU time and memory are always those of a whole tree of processes, because mod_proxy forks one
process a session and a gateway may run several workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from ``state`` on (proc(5) field 3 is index 0); None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process ``root`` and all its living descendants (zombies too: their time is not yet with the parent)."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat_fields(int(name))) is not None:
            parents[int(name)] = int(fields[1])
    found = [root] if root in parents else []
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def cpu_seconds(root: int) -> float:
    """CPU seconds of the tree: of the living, and of the dead that were waited for."""
    total = 0.0
    for pid in tree(root):
        if (fields := _stat_fields(pid)) is not None:
            own = sum(int(value) for value in fields[11:13]) / TICKS_PER_SECOND
            reaped = sum(int(value) for value in fields[13:15]) / TICKS_PER_SECOND
            # stat is cut down to whole ticks, process by process; schedstat is exact but forgets threads that ended.
            total += max(own, _scheduled_seconds(pid)) + reaped
    return total


def _scheduled_seconds(pid: int) -> float:
    """Time on a CPU of the living threads, from the first field (nanoseconds) of their schedstat."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    except OSError:
        pass
    return total / 1e9


def pss_kib(root: int) -> int:
    """Proportional set size of the tree in KiB: shared pages are counted once."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until ``true()``; raise BenchError naming ``what`` when the time is up."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.02)


@dataclass(slots=True)
class Process:
    """A started program in its own process group; its output goes to ``log``."""

    name: str
    arguments: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()
    """Of ours that it is given."""
    _popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(argument) for argument in self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
                pass_fds=self.descriptors,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the root of the tree."""
        assert self._popen is not None
        return self._popen.pid

    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._popen is not None and self._popen.poll() is None

    def wait_listening(self, port: int, host: str = "127.0.0.1") -> None:
        """Wait until it accepts there; raise BenchError with the end of the log when the program ends first."""

        def listening() -> bool:
            if not self.alive():
                raise BenchError(f"{self.name} ended at once:\n{self.tail()}")
            with socket.socket() as probe:
                return probe.connect_ex((host, port)) == 0

        wait_until(listening, seconds=30, what=f"{self.name} listening on {port}")

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """SIGTERM to the group, SIGKILL after ten seconds."""
        if self._popen is None:
            return
        # The program itself first: a drain must not find its children already gone.
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen = None
