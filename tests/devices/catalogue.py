"""All devices."""

from __future__ import annotations

from tests.devices.embedded import EMBEDDED
from tests.devices.field import CAMERAS, PLCS, SCANNERS
from tests.devices.programs import PROGRAMS
from tests.devices.script import Device

DEVICES: tuple[Device, ...] = PROGRAMS + EMBEDDED + PLCS + SCANNERS + CAMERAS
