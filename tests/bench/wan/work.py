"""``--work wan``: what a client waits for where the server is far away, and how much of it a gateway spares it."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from collections.abc import Iterator, Mapping

from tests.bench import peers
from tests.bench.driver import Numbers
from tests.bench.peers import Ground, Installation
from tests.bench.wan.clients import CLIENTS, SMALL_BYTES, SMALL_FILES, Client, Files, Target
from tests.bench.wan.networks import FAR, NEAR, Way, joined

NATIVE = "native"
# What is done, how often in the longer and in the shorter session; the difference is of one more.
_MORE = {"up": (5, 1), "down": (5, 1), "list": (5, 1)}
_SESSIONS = {"login and quit": ("up", 0), "session for one upload": ("up", 1), "session for 100 uploads": ("up", 100)}
_BULK = ("big-up", "big-down")

Readings = dict[str, dict[str, list[float]]]
"""Seconds, by work and then by side."""


def measure(made: Ground, way: Way, rounds: int, ours: Mapping[str, Installation]) -> Readings:
    """Each client, each work, natively and by each gateway, in turn. From here on this process is in a network of its
    own. Raises BenchError."""
    files = _make(made)
    found: Readings = {}
    with contextlib.ExitStack() as stack:
        networks = stack.enter_context(joined(made, way))
        with networks.far():
            upstream = stack.enter_context(peers.proftpd(made, host=FAR, any_session=True))
        sides = dict(_sides(stack, made, upstream, ours))
        for number in range(rounds):
            for name, client in CLIENTS.items():
                for side, target in sides.items():
                    for work, seconds in _readings(client, target, files).items():
                        found.setdefault(f"{name}: {work}", {}).setdefault(side, []).append(seconds)
                    print(f"wan {name} {side} [{number + 1}]", file=sys.stderr, flush=True)
    return found


def _make(made: Ground) -> Files:
    folder = made.path("small")
    folder.mkdir()
    (made.data / "down").mkdir()
    for number in range(SMALL_FILES):
        content = os.urandom(SMALL_BYTES)
        (folder / f"f{number}").write_bytes(content)
        (made.data / "down" / f"f{number}").write_bytes(content)
    size = made.sizes.bulk_bytes // 16  # 64 MiB
    bulk = made.path("to-send")
    for path in (bulk, made.data / "bulk"):
        with path.open("wb") as file:
            file.truncate(size)
    return Files(folder, bulk, size)


def _sides(
    stack: contextlib.ExitStack, made: Ground, upstream: int, ours: Mapping[str, Installation]
) -> Iterator[tuple[str, Target]]:
    yield NATIVE, Target(FAR, upstream, made.tls.authority)
    for name, which in ours.items():
        yield name, Target("127.0.0.1", stack.enter_context(peers.ours(made, upstream, which, host=FAR)).port)
    yield (
        "mod_proxy",
        Target("127.0.0.1", stack.enter_context(peers.mod_proxy(made, upstream, host=FAR, source=NEAR)).port),
    )


def _readings(client: Client, target: Target, files: Files) -> Numbers:
    found: Numbers = {}
    for what, (most, least) in _MORE.items():
        more = client(target, files, what, most) - client(target, files, what, least)
        found[f"one more {what}"] = more / (most - least)
    for name, (what, count) in _SESSIONS.items():
        found[name] = client(target, files, what, count)
    for what in _BULK:
        found[what] = client(target, files, what, 1)
    return found


def render(found: Readings, way: Way) -> str:
    """A table: medians, in round trips, and in seconds where it is bytes that take the time."""
    sides = list(next(iter(found.values())))
    rows = [["", *sides]]
    for work, readings in found.items():
        row = [work]
        for side in sides:
            seconds = statistics.median(readings[side])
            round_trips = f"{seconds / (way.rtt_ms / 1000):.1f} RTT" if way.rtt_ms else ""
            row.append(f"{seconds:.2f} s" if work.endswith(_BULK) else round_trips or f"{seconds * 1000:.1f} ms")
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides) + 1)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    bad = f", {way.loss_percent:g} % lost" if way.loss_percent else ""
    rate = f", {way.rate_mbit:g} Mbit/s" if way.rate_mbit else ""
    return f"A way of {way.rtt_ms:g} ms round trip{bad}{rate}:\n\n" + "\n".join(lines)
