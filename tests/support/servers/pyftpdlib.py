"""pyftpdlib: one process for all sessions, PyOpenSSL; today's, and the generation before it, which many still run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from tests.support.certificates import Certificates, KeyPair
from tests.support.servers.common import DataPorts, Server, own_arguments, program, running, scratch


@contextlib.contextmanager
def pyftpdlib(
    certificates: Certificates | None,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    data: DataPorts | None = None,
    package: str | None = None,
) -> Iterator[Server]:
    """TLS required on both channels, or a plaintext server if there are no certificates at all.

    ``package`` is a directory with another version of it, instead of the one that is installed.
    """
    with scratch("pyftpdlib") as folder:
        os.chown(folder / "home", 0, 0)
        pair = certificate or (certificates.server if certificates else None)

        def command(port: int) -> list[str]:
            argv = [sys.executable, "-m", "tests.support.programs.pyftpd", *own_arguments(folder, host, port, pair)]
            if data is not None:
                argv += ["--passive-ports", f"{data.first}-{data.last}", "--passive-address", data.address]
            return argv

        environment = {"PYTHONPATH": package} if package else {}
        with running("pyftpdlib", folder, host, False, command, environment) as server:
            yield server


def pyftpdlib1(certificates: Certificates) -> contextlib.AbstractContextManager[Server]:
    """Version 1.5: on asyncore, and the TLS of a time that knew only 1.2."""
    return pyftpdlib(certificates, package=program("pyftpdlib1"))


def plaintext(*, host: str = "127.0.0.1") -> contextlib.AbstractContextManager[Server]:
    """A server without TLS, to prove the client scripts themselves."""
    return pyftpdlib(None, host=host)
