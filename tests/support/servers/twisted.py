"""Twisted: one process for all sessions, PyOpenSSL over memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from tests.support.certificates import Certificates
from tests.support.servers.common import Server, own_arguments, running, scratch


@contextlib.contextmanager
def twisted(certificates: Certificates, *, host: str = "127.0.0.1") -> Iterator[Server]:
    """Implicit TLS on both channels."""
    with scratch("twisted") as folder:
        os.chown(folder / "home", 0, 0)
        program = [sys.executable, "-m", "tests.support.programs.twistedftpd"]

        def command(port: int) -> list[str]:
            return [*program, *own_arguments(folder, host, port, certificates.server)]

        with running("twisted", folder, host, True, command) as server:
            yield server
