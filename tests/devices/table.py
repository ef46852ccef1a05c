"""The table of devices in tests/README.md, made of the catalogue: ``python -m tests.devices.table`` prints it."""

from __future__ import annotations

from tests.devices.catalogue import DEVICES

HEAD = ("| device, as in `-k` | what it does | known from | where |", "|---|---|---|---|")


def rows() -> list[str]:
    """One row a device."""
    return [
        f"| `{device.name}` | {device.does.replace('|', chr(92) + '|')} | {device.known.value} | {device.source} |"
        for device in DEVICES
    ]


if __name__ == "__main__":
    print(*HEAD, *rows(), sep="\n")
