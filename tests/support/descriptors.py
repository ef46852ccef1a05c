"""What a process has open."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_LISTENING = "0A"


def open_descriptors(pid: int) -> list[str]:
    """Where its descriptors lead, its listening TCP sockets left out: the gateway keeps those of passive ports."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                listening.add(f"socket:[{fields[9]}]")
    found = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            target = os.readlink(f"{folder}/{name}")
            if target not in listening:
                found.append(target)
    return sorted(found)
