"""What a campaign plays on: real servers, the gateway as a process (ours, or mod_proxy), and the wires on both sides.

    client 127.0.0.1 → 127.0.0.4 wire 127.0.0.5 → gateway 127.0.0.1 → 127.0.0.2 wire 127.0.0.3 → server 127.0.0.1

Passive ports are the same on both sides of a wire, at the addresses it has; active connections come to it and go on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.cases import LISTED, SERVERS, SIZES, UPSTREAM_MODES, Case
from tests.campaign.links import Door
from tests.campaign.wire import Wire
from tests.support import servers
from tests.support.certificates import LOOPBACK_NAMES, Certificates
from tests.support.descriptors import open_descriptors
from tests.support.gateway import Gateway, _toml_table, run_gateway
from tests.support.servers import DataPorts, Server, descendants

TO_CLIENTS, AS_CLIENT = "127.0.0.4", "127.0.0.5"
TO_GATEWAY, AS_GATEWAY = "127.0.0.2", "127.0.0.3"
HERE = "127.0.0.1"
OLD = 1_000_000_000  # a listing shows the year of old files, and so never changes

TIMEOUTS: dict[str, float] = {
    "connect": 3,
    "handshake": 3,
    "reply": 4,
    "final_reply": 3,
    "login": 6,
    "idle": 3,
    "data_connect": 3,
    "client_stall": 2,
    "server_stall": 2,
    "drain": 4,
    "abort": 1,
    "linger": 1,
}
BOUND_SECONDS = 30.0
"""By then a session is over, whatever happens: three of those in a row, and a busy machine."""


def _ranges(*counts: int) -> list[tuple[int, int]]:
    """So many ports in a row each, one range behind the other: free everywhere, and below the ephemeral ones."""
    while True:
        first = random.randrange(15000, 31000 - sum(counts))
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + sum(counts)):
                    probe = held.enter_context(socket.socket())
                    probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            ends = list(itertools.accumulate(counts, initial=first))
            return [(low, high - 1) for low, high in itertools.pairwise(ends)]


@dataclass(slots=True)
class Stage:
    """Everything that runs. ``gateway`` is None for mod_proxy."""

    side: str
    folder: Path
    blob: bytes
    wire: Wire
    certificates: Certificates
    servers: dict[str, Server]
    passive: tuple[int, int]
    active: tuple[int, int]
    front_port: int = 0
    active_port: int = 0
    target: tuple[str, int] = (HERE, 0)
    client_port: int = 0
    upstream_ports: dict[str, int] = field(default_factory=dict)
    gateway: Gateway | None = None
    listings: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)
    calmed: set[tuple[str, str]] = field(default_factory=set)
    _gateway_stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    others: dict[str, tuple[int, int]] = field(default_factory=dict)  # mod_proxy: port and process by server and TLS

    def listener(self, case: Case) -> str:
        return f"{case.server}-{case.tls}-{case.upstream_mode}"

    def start_gateway(self) -> None:
        """Ours, with one listener for each server, version of TLS and mode, and one beside them for each server."""
        text = ""
        for name, server in self.servers.items():
            for tls in ("1.2", "1.3"):
                for mode in UPSTREAM_MODES:
                    key = f"{name}-{tls}-{mode}"
                    url = f"ftpes://{TO_GATEWAY}:{self.upstream_ports[name]}"
                    text += _toml_table(
                        "[[listener]]",
                        {
                            "name": key,
                            "listen": f"{HERE}:0",
                            "upstream": key,
                            "passive_ports": "{}-{}".format(*self.passive),
                            "passive_address": TO_CLIENTS,
                        },
                    )
                    text += _toml_table(
                        f'[upstream."{key}"]',
                        {
                            "url": url,
                            "ca_file": self.certificates.ca_file,
                            "tls_max": tls,
                            "data_mode": mode,
                            "active_ports": "{}-{}".format(*self.active),
                            "active_address": AS_GATEWAY,
                        },
                    )
            text += _toml_table(
                "[[listener]]", {"name": f"beside-{name}", "listen": f"{HERE}:0", "upstream": f"beside-{name}"}
            )
            text += _toml_table(
                f'[upstream."beside-{name}"]', {"url": server.url, "ca_file": self.certificates.ca_file}
            )
        text += _toml_table("[timeouts]", TIMEOUTS)
        text += _toml_table("[log]", {"format": "json", "level": "debug"})
        self.calmed.clear()
        self._gateway_stack = contextlib.ExitStack()
        self.gateway = self._gateway_stack.enter_context(run_gateway(text))

    def stop_gateway(self) -> None:
        """It ends with 0, without a traceback; or AssertionError."""
        stack, self._gateway_stack = self._gateway_stack, contextlib.ExitStack()
        self.gateway = None
        stack.close()

    def aim(self, case: Case) -> None:
        """Clients of the wire now come to the listener of this case."""
        if self.gateway is not None:
            end = self.gateway.endpoints[self.listener(case)]
            self.target = (end.host, end.port)
        else:
            self.target = (HERE, self.others[f"{case.server}-{case.tls}"][0])

    def processes(self) -> list[int]:
        """The gateway's, all of them."""
        if self.gateway is not None:
            return [self.gateway.pid]
        return [each for _, pid in self.others.values() for each in descendants(pid)]

    def descriptors(self) -> list[str]:
        """What the gateway has open, its listening sockets (which it keeps) left out."""
        assert self.gateway is not None
        return open_descriptors(self.gateway.pid)

    def verdict_of_server(self, case: Case, name: str) -> bool | None:
        """Whether the server itself calls this upload complete; None where it does not say."""
        server = self.servers[case.server]
        if case.server == "proftpd":
            log = server.log_file.parent / "transfers.log"
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            marks = [line.split()[-1] for line in lines if f"{name} " in line]
            return marks[-1] == "c" if marks else None
        for line in reversed(server.log().splitlines()):
            if f'{name}"' in line and " UPLOAD: " in line:
                return " OK UPLOAD" in line
            if f"{name} completed=" in line and "STOR" in line:
                return "completed=1" in line
        return None


