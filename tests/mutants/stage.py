"""What the cases are played on: one gateway, a listener and a server for each lane, several lanes for each setting."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.process import pss_kib
from tests.mutants.beside import Waits, neighbour
from tests.mutants.cases import SETTINGS, Case
from tests.mutants.client import Client
from tests.mutants.judge import judge
from tests.mutants.seen import SeenClient, SeenServer
from tests.mutants.server import Upstream
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, _toml_table, run_gateway
from tests.support.ports import free_range

TIMEOUTS: dict[str, float] = {
    "connect": 2,
    "handshake": 2,
    "reply": 2,
    "final_reply": 2,
    "login": 5,
    "idle": 3,
    "data_connect": 2,
    "client_stall": 2,
    "server_stall": 2,
    "abort": 1,
    "linger": 1,
    "drain": 5,
}
OVER_SECONDS = 30.0
"""By then a session is over, whatever happens: several limits in a row, and a busy machine."""


@dataclass(frozen=True, slots=True)
class Result:
    """A case, what was wrong, and all that was seen of it."""

    case: Case
    faults: list[str]
    client: SeenClient
    servers: list[SeenServer]
    events: list[Event]
    seconds: float


@dataclass(slots=True)
class Stage:
    """Everything that runs."""

    gateway: Gateway
    lanes: dict[str, list[tuple[int, Upstream]]]
    waits: Waits
    quiet: BadServer
    _events: dict[str, list[Event]] = field(default_factory=dict)
    _read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def events(self, address: str) -> list[Event]:
        """What the log says of this client."""
        with self._lock:
            fresh = self.gateway.events(since=self._read)
            self._read += len(fresh)
            for event in fresh:
                self._events.setdefault(str(event.get("client")), []).append(event)
            return list(self._events.get(address, ()))

    def forget(self, address: str) -> None:
        with self._lock:
            self._events.pop(address, None)

    # The process, from outside

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.gateway.pid}/stat").exists()

    def pss(self) -> float:
        """MiB of memory that are the gateway's own."""
        return pss_kib(self.gateway.pid) / 1024

    def descriptors(self) -> Counter[str]:
        """What it has open, by kind."""
        folder = f"/proc/{self.gateway.pid}/fd"
        kinds: Counter[str] = Counter()
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                kinds[os.readlink(f"{folder}/{name}").partition(":")[0]] += 1
        return kinds

    def settled(self, most: Counter[str], seconds: float = 20.0) -> str:
        """What is open that was not, after a while; "" if nothing."""
        deadline = time.monotonic() + seconds
        while more := self.descriptors() - most:
            if time.monotonic() > deadline:
                return f"open beyond {most}: {more}"
            time.sleep(0.1)
        return ""

    # Cases

    def play(self, cases: Iterable[Case]) -> Iterator[Result]:
        """Play them on all lanes at once; results come as they are there. Raises what went wrong in our own peers."""
        waiting: dict[str, queue.SimpleQueue[Case | None]] = {name: queue.SimpleQueue() for name in self.lanes}
        results: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
        all_ = list(cases)
        for case in all_:
            waiting[case.setting].put(case)
        threads = []
        for name, lanes in self.lanes.items():
            for lane in lanes:
                waiting[name].put(None)
                threads.append(threading.Thread(target=self._lane, args=(lane, waiting[name], results)))
        for thread in threads:
            thread.start()
        try:
            for _ in all_:
                result = results.get(timeout=300)
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            for queue_ in waiting.values():
                with contextlib.suppress(queue.Empty):
                    while True:
                        queue_.get_nowait()
                for _ in threads:
                    queue_.put(None)
            for thread in threads:
                thread.join(120)

    def _lane(
        self,
        lane: tuple[int, Upstream],
        waiting: queue.SimpleQueue[Case | None],
        results: queue.SimpleQueue[Result | BaseException],
    ) -> None:
        while (case := waiting.get()) is not None:
            try:
                results.put(self._one(case, *lane))
            except BaseException as error:
                error.add_note(str(case))
                results.put(error)

    def _one(self, case: Case, port: int, upstream: Upstream) -> Result:
        began = time.monotonic()
        self.forget(case.address)
        upstream.play(case)
        client = Client(case, port).play()
        late = self._late(case)
        servers = upstream.over()
        events = self.events(case.address)
        self.forget(case.address)
        faults = [*late, *judge(case, client, servers, events)]
        if not self.alive:
            faults.append("the gateway is dead")
        return Result(case, faults, client, servers, events, time.monotonic() - began)

    def _late(self, case: Case) -> list[str]:
        """Wait for the session's end."""
        deadline = time.monotonic() + OVER_SECONDS
        while True:
            names = Counter(event["event"] for event in self.events(case.address))
            opened = names["session.opened"]
            if names["session.unused"] or (opened and opened == names["session.closed"]):
                return [] if opened + names["session.unused"] == 1 else [f"{opened} sessions"]
            if time.monotonic() > deadline:
                return [f"the session is not over {OVER_SECONDS:.0f} s after its client: {names}"]
            time.sleep(0.02)


