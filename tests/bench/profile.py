"""One work on our gateway alone under a profiler, and the top of what it found."""

from __future__ import annotations

import collections
import importlib.util
import io
import os
import pstats
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.bench import peers
from tests.bench.peers import Gateway, Ground
from tests.bench.process import BenchError

TOP = 30
RATE = 250  # samples a second


def _py_spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def run(made: Ground, upstream: int, rounds: int, work: Callable[[Gateway], None], *, admin: bool) -> str:
    """Run ``work`` ``rounds`` times and return the report: by py-spy (sampling) when installed, else by cProfile."""
    if importlib.util.find_spec("ftpsproxy") is None:
        raise BenchError("ftpsproxy is not importable")
    spy = _py_spy()
    if spy is None:
        return _with_cprofile(made, upstream, rounds, work, admin=admin)
    output = made.path("profile.raw")
    with peers.ours(made, upstream, admin=admin) as gateway:
        sampler = subprocess.Popen(
            (
                *(spy, "record", "--pid", str(gateway.process.pid), "--format", "raw", "--rate", str(RATE)),
                *("--subprocesses", "--nonblocking", "--output", str(output)),
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            for _ in range(rounds):
                work(gateway)
        finally:
            sampler.send_signal(signal.SIGINT)
            _, complaints = sampler.communicate(timeout=60)
    if not output.exists():
        raise BenchError(f"py-spy wrote nothing: {complaints.decode(errors='replace')}")
    return _render_samples(output)


def _render_samples(path: Path) -> str:
    """py-spy's raw form is one stack a line: ``frame;frame;frame count``."""
    own: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    total = 0
    for line in path.read_text().splitlines():
        stack, _, text = line.rpartition(" ")
        count = int(text)
        frames = [_short(frame) for frame in stack.split(";")]
        total += count
        own[frames[-1]] += count
        for function in {frame.rpartition(":")[0] for frame in frames}:
            within[function] += count
    lines = [f"{total} samples at {RATE} a second"]
    for title, counter in (("own time, by line", own), ("with callees, by function", within)):
        lines += ["", title]
        lines += [f"  {count / max(total, 1):6.1%}  {frame}" for frame, count in counter.most_common(TOP)]
    return "\n".join(lines)


def _short(frame: str) -> str:
    function, bracket, place = frame.rpartition(" (")
    if not bracket:
        return frame
    parts = place.rstrip(")").split(os.sep)
    return f"{function}  {os.sep.join(parts[-2:])}"


def _with_cprofile(made: Ground, upstream: int, rounds: int, work: Callable[[Gateway], None], *, admin: bool) -> str:
    output = made.path("profile.pstats")
    profiled = replace(peers.HERE, python=(sys.executable, "-m", "cProfile", "-o", str(output)))
    with peers.ours(made, upstream, profiled, admin=admin) as gateway:
        for _ in range(rounds):
            work(gateway)
    if not output.exists():
        raise BenchError("cProfile wrote nothing: the gateway did not end in good order")
    text = io.StringIO()
    pstats.Stats(str(output), stream=text).strip_dirs().sort_stats("tottime").print_stats(TOP)
    return "py-spy is not installed; this is cProfile, which makes small calls look dear\n" + text.getvalue()
