"""HAProxy as a process."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import end_process
from tests.support.servers.common import program


@contextlib.contextmanager
def haproxy(config: Path, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """HAProxy with this configuration; its log goes to `log`. In the end it may end its connections first."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program("usr/sbin/haproxy"), "-db", *options, "-f", str(config)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGUSR1)  # it ends once its connections have
        process.wait(30)
    finally:
        end_process(process)