@contextlib.contextmanager
def open_stage(lanes: int = 3) -> Iterator[Stage]:
    """`lanes` for each setting."""
    with contextlib.ExitStack() as stack:
        certificates = Certificates(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        for name in ("server", "expired", "wrong_host", "unknown_authority", "self_signed"):
            getattr(certificates, name)  # made here, where nobody else makes them at the same time
        pair = certificates.server
        quiet = stack.enter_context(BadServer(pair.certificate_file, pair.key_file))
        upstreams: dict[str, Upstream] = {}
        low, high = free_range(12)
        text = _toml_table("[[listener]]", {"name": "quiet", "listen": "127.0.0.1:0", "upstream": "quiet"})
        text += _toml_table(
            "[upstream.quiet]", {"url": f"ftpes://127.0.0.1:{quiet.port}", "ca_file": certificates.ca_file}
        )
        for setting, told in SETTINGS.items():
            for lane in range(lanes):
                name = f"{setting}-{lane}"
                upstream = stack.enter_context(Upstream(certificates, implicit=bool(told.get("implicit"))))
                upstreams[name] = upstream
                text += _lane_settings(name, told, upstream, certificates, f"{low}-{high}")
        text += _toml_table("[limits]", {"sessions_per_client": 1000})
        text += _toml_table("[timeouts]", TIMEOUTS)
        text += _toml_table("[log]", {"format": "json", "level": "debug"})
        text += _toml_table("[admin]", {"listen": "127.0.0.1:0"})
        gateway = stack.enter_context(run_gateway(text))
        probe = gateway.events("gateway.ready")[0]["admin"]
        waits = stack.enter_context(neighbour(gateway.endpoints["quiet"].port, probe))
        found: dict[str, list[tuple[int, Upstream]]] = {}
        for name, upstream in upstreams.items():
            found.setdefault(name.rpartition("-")[0], []).append((gateway.endpoints[name].port, upstream))
        yield Stage(gateway, found, waits, quiet)


def pair_ca(certificates: Certificates) -> Path:
    return certificates.ca_file


def _lane_settings(
    name: str, told: dict[str, object], upstream: Upstream, certificates: Certificates, ports: str
) -> str:
    scheme = "ftps" if told.get("implicit") else "ftpes"
    listener: dict[str, Any] = {"name": name, "listen": "127.0.0.1:0", "upstream": name, "passive_ports": ports}
    table: dict[str, Any] = {"url": f"{scheme}://127.0.0.1:{upstream.port}", "ca_file": certificates.ca_file}
    if "digest" in told:
        listener["digest"] = told["digest"]
    table |= {key: value for key, value in told.items() if key not in ("digest", "implicit")}
    return _toml_table("[[listener]]", listener) + _toml_table(f"[upstream.{name}]", table)
