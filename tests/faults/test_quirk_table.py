"""The tables of tests/README.md name tests that exist, for every quirk, and for what befell others."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent
README = (TESTS / "README.md").read_text()
FILE = r"(?:\w+/|\./)?test_\w+\.py"
NAMES = re.findall(rf"`({FILE})::(test_\w+)`", README)


def _file(name: str) -> Path:
    """Of this folder, or of another one of tests/, which is named then; `./` is tests/ itself."""
    return TESTS / name if "/" in name else FOLDER / name


def test_every_named_test_exists() -> None:
    assert NAMES
    missing = [f"{file}::{name}" for file, name in NAMES if f"def {name}(" not in _file(file).read_text()]
    assert not missing


def test_no_row_admits_a_gap() -> None:
    """A cell with tests holds tests and nothing else."""
    rows = re.findall(r"^\|.*test_\w+\.py::.*$", README, re.MULTILINE)
    assert [row for row in rows if not re.search(rf"\| (`{FILE}::test_\w+` ?)+\|$", row)] == []


def test_every_quirk_has_its_row() -> None:
    rows = re.findall(r"^\| U(\d+) \|.*`test_\w+\.py::test_\w+`", README, re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 35))


def test_what_befell_others_befalls_no_row_without_a_test() -> None:
    section = README.partition("\n## What befell others\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ") and not row.startswith("| number")]
    numbers = [re.findall(r"CVE-\d{4}-\d{4,}|GHSA(?:-\w{4}){3}", row.split("|")[1]) for row in rows]
    assert len(rows) >= 25
    assert all(numbers)
    every = [number for row in numbers for number in row]
    assert len(every) == len(set(every))
    assert all(re.search(r"::test_\w+` \|$", row) and row.count("|") == 6 for row in rows)
