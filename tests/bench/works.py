"""The works: what is done to a gateway, and which figures come out of one round of it.

A work is a function ``side -> figures``; the figures' names carry their unit. Sessions are opened before and
closed after the reading, unless logging in is the work itself.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tests.bench import peers, reading
from tests.bench.driver import Driver, Numbers
from tests.bench.peers import GIB, Gateway, Ground, Sizes
from tests.bench.process import BenchError, cpu_seconds, pss_kib

OURS, BEFORE, MOD_PROXY, STUNNEL = "ours", "before", "mod_proxy", "stunnel"
Run = Callable[["Side"], Numbers]


@dataclass(frozen=True, slots=True)
class Side:
    """One gateway under one work, and all that the work needs to drive it."""

    gateway: Gateway
    ground: Ground
    user: str
    upstream: int
    control_port: int | None = None
    """For stunnel: the FTPS server whose data connections it carries."""

    @property
    def sizes(self) -> Sizes:
        """How much to move."""
        return self.ground.sizes

    def driver(self) -> Driver:
        """A driver for this gateway."""
        if self.control_port is None:
            return Driver(self.gateway.port, user=self.user)
        return Driver(
            self.control_port,
            user=self.user,
            authority=str(self.ground.tls.authority),
            data_port=self.gateway.port,
        )

    def direct(self) -> Driver:
        """A driver that speaks FTPS straight to the upstream."""
        return Driver(self.upstream, user=self.user, authority=str(self.ground.tls.authority))

    def cpu(self) -> float:
        """CPU seconds of the gateway so far."""
        return cpu_seconds(self.gateway.process.pid)

    def pss(self) -> int:
        """Memory of the gateway now, in KiB."""
        return pss_kib(self.gateway.process.pid)

    @contextlib.contextmanager
    def sessions(self, count: int) -> Iterator[Driver]:
        """A driver with ``count`` sessions logged in, which are closed afterwards."""
        with self.driver() as driver:
            driver.call("open", count=count)
            peers.wait_a_tick()
            yield driver
            driver.call("quit")
        self.gateway.wait_at_rest()


@dataclass(frozen=True, slots=True)
class Work:
    """One work: its name, what it is, who takes part, and what one round does."""

    name: str
    about: str
    run: Run
    sides: tuple[str, ...] = (OURS, MOD_PROXY)
    upstream: str | None = None
    """The kind of upstream, when it must be a certain one."""
    once: bool = False
    """Long enough to be done once instead of in rounds."""
    fresh: bool = False
    """Start the gateway anew for every round (memory)."""
    admin: bool = False
    """Start ours with its listener for probes. Other works do without: it takes memory."""
    here: bool = False
    """It measures the files that stand here, whatever side there is besides."""

    def among(self, names: Collection[str]) -> list[str]:
        """The sides of ``names`` that take part, in turn; ``before`` is wherever ours is."""
        turn = [name for side in self.sides for name in ((OURS, BEFORE) if side == OURS and not self.here else (side,))]
        return [name for name in turn if name in names]


def _bulk(streams: int, *, up: bool) -> Run:
    def run(side: Side) -> Numbers:
        size = side.sizes.bulk_bytes // streams
        with side.sessions(streams) as driver:
            before = side.cpu()
            if up:
                done = driver.call("store", path="up/bulk", size=size)
            else:
                done = driver.call("retrieve", path=f"bulk-{streams}", size=size)
            peers.wait_a_tick()
            cpu = side.cpu() - before
        return {
            "cpu_s_per_gib": cpu / done["bytes"] * GIB,
            "wall_s": done["wall_seconds"],
            "mb_per_s": done["bytes"] / 1e6 / done["wall_seconds"],
        }

    return run


def _files(path: str, size: int, sessions: int) -> Run:
    def run(side: Side) -> Numbers:
        counts = {"1KiB": side.sizes.small_files, "64KiB": side.sizes.middle_files, "1MiB": side.sizes.large_files}
        with side.sessions(sessions) as driver:
            before = side.cpu()
            done = driver.call("files", path=path, size=size, count=counts[path])
            peers.wait_a_tick()
            cpu = side.cpu() - before
        return {
            "cpu_ms_per_file": cpu / done["count"] * 1e3,
            "latency_ms": done["median"] * 1e3,
            "files_per_s": done["count"] / done["wall_seconds"],
        }

    return run


def _logins(path: str | None) -> Run:
    def run(side: Side) -> Numbers:
        with side.driver() as driver:
            before = side.cpu()
            done = driver.call("logins", count=side.sizes.logins, path=path, size=1024)
            side.gateway.wait_at_rest()
            peers.wait_a_tick()
            cpu = side.cpu() - before
        return {"cpu_ms_per_session": cpu / done["count"] * 1e3, "latency_ms": done["median"] * 1e3}

    return run


def _noop(side: Side) -> Numbers:
    with side.direct() as driver:
        driver.call("open", count=1)
        direct = driver.call("noop", count=side.sizes.noops)["median"]
        driver.call("quit")
    with side.sessions(1) as driver:
        before = side.cpu()
        done = driver.call("noop", count=side.sizes.noops)
        peers.wait_a_tick()
        cpu = side.cpu() - before
    return {
        "added_us": (done["median"] - direct) * 1e6,
        "round_trip_us": done["median"] * 1e6,
        "direct_us": direct * 1e6,
        "cpu_us_per_noop": cpu / done["count"] * 1e6,
    }


def _idle(side: Side) -> Numbers:
    count, seconds = side.sizes.idle_sessions, side.sizes.idle_seconds
    base = side.pss()
    with side.sessions(count):
        held = side.pss()
        before = side.cpu()
        time.sleep(seconds)
        cpu = side.cpu() - before
    return {
        "base_mib": base / 1024,
        "kib_per_session": (held - base) / count,
        "idle_cpu_percent": cpu / seconds * 100,
    }


def _latency(side: Side) -> Numbers:
    """NOOP beside eight downloads; the direct figures, taken meanwhile, show what the full machine alone does."""
    seconds = side.sizes.bulk_seconds
    with side.driver() as probe, side.direct() as direct, side.sessions(8) as bulk:
        probe.call("open", count=1)
        direct.call("open", count=1)
        bulk.begin("retrieve", path="steady", size=peers.STEADY_BYTES, seconds=seconds)
        direct.begin("noop_for", seconds=seconds, pause=0.02)
        done = probe.call("noop_for", seconds=seconds, pause=0.005)
        beside = direct.finish()
        moved = bulk.finish()
        probe.call("quit")
        direct.call("quit")
    return {
        "p50_ms": done["median"] * 1e3,
        "p99_ms": done["p99"] * 1e3,
        "worst_ms": done["worst"] * 1e3,
        "direct_p50_ms": beside["median"] * 1e3,
        "direct_p99_ms": beside["p99"] * 1e3,
        "mb_per_s": moved["bytes"] / 1e6 / moved["wall_seconds"],
    }


def _probes(side: Side) -> Numbers:
    """/healthz beside eight downloads and four sessions that fetch small files, all in the one process."""
    seconds = side.sizes.bulk_seconds
    with side.driver() as asker, side.sessions(8) as bulk, side.sessions(4) as small:
        bulk.begin("retrieve", path="steady", size=peers.STEADY_BYTES, seconds=seconds)
        small.begin("retrieve", path="1KiB", size=1024, seconds=seconds)
        done = asker.call("probe_for", port=side.gateway.admin_port, seconds=seconds, period=0.01)
        small.finish()
        moved = bulk.finish()
    return {
        "p50_ms": done["median"] * 1e3,
        "p99_ms": done["p99"] * 1e3,
        "worst_ms": done["worst"] * 1e3,
        "asked": done["count"],
        "mb_per_s": moved["bytes"] / 1e6 / moved["wall_seconds"],
    }


def _tree(side: Side) -> Numbers:
    target = side.ground.path("mirror")
    script = (
        "set ftp:ssl-allow no; set ftp:passive-mode on; set net:max-retries 1; set xfer:clobber on; "
        f"mirror --parallel=4 tree {target}; quit"
    )
    before = side.cpu()
    start = time.perf_counter()
    login = f"{side.user},{peers.PASSWORD}"
    done = subprocess.run(
        ("lftp", "-u", login, "-e", script, f"ftp://127.0.0.1:{side.gateway.port}"), capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    side.gateway.wait_at_rest()
    peers.wait_a_tick()
    cpu = side.cpu() - before
    found = sum(1 for path in target.rglob("*.dat") if path.stat().st_size == 1024)
    subprocess.run(("rm", "-r", target), check=False)
    if found != side.sizes.tree_files:
        raise BenchError(f"lftp brought {found} files of {side.sizes.tree_files}: {done.stderr[-500:]}")
    return {"cpu_s": cpu, "wall_s": wall, "cpu_ms_per_file": cpu / found * 1e3}


def _big(side: Side) -> Numbers:
    """One long transfer, memory read all along: the growth is the second half's peak over the first reading."""
    base = side.pss()
    seen: list[int] = []
    with side.sessions(1) as driver:
        before = side.cpu()
        driver.begin("retrieve", path="big", size=side.sizes.big_bytes)
        while not driver.ready(0.2):
            seen.append(side.pss())
        done = driver.finish()
        peers.wait_a_tick()
        cpu = side.cpu() - before
        seen.append(side.pss())
    return {
        "base_mib": base / 1024,
        "growth_kib": max(seen[len(seen) // 2 :]) - seen[0],
        "peak_mib": max(seen) / 1024,
        "cpu_s_per_gib": cpu / done["bytes"] * GIB,
    }


def _growth(side: Side) -> Numbers:
    """The same small works with more and more other sessions open; the last level is also the test of holding them."""
    figures: Numbers = {}
    sizes = side.sizes
    base = side.pss()
    with side.driver() as crowd, side.driver() as worker:
        opened = 0
        worker.call("open", count=1)  # code that runs for the first time is dearer: not to be taken for the first level
        worker.call("noop", count=sizes.noops)
        worker.call("logins", count=sizes.logins)
        worker.call("files", count=sizes.small_files, path="1KiB", size=1024)
        worker.call("quit")
        for level in sizes.levels:
            crowd.call("open", count=level - opened)
            opened = level
            worker.call("open", count=1)
            peers.wait_a_tick()
            for name, order, scale, arguments in (
                ("noop_us", "noop", 1e6, {"count": sizes.noops}),
                ("login_ms", "logins", 1e3, {"count": sizes.logins}),
                ("file_ms", "files", 1e3, {"count": sizes.small_files, "path": "1KiB", "size": 1024}),
            ):
                before = side.cpu()
                done = worker.call(order, **arguments)
                peers.wait_a_tick()
                figures[f"cpu_{name}@{level}"] = (side.cpu() - before) / done["count"] * scale
                figures[f"latency_{name}@{level}"] = done["median"] * scale
            worker.call("quit")
        top = sizes.levels[-1]
        figures[f"kib_per_session@{top}"] = (side.pss() - base) / top
        before = side.cpu()
        time.sleep(sizes.idle_seconds)
        figures[f"idle_cpu_percent@{top}"] = (side.cpu() - before) / sizes.idle_seconds * 100
        figures[f"answered@{top}"] = crowd.call("noop_each")["count"]
        crowd.call("quit")
    for name in ("noop_us", "login_ms", "file_ms"):
        first, last = figures[f"cpu_{name}@{sizes.levels[0]}"], figures[f"cpu_{name}@{top}"]
        figures[f"growth_{name}"] = last / first if first else float("nan")
    figures["answered_share"] = figures[f"answered@{top}"] / top
    figures["idle_cpu_percent"] = figures[f"idle_cpu_percent@{top}"]
    return figures


def _churn(side: Side) -> Numbers:
    """Sessions opened and closed by two clients, memory read after every tenth part; the first part is warming up."""
    seen: list[int] = []
    times: list[float] = []
    with side.driver() as one, side.driver() as other:
        for _ in range(10):
            for driver in (one, other):
                driver.begin("logins", count=side.sizes.churn // 20, path="1KiB", size=1024)
            times += [one.finish()["median"], other.finish()["median"]]
            peers.wait_a_tick()
            seen.append(side.pss())
    return {
        "first_mib": seen[0] / 1024,
        "last_mib": seen[-1] / 1024,
        "growth_kib": seen[-1] - seen[0],
        "bytes_per_session": (seen[-1] - seen[0]) * 1024 / (side.sizes.churn * 0.9),
        "latency_ms": statistics.median(times) * 1e3,
    }


def _logs(side: Side) -> Numbers:
    """A log of sessions with a few files each, as long as a bulk file."""
    for _ in range(10):
        with side.sessions(1) as driver:
            driver.call("files", path="1KiB", size=1024, count=5)
    side.gateway.wait_at_rest()
    peers.wait_a_tick()
    log = side.ground.path("grown.log")
    size = reading.grown(side.ground.path(f"{side.gateway.name}-{side.gateway.port}.log"), log, side.sizes.bulk_bytes)
    try:
        return reading.read(log, size)
    finally:
        log.unlink()


def _works() -> Iterator[Work]:
    for streams in (1, 4, 16):
        three = (OURS, MOD_PROXY, STUNNEL) if streams == 1 else (OURS, MOD_PROXY)
        many = f"{streams} stream{'s' if streams > 1 else ''}"
        yield Work(f"down-{streams}", f"1 GiB down, {many}", _bulk(streams, up=False), three)
        yield Work(f"up-{streams}", f"1 GiB up, {many}", _bulk(streams, up=True), three)
    for path, size in (("1KiB", 1 << 10), ("64KiB", 1 << 16), ("1MiB", 1 << 20)):
        yield Work(f"files-{path}", f"{path} files, one session", _files(path, size, 1))
        yield Work(f"files-{path}-8", f"{path} files, 8 sessions", _files(path, size, 8))
    yield Work("login", "login, quit", _logins(None))
    yield Work("login-get", "login, get 1 KiB, quit", _logins("1KiB"))
    yield Work("noop", "NOOP round trip", _noop)
    yield Work("idle", "idle sessions", _idle, fresh=True)
    yield Work("latency", "NOOP while 8 downloads run", _latency)
    yield Work("probes", "/healthz while 8 downloads and 4 sessions of small files run", _probes, (OURS,), admin=True)
    yield Work("tree", "lftp mirror of small files, 4 at a time", _tree)
    yield Work("growth", "small works beside many open sessions", _growth, (OURS,), upstream="light", once=True)
    yield Work("churn", "many sessions one after the other", _churn, (OURS,), upstream="light", once=True)
    yield Work("big", "20 GiB down in one transfer", _big, (OURS,), once=True, fresh=True)
    yield Work("logs", "reading a log of 1 GiB", _logs, (OURS,), once=True, here=True)


WORKS: dict[str, Work] = {work.name: work for work in _works()}
