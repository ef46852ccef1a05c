"""Logged-in ftplib sessions, for tests that look closer than a client program allows."""

from __future__ import annotations

import contextlib
import ftplib
from collections.abc import Iterator

from tests.support.servers import Endpoint

SECONDS = 60.0


@contextlib.contextmanager
def logged_in(endpoint: Endpoint, *, passive: bool = True) -> Iterator[ftplib.FTP]:
    """A session at ``endpoint``, ended with QUIT if all went well."""
    with ftplib.FTP(timeout=SECONDS) as ftp:
        ftp.connect(endpoint.host, endpoint.port)
        ftp.set_pasv(passive)
        ftp.login(endpoint.user, endpoint.password)
        yield ftp


def refusal(endpoint: Endpoint) -> str:
    """What the gateway says to a login where there is no session; the connection must end with it."""
    with ftplib.FTP(timeout=SECONDS) as ftp:
        try:
            ftp.connect(endpoint.host, endpoint.port)
            ftp.sendcmd("USER anybody")
        except ftplib.Error as refused:
            assert ftp.sock is not None
            assert ftp.sock.recv(1) == b"", "the connection stays open after a refusal"
            return str(refused)
    raise AssertionError("the gateway let a session through")
