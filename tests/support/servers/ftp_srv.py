"""ftp-srv: one process for all sessions, Node's tls."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Certificates
from tests.support.servers.common import Server, ServerFailed, own_arguments, program, running, scratch

_PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "ftp_srv.js"


@contextlib.contextmanager
def ftp_srv(
    certificates: Certificates, *, host: str = "127.0.0.1", implicit: bool = False, package: str = "ftp-srv"
) -> Iterator[Server]:
    """Explicit or implicit TLS; it asks for none. ``package``: another one that took its interface over."""
    node = shutil.which("node")
    if node is None:
        raise ServerFailed("node is missing: run tests/peers.sh (or tests/run) as root first")
    modules = program("node/node_modules")
    with scratch("ftp-srv") as folder:
        os.chown(folder / "home", 0, 0)

        def command(port: int) -> list[str]:
            argv = [node, str(_PROGRAM), package, *own_arguments(folder, host, port, certificates.server)]
            return argv + (["--implicit"] if implicit else [])

        with running("ftp-srv", folder, host, implicit, command, {"NODE_PATH": modules}) as server:
            yield server


def clear_data(certificates: Certificates) -> contextlib.AbstractContextManager[Server]:
    """Says 200 to PROT P, and has its data connections in clear all the same."""
    return ftp_srv(certificates, implicit=True, package="@electerm/ftp-srv")
