"""A short coverage-guided run of each target; `python -m tests.fuzz TARGET -max_total_time=3600` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

RUNS = 4000
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_short_run(name: str, tmp_path: Path) -> None:
    """New inputs go to a folder of their own, so that the seeds stay as they are."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, str(tmp_path), f"-runs={RUNS}", "-seed=1", "-max_len=600"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """Each seed once, without the fuzzer."""
    seeds = sorted((Path(__file__).parent / "corpus" / name).iterdir())
    assert seeds
    for seed in seeds:
        TARGETS[name](seed.read_bytes())
