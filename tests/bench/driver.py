"""The load, in a process of its own so that it never shares an interpreter with what is measured.

``python -m tests.bench.driver`` reads one JSON object a line ({"do": NAME, ...}) and answers one JSON object a line. It
keeps sessions open between orders, so that the parent can read /proc before and after exactly the work in question.
:class:`Driver` is the parent's end.
"""

from __future__ import annotations

import json
import resource
import select
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.bench.client import Client, probe
from tests.bench.peers import REPOSITORY
from tests.bench.process import BenchError

Numbers = dict[str, float]


class _Load:
    """The sessions held open, and one method per order."""

    def __init__(self) -> None:
        self.sessions: list[Client] = []
        self._port = 0
        self._user = ""
        self._authority: str | None = None
        self._data_port: int | None = None

    def target(self, *, port: int, user: str, authority: str | None = None, data_port: int | None = None) -> Numbers:
        """Where later orders go."""
        self._port, self._user, self._authority, self._data_port = port, user, authority, data_port
        return {}

    def _client(self) -> Client:
        client = Client(self._port, authority=self._authority, data_port=self._data_port)
        client.login(self._user)
        return client

    def open(self, *, count: int) -> Numbers:
        """Log in ``count`` more sessions and keep them."""
        for _ in range(count):
            self.sessions.append(self._client())
        return {"open": len(self.sessions)}

    def quit(self) -> Numbers:
        """QUIT every session."""
        for session in self.sessions:
            session.quit()
        self.sessions.clear()
        return {}

    def noop(self, *, count: int) -> Numbers:
        """Round trips in the newest session, one after the other."""
        session = self.sessions[-1]
        return _summary([_timed(session.noop) for _ in range(count)])

    def noop_each(self) -> Numbers:
        """One NOOP in every session."""
        return _summary([_timed(session.noop) for session in self.sessions])

    def noop_for(self, *, seconds: float, pause: float) -> Numbers:
        """Round trips in the newest session, ``pause`` seconds apart."""
        session = self.sessions[-1]
        times: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            times.append(_timed(session.noop))
            time.sleep(pause)
        return _summary(times)

    def probe_for(self, *, port: int, seconds: float, period: float) -> Numbers:
        """Ask /healthz on ``port``, every ``period`` seconds or, where an answer takes longer, right after it."""
        times: list[float] = []
        due = time.monotonic()
        end = due + seconds
        while due < end:
            times.append(_timed(lambda: probe(port)))
            due = max(due + period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))  # one question each period, whatever an answer took
        return _summary(times)

    def retrieve(self, *, path: str, size: int, seconds: float = 0.0) -> Numbers:
        """``path`` down in all sessions at once; again and again while ``seconds`` last."""

        def one(session: Client, _: int) -> float:
            end = time.monotonic() + seconds
            moved = 0
            while True:
                session.retrieve(path, size)
                moved += size
                if time.monotonic() >= end:
                    return moved

        return self._together(one)

    def store(self, *, path: str, size: int) -> Numbers:
        """``size`` bytes up in all sessions at once, each to a name of its own."""

        def one(session: Client, number: int) -> float:
            session.store(f"{path}-{number}", size)
            return size

        return self._together(one)

    def files(self, *, path: str, size: int, count: int) -> Numbers:
        """``count`` downloads of one small file, shared out over the sessions; the time of each."""
        times: list[float] = []

        def one(session: Client, _: int) -> float:
            for _ in range(count // len(self.sessions)):
                times.append(_timed(lambda: session.retrieve(path, size)))
            return 0.0

        wall = self._together(one)["wall_seconds"]
        return {**_summary(times), "wall_seconds": wall}

    def logins(self, *, count: int, path: str | None = None, size: int = 0) -> Numbers:
        """``count`` times log in, perhaps fetch one file, quit."""

        def one() -> None:
            client = self._client()
            if path is not None:
                client.retrieve(path, size)
            client.quit()

        return _summary([_timed(one) for _ in range(count)])

    def _together(self, work: Callable[[Client, int], float]) -> Numbers:
        """Run ``work`` once per session, one thread each, and time the whole."""
        moved = [0.0] * len(self.sessions)
        errors: list[BaseException] = []

        def run(number: int, session: Client) -> None:
            try:
                moved[number] = work(session, number)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(self.sessions)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - start
        if errors:
            raise errors[0]
        return {"wall_seconds": wall, "bytes": sum(moved)}


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _summary(times: list[float]) -> Numbers:
    """Count, sum, median, 50th and 99th percentile and worst, in seconds."""
    ordered = sorted(times)
    return {
        "count": len(ordered),
        "sum": sum(ordered),
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "worst": ordered[-1],
    }


class Driver:
    """The parent's end of a driver process."""

    def __init__(self, port: int, *, user: str, authority: str | None = None, data_port: int | None = None) -> None:
        self._popen = subprocess.Popen(
            (sys.executable, "-m", "tests.bench.driver"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
            start_new_session=True,
        )
        try:
            self.call("target", port=port, user=user, authority=authority, data_port=data_port)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def begin(self, do: str, **arguments: Any) -> None:
        """Give an order without waiting for its answer."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._popen.stdin.flush()

    def finish(self) -> Numbers:
        """The answer to the last order; raises BenchError when the work failed."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise BenchError("the driver ended unexpectedly")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(f"the driver failed: {answer['error']}")
        return answer

    def ready(self, seconds: float) -> bool:
        """Whether the answer to the last order is there; waits up to ``seconds`` for it."""
        assert self._popen.stdout is not None
        return bool(select.select([self._popen.stdout], [], [], seconds)[0])

    def call(self, do: str, **arguments: Any) -> Numbers:
        """Give an order and wait for its answer."""
        self.begin(do, **arguments)
        return self.finish()

    def stop(self) -> None:
        """End the process; sessions still open are cut."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()


def main() -> None:
    """The loop of the driver process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = _Load()
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        try:
            answer: dict[str, Any] = getattr(load, order.pop("do"))(**order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
