"""The tables of tests/README.md name tests that exist, for every quirk."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
README = (FOLDER.parent / "README.md").read_text()
NAMES = re.findall(r"`(test_\w+\.py)::(test_\w+)`", README)


def test_every_named_test_exists() -> None:
    assert NAMES
    missing = [f"{file}::{name}" for file, name in NAMES if f"\ndef {name}(" not in (FOLDER / file).read_text()]
    assert not missing


def test_every_quirk_has_its_row() -> None:
    rows = re.findall(r"^\| U(\d+) \|.*`test_\w+\.py::test_\w+`", README, re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 35))
