"""The table in tests/README.md is the catalogue's."""

from __future__ import annotations

from pathlib import Path

from tests.devices.awkward import AWKWARD
from tests.devices.catalogue import DEVICES
from tests.devices.script import Connect, Finds, Pause, Reading, Send
from tests.devices.table import HEAD, rows

README = Path(__file__).parents[1] / "README.md"


def test_every_device_has_its_row() -> None:
    assert "\n".join((*HEAD, *rows())) in README.read_text(), "python -m tests.devices.table prints the new table"


def test_names_are_unique() -> None:
    assert len({device.name for device in DEVICES}) == len(DEVICES)


def test_pauses_are_short() -> None:
    """Real pauses are minutes; here a device has 0.2 s for all of them."""
    for device in DEVICES:
        pauses = sum(step.seconds for step in device.steps if isinstance(step, Pause))
        for step in device.steps:
            if isinstance(step, Send) and step.pause:
                pauses += step.pause * (device.size / step.chunk)
        assert pauses <= 0.2, device.name


def test_every_way_of_reading_has_its_device() -> None:
    assert {device.reading for device in DEVICES} == set(Reading)
    assert {step.finds for device in DEVICES for step in device.steps if isinstance(step, Connect)} == set(Finds)


def test_what_a_device_cannot_is_known() -> None:
    assert {server for device in DEVICES for server in device.cannot} <= {*AWKWARD, "pyftpdlib"}