@contextlib.contextmanager
def open_stage(side: str, names: tuple[str, ...] = SERVERS) -> Iterator[Stage]:
    """Start everything, and end everything."""
    with contextlib.ExitStack() as stack:
        memory = Path("/dev/shm")
        parent = memory if os.access(memory, os.W_OK) else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftpsproxy-campaign-", dir=parent)))
        blob = random.Random(1).randbytes(max(SIZES))
        (folder / "blob").write_bytes(blob)
        certificates = Certificates(folder / "certificates")
        pair = certificates.issue("campaign", names=(*LOOPBACK_NAMES, TO_GATEWAY))
        wire = stack.enter_context(Wire())
        running = {}
        passive, active, *others = _ranges(8, 60, *(16 for _ in names))
        ranges = dict(zip(names, others, strict=True))
        for name in names:
            data = DataPorts(*ranges[name], TO_GATEWAY)
            options: dict[str, Any] = {"certificate": pair, "data": data}
            if name == "proftpd":
                options |= {"protocols": "TLSv1.2 TLSv1.3", "inetd": True}
            running[name] = stack.enter_context(getattr(servers, name)(certificates, **options))
            _furnish(running[name], blob)
        stage = Stage(side, folder, blob, wire, certificates, running, passive, active)
        _open_doors(stage, ranges)
        if side == "ours":
            stage.start_gateway()
            stack.callback(lambda: stage.stop_gateway())
        else:
            from tests.campaign import rival

            stage.others = stack.enter_context(rival.running(stage))
        yield stage


def _furnish(server: Server, blob: bytes) -> None:
    """Files to fetch and directories to list."""
    owner = server.home.stat()
    for size in SIZES:
        server.put(f"down-{size}", blob[:size])
    for count in LISTED:
        folder = server.home / f"dir-{count}"
        folder.mkdir()
        for number in range(count):
            path = folder / f"f{number:05}"
            path.touch()
            os.utime(path, (OLD, OLD))
            os.chown(path, owner.st_uid, owner.st_gid)
        os.chown(folder, owner.st_uid, owner.st_gid)


def _open_doors(stage: Stage, ranges: dict[str, tuple[int, int]]) -> None:
    wire = stage.wire
    stage.front_port = wire.open(TO_CLIENTS, 0, Door("client", "control", True, lambda port: (stage.target, AS_CLIENT)))
    for port in range(stage.passive[0], stage.passive[1] + 1):
        wire.open(TO_CLIENTS, port, Door("client", "data", True, lambda port: ((HERE, port), AS_CLIENT)))
    stage.active_port = wire.open(
        AS_CLIENT, 0, Door("client", "data", False, lambda port: ((HERE, stage.client_port), TO_CLIENTS))
    )
    for name, server in stage.servers.items():
        door = Door("upstream", "control", True, lambda port, to=server.port: ((HERE, to), AS_GATEWAY))  # type: ignore[misc] # the default
        stage.upstream_ports[name] = wire.open(TO_GATEWAY, 0, door)
        for port in range(ranges[name][0], ranges[name][1] + 1):
            wire.open(TO_GATEWAY, port, Door("upstream", "data", True, lambda port: ((HERE, port), AS_GATEWAY)))
    for port in range(stage.active[0], stage.active[1] + 1):
        wire.open(AS_GATEWAY, port, Door("upstream", "data", False, lambda port: ((HERE, port), TO_GATEWAY)))
