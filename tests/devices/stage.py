"""Where devices are played: in front of a real server, and in front of the scripted one of the fault tests."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.devices.player import Player
from tests.devices.script import Device
from tests.faults.stage import Stage
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, start_gateway
from tests.support.servers import Server

PATIENCE = 30.0

# Awkward servers, and devices that are switched off, each have a gateway of their own: one remembers what its server
# does not know, the other is in a hurry.
_SETTINGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "hasty": {"timeouts": {"client_stall": 1}},
}


@dataclass(frozen=True, slots=True)
class RealStage:
    """vsftpd and a gateway in front of it."""

    server: Server
    gateway: Gateway

    def closed(self, since: int, count: int) -> list[Event]:
        """All events since then, once so many sessions are closed."""
        self.gateway.wait_for_event("session.closed", PATIENCE, count=count, since=since)
        return self.gateway.events(since=since)


def place(server: Server, player: Player, device: Device, whole: bytes) -> None:
    """What a device needs at a real server: its folders, and the file it fetches."""
    owner = server.home.stat()
    for folder in device.folders:
        path = server.home / player.fill(folder).decode()
        path.mkdir()
        os.chown(path, owner.st_uid, owner.st_gid)
    if device.fetches:
        server.put(player.fill(device.fetches).decode(), whole)


def landed(server: Server, path: bytes, whole: bytes) -> bytes:
    """A file at a real server, waited for: some devices leave before it is there."""
    file = server.home / path.decode()
    until = time.monotonic() + PATIENCE
    while not (file.exists() and file.stat().st_size >= len(whole)) and time.monotonic() < until:
        time.sleep(0.01)
    return file.read_bytes()


class ScriptedStages:
    """A gateway and a scripted server by name, started on first use."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._kept: dict[str, Stage] = {}
        self._begun: list[Stage] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(self, name: str) -> Stage:
        if name not in self._kept:
            pair = self._certificates.server
            server = self._open.enter_context(BadServer(pair.certificate_file, pair.key_file))
            gateway = self._open.enter_context(
                start_gateway(
                    f"ftpes://127.0.0.1:{server.port}",
                    self._certificates.ca_file,
                    **_SETTINGS.get(name, {}),
                )
            )
            self._kept[name] = Stage(gateway, server, self._certificates)
        stage = self._kept[name]
        stage.begin()
        self._begun.append(stage)
        return stage

    def end_test(self) -> None:
        begun, self._begun = self._begun, []
        for stage in begun:
            stage.end()
