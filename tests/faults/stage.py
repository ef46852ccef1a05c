"""The stage of a fault test: one gateway process, one misbehaving server behind it, the gateway's log at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates, KeyPair
from tests.support.gateway import Event, Gateway

PATIENCE = 20.0
FILE = b"".join(b"%07d\n" % number for number in range(40_000))
"""320,000 bytes, no two parts alike."""


class Stage:
    """What a test works with. Events are those since the test began."""

    def __init__(
        self,
        gateway: Gateway,
        server: BadServer,
        certificates: Certificates,
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.facts = facts
        self.gateway = gateway
        self.server = server
        self.certificates = certificates
        self._mark = 0

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.gateway.endpoint.port

    def begin(self) -> None:
        """Start a test: a well-behaved server with one file, no events yet."""
        self.play(Quirks())
        self._mark = self.gateway.mark()

    def play(
        self, quirks: Quirks, files: Mapping[bytes, bytes] | None = None, *, certificate: KeyPair | None = None
    ) -> None:
        """Have the server behave like this, with this certificate (default: the good one)."""
        pair = certificate or self.certificates.server
        self.server.play(
            quirks,
            {b"file": FILE} if files is None else files,
            certificate=(pair.certificate_file, pair.key_file),
        )

    def client(self, **options: Any) -> BadClient:
        """Return a client whose greeting has been read."""
        return BadClient(self.port, **options)

    def logged_in(self, **options: Any) -> BadClient:
        """Return a client that has logged in."""
        client = self.client(**options)
        try:
            client.login()
        except BaseException:
            client.close()
            raise
        return client

    def events(self, name: str | None = None) -> list[Event]:
        """Return the events of this test so far."""
        return self.gateway.events(name, since=self._mark)

    def event(self, name: str, count: int = 1) -> Event:
        """Wait for the `count`-th such event of this test and return it."""
        self.wait(lambda: len(self.events(name)) >= count, f"event {name} ({count})")
        return self.events(name)[count - 1]

    def wait(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Poll until the condition holds. Raises AssertionError that holds the log of this test."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}; the log:\n" + "\n".join(map(str, self.events())))
            time.sleep(0.02)

    def end(self) -> None:
        """End a test: every session the gateway opened is closed by now or soon, and none of them crashed."""
        self.server.release()

        def all_closed() -> bool:
            return len(self.events("session.closed")) >= len(self.events("session.opened"))

        self.wait(all_closed, "the end of all sessions")
        assert not self.events("session.crashed")
        assert "Traceback" not in self.gateway.text
        assert "ResourceWarning" not in self.gateway.text  # a socket nobody closed
