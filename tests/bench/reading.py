"""The log of some sessions, many times over, and what it takes to read it (`ftpsproxy logs`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.driver import Numbers
from tests.bench.peers import HERE
from tests.bench.process import BenchError

VIEWS = ("transfers", "sessions", "failures", "raw")

# CPU seconds, and the peak in KiB, of a process that begins with little: what starts it would count into its peak.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def grown(log: Path, target: Path, size: int) -> int:
    """Write the log's lines again and again, their sessions always others, up to so many bytes → how many there are."""
    lines = [line for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and '"session"' in line]
    sessions = {json.loads(line)["session"]: number for number, line in enumerate(lines)}
    if not lines:
        raise BenchError(f"no session in {log}")
    again, written = 0, 0
    with target.open("w") as file:
        while written < size:
            base = again * len(lines)
            text = re.sub(r'"session":"(\w+)"', lambda found: _other(base + sessions[found[1]]), "".join(lines))  # noqa: B023 - called at once
            written += file.write(text)
            again += 1
    return written


def _other(number: int) -> str:
    return f'"session":"{number:012x}"'


def read(log: Path, size: int) -> Numbers:
    """Each view over it: megabytes a second of CPU, and the most memory that any has needed."""
    figures: Numbers = {}
    peak = 0.0
    for view in VIEWS:
        program = [sys.executable, "-c", _MEASURED, *HERE.python, "-m", "ftpsproxy", "logs", f"--{view}", str(log)]
        done = subprocess.run(program, capture_output=True, text=True, env=dict(HERE.environment), check=False)
        if done.returncode != 0:
            raise BenchError(f"ftpsproxy logs --{view}: {done.stderr.strip()}")
        seconds, kib = map(float, done.stdout.split())
        figures[f"mb_per_cpu_s_{view}"] = size / 1e6 / seconds
        peak = max(peak, kib)
    figures["peak_mib"] = peak / 1024
    return figures
