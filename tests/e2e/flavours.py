"""The servers of the matrix, and the pair of server and gateway that stands for each during a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, start_gateway
from tests.support.servers import Server

Start = Callable[[Certificates], contextlib.AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Flavour:
    """A way to run a server. ``resumes``: it refuses data connections that do not resume the control session."""

    name: str
    start: Start
    tls_version: str
    resumes: bool


FLAVOURS: tuple[Flavour, ...] = (
    Flavour("vsftpd", servers.vsftpd, "TLSv1.3", resumes=True),
    Flavour("vsftpd-implicit", lambda made: servers.vsftpd(made, implicit=True), "TLSv1.3", resumes=True),
    Flavour("proftpd", lambda made: servers.proftpd(made, inetd=True), "TLSv1.3", resumes=True),
    Flavour(
        "proftpd-tls12",
        lambda made: servers.proftpd(made, protocols="TLSv1.2", inetd=True),
        "TLSv1.2",
        resumes=True,
    ),
    Flavour(
        "proftpd-implicit",
        lambda made: servers.proftpd(made, implicit=True, inetd=True),
        "TLSv1.3",
        resumes=True,
    ),
    Flavour("pureftpd", servers.pureftpd, "TLSv1.3", resumes=False),
    Flavour("pyftpdlib", servers.pyftpdlib, "TLSv1.3", resumes=False),
)

# The same as most sites run it: too slow for the whole matrix (see tests.support.inetd), fit for long sessions.
STANDALONE: tuple[Flavour, ...] = (
    Flavour("proftpd-standalone", servers.proftpd, "TLSv1.3", resumes=True),
    Flavour(
        "proftpd-standalone-tls12",
        lambda made: servers.proftpd(made, protocols="TLSv1.2"),
        "TLSv1.2",
        resumes=True,
    ),
)

NAMES = tuple(flavour.name for flavour in FLAVOURS)


@dataclass(frozen=True, slots=True)
class Stage:
    """A server and a gateway in front of it."""

    flavour: Flavour
    server: Server
    gateway: Gateway

    def transfers(self, count: int, *, since: int) -> list[Event]:
        """The next ``count`` transfers after a `Gateway.mark`: all complete, over TLS as the server demands it."""
        self.gateway.wait_for_event("transfer.finished", count=count, since=since)
        found = self.gateway.events("transfer.finished", since=since)
        assert len(found) == count, found
        for event in found:
            assert event["outcome"] == "complete", event
            assert event["tls_version"] == self.flavour.tls_version, event
            if self.flavour.resumes:
                assert event["resumed"] is True, event
        return found


class Stages:
    """Starts stages on first use and keeps them; stops them, each with its own checks, at the end."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._kept: dict[str, Stage] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(self, name: str) -> Stage:
        if name not in self._kept:
            flavour = next(flavour for flavour in FLAVOURS + STANDALONE if flavour.name == name)
            server = self._open.enter_context(flavour.start(self._certificates))
            gateway = self._open.enter_context(start_gateway(server.url, self._certificates.ca_file))
            self._kept[name] = Stage(flavour, server, gateway)
        return self._kept[name]
