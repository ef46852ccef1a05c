"""pyftpdlib: one process for all sessions, PyOpenSSL."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from tests.support.certificates import Certificates, KeyPair
from tests.support.servers.common import DataPorts, Server, own_arguments, running, scratch


@contextlib.contextmanager
def pyftpdlib(
    certificates: Certificates | None,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """TLS required on both channels, or a plaintext server if there are no certificates at all."""
    with scratch("pyftpdlib") as folder:
        os.chown(folder / "home", 0, 0)
        pair = certificate or (certificates.server if certificates else None)

        def command(port: int) -> list[str]:
            argv = [sys.executable, "-m", "tests.support.programs.pyftpd", *own_arguments(folder, host, port, pair)]
            if data is not None:
                argv += ["--passive-ports", f"{data.first}-{data.last}", "--passive-address", data.address]
            return argv

        with running("pyftpdlib", folder, host, False, command) as server:
            yield server


def plaintext(*, host: str = "127.0.0.1") -> contextlib.AbstractContextManager[Server]:
    """A server without TLS, to prove the client scripts themselves."""
    return pyftpdlib(None, host=host)
