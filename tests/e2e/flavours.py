"""The servers of the matrix, and the pair of server and gateway that stands for each during a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.e2e.script import EMPTY_DOWNLOADS
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, start_gateway
from tests.support.servers import Server

Start = Callable[[Certificates], contextlib.AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Flavour:
    """A way to run a server.

    ``resumes``: it refuses data connections that do not resume the control session. ``upstream``: what the gateway must
    be told of it. ``lacks``: what the tests would ask of it in vain, also without a gateway between. ``fragile``: it
    ends the session whose upload was broken off, without a word.
    """

    name: str
    start: Start
    tls_version: str
    resumes: bool
    upstream: Mapping[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    fragile: bool = False


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
    Flavour("pyftpdlib-1.5", servers.pyftpdlib1, "TLSv1.3", resumes=False),
    # With TLS 1.3 its data connections break: see test_oddities.py.
    Flavour("netkit", servers.netkit, "TLSv1.2", resumes=False, upstream={"tls_max": "1.2"}),
    # It takes "-a" for a name.
    Flavour("aioftp", servers.aioftp, "TLSv1.3", resumes=False, lacks=frozenset({"LIST -a"}), fragile=True),
    # It refuses whoever offers a protocol by ALPN, and breaks off the data connection of an empty file: see
    # test_oddities.py. It never heard of REST, APPE and LIST's options.
    Flavour(
        "twisted",
        servers.twisted,
        "TLSv1.3",
        resumes=False,
        upstream={"alpn": False},
        lacks=frozenset({"REST", "APPE", EMPTY_DOWNLOADS}),
    ),
    # It says 150 only when TLS stands on the data connection, and 425 if it does not within five seconds.
    Flavour("ftp-srv", servers.ftp_srv, "TLSv1.3", resumes=False),
    Flavour("ftp-srv-implicit", lambda made: servers.ftp_srv(made, implicit=True), "TLSv1.3", resumes=False),
)

# The same as most sites run it: too slow for the whole matrix (see tests.support.programs.inetd), fit for long
# sessions.
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


def flavour(name: str) -> Flavour:
    return next(each for each in FLAVOURS + STANDALONE if each.name == name)


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
            kind = flavour(name)
            server = self._open.enter_context(kind.start(self._certificates))
            gateway = self._open.enter_context(
                start_gateway(server.url, self._certificates.ca_file, upstream=kind.upstream)
            )
            self._kept[name] = Stage(kind, server, gateway)
        stage = self._kept[name]
        stage.gateway.wait_for_sessions()  # what the test before has left is no part of the next one
        return stage
