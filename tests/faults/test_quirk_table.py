"""The tables of tests/README.md name tests that exist, for every quirk."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
README = (FOLDER.parent / "README.md").read_text()
NAMES = re.findall(r"`(test_\w+\.py)::(test_\w+)`", README)


def test_every_named_test_exists() -> None:
    assert NAMES
    missing = [f"{file}::{name}" for file, name in NAMES if f"def {name}(" not in (FOLDER / file).read_text()]
    assert not missing


def test_no_row_admits_a_gap() -> None:
    """A cell with tests holds tests and nothing else."""
    rows = re.findall(r"^\|.*`test_\w+\.py::.*$", README, re.MULTILINE)
    assert [row for row in rows if not re.search(r"\| (`test_\w+\.py::test_\w+` ?)+\|$", row)] == []


def test_every_quirk_has_its_row() -> None:
    rows = re.findall(r"^\| U(\d+) \|.*`test_\w+\.py::test_\w+`", README, re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 35))
