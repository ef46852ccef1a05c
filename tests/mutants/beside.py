"""The neighbour: a process of its own, so that only the gateway makes it wait: NOOP and the probe, again and again.

`python -m tests.mutants.beside PORT PROBE`; it ends with its standard input, and prints its waits in seconds, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import select
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.bad_client import BadClient
from tests.support.servers import ROOT

PAUSE = 0.05
_PATIENCE = 60.0


@dataclass(slots=True)
class Waits:
    """Seconds; filled when the neighbour has ended. `error` says why it ended early."""

    noop: list[float]
    probe: list[float]
    error: str = ""

    def __str__(self) -> str:
        if not self.noop:
            return f"the neighbour was never served: {self.error}"
        shown = (
            f"{name} {statistics.median(waits) * 1000:.1f} ms, worst {max(waits) * 1000:.0f} ms"
            for name, waits in (("NOOP", self.noop), ("/healthz", self.probe))
        )
        return f"{len(self.noop)} times: " + "; ".join(shown)


@contextlib.contextmanager
def neighbour(port: int, probe: str) -> Iterator[Waits]:
    """It works while the `with` block lasts."""
    waits = Waits([], [])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mutants.beside", str(port), probe],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield waits
    finally:
        said, _ = process.communicate(timeout=_PATIENCE + 20)
        with contextlib.suppress(ValueError):
            waits.noop, waits.probe, waits.error = json.loads(said)


def main() -> None:
    """Ask until standard input ends."""
    noop, probe, error = [], [], ""
    url = f"http://{sys.argv[2]}/healthz"
    try:
        with BadClient(int(sys.argv[1]), patience=_PATIENCE) as client:
            client.login()
            while not select.select([sys.stdin], [], [], PAUSE)[0]:
                began = time.monotonic()
                assert client.command("NOOP").code == 200
                half = time.monotonic()
                with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
                    assert answer.status == 200
                noop.append(half - began)
                probe.append(time.monotonic() - half)
    except Exception as trouble:
        error = repr(trouble)
    print(json.dumps([noop, probe, error]))


if __name__ == "__main__":
    main()
