"""Systemd's own tools, as `peers.sh` has unpacked them; no systemd runs."""

from __future__ import annotations

import os

from tests.support.servers.common import program

JOURNALD, JOURNALCTL = "lib/systemd/systemd-journald", "bin/journalctl"
ANALYZE, SOCKET_ACTIVATE = "usr/bin/systemd-analyze", "usr/bin/systemd-socket-activate"


def tool(path: str) -> str:
    """One of those above."""
    return program(f"systemd/{path}")


def environment() -> dict[str, str]:
    """In which systemd-analyze finds the units that others depend on."""
    return {**os.environ, "SYSTEMD_UNIT_PATH": f"{program('systemd/lib/systemd/system')}:"}
