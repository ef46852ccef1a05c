"""From figures to medians, ratios, the table and the JSON; and what we promised to reach."""

from __future__ import annotations

import math
import os
import platform
import ssl
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Results = dict[str, dict[str, dict[str, list[float]]]]
"""work → side → figure → one value a round."""


@dataclass(frozen=True, slots=True)
class Target:
    """``limit`` is the most (or the least) for our ``figure`` of ``work``, divided by that of ``against`` if named."""

    what: str
    work: str
    figure: str
    against: str | None
    limit: float
    at_least: bool = False


TARGETS = (
    Target("CPU per GiB, download", "down-1", "cpu_s_per_gib", "mod_proxy", 0.55),
    Target("CPU per GiB, download", "down-1", "cpu_s_per_gib", "stunnel", 0.95),
    Target("CPU per GiB, upload", "up-1", "cpu_s_per_gib", "mod_proxy", 0.75),
    Target("CPU per GiB, upload", "up-1", "cpu_s_per_gib", "stunnel", 0.95),
    Target("wall time, 1 stream, download", "down-1", "wall_s", "mod_proxy", 0.80),
    Target("wall time, 1 stream, upload", "up-1", "wall_s", "mod_proxy", 0.80),
    Target("CPU per 1 KiB file, one session", "files-1KiB", "cpu_ms_per_file", "mod_proxy", 0.90),
    Target("latency of a 1 KiB file, one session", "files-1KiB", "latency_ms", "mod_proxy", 0.80),
    Target("CPU per login+quit", "login", "cpu_ms_per_session", "mod_proxy", 0.35),
    Target("NOOP round trip, added", "noop", "added_us", "mod_proxy", 1.0),
    Target("memory per idle session", "idle", "kib_per_session", "mod_proxy", 0.06),
    Target("base memory, MiB", "idle", "base_mib", None, 50.0),
    Target("p99 NOOP during 8 downloads, ms", "latency", "p99_ms", None, 25.0),
    Target("open sessions that answer NOOP, share", "growth", "answered_share", None, 1.0, at_least=True),
    Target("CPU while most are idle, % of a core", "growth", "idle_cpu_percent", None, 1.0),
    Target("CPU per NOOP, most sessions / one", "growth", "growth_noop_us", None, 1.25),
    Target("CPU per login, most sessions / one", "growth", "growth_login_ms", None, 1.25),
    Target("CPU per file, most sessions / one", "growth", "growth_file_ms", None, 1.25),
    Target("memory kept per ended session, bytes", "churn", "bytes_per_session", None, 64.0),
    Target("memory growth in a long transfer, KiB", "big", "growth_kib", None, 1024.0),
)


def medians(results: Results, work: str, side: str) -> dict[str, float]:
    """The median of each figure."""
    figures = results.get(work, {}).get(side, {})
    return {figure: statistics.median(values) for figure, values in figures.items() if values}


def _value(results: Results, target: Target) -> float | None:
    ours = medians(results, target.work, "ours").get(target.figure)
    if ours is None or target.against is None:
        return ours
    theirs = medians(results, target.work, target.against).get(target.figure)
    if theirs is None:
        return None
    return ours / theirs if theirs > 0 else math.nan


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if math.isnan(value):
        return "?"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def _table(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def render(results: Results, failures: Mapping[str, str]) -> str:
    """The text printed at the end: all medians with ratios, the targets, the failures."""
    rows: list[tuple[str, ...]] = [("work", "figure", "ours", "mod_proxy", "stunnel", "ours/mod_proxy", "ours/stunnel")]
    for work, sides in results.items():
        names = list(dict.fromkeys(figure for figures in sides.values() for figure in figures))
        for figure in names:
            ours, proxy, relay = (medians(results, work, side).get(figure) for side in ("ours", "mod_proxy", "stunnel"))
            ratios = tuple(
                _number(ours / other) if ours is not None and other is not None and other > 0 else "–"
                for other in (proxy, relay)
            )
            rows.append((work, figure, _number(ours), _number(proxy), _number(relay), *ratios))
    lines = ["", *_table(rows)]
    targets: list[tuple[str, ...]] = [("target", "figure", "against", "limit", "measured", "")]
    for row in judged(results):
        if row["measured"] is not None:
            sign = "≥" if row["at_least"] else "≤"
            targets.append(
                (
                    row["what"],
                    f"{row['work']} {row['figure']}",
                    row["against"] or "–",
                    f"{sign} {row['limit']:g}",
                    _number(row["measured"]),
                    "met" if row["met"] else "MISSED",
                )
            )
    if len(targets) > 1:
        lines += ["", *_table(targets)]
    lines += [f"FAILED {where}: {why}" for where, why in failures.items()]
    return "\n".join(lines)


def judged(results: Results) -> list[dict[str, Any]]:
    """Every target with its measured value (None when its work was not run) and whether it was met."""
    rows: list[dict[str, Any]] = []
    for target in TARGETS:
        value = _value(results, target)
        met = None
        if value is not None:
            met = value >= target.limit if target.at_least else value <= target.limit
        rows.append(
            {
                "what": target.what,
                "work": target.work,
                "figure": target.figure,
                "against": target.against,
                "limit": target.limit,
                "at_least": target.at_least,
                "measured": value,
                "met": met,
            }
        )
    return rows


def document(
    results: Results, failures: Mapping[str, str], *, rounds: int, quick: bool, upstream: str
) -> dict[str, Any]:
    """The same as one JSON value, with every single reading and the machine it came from."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
        },
        "rounds": rounds,
        "quick": quick,
        "upstream": upstream,
        "readings": results,
        "medians": {work: {side: medians(results, work, side) for side in sides} for work, sides in results.items()},
        "targets": judged(results),
        "failures": dict(failures),
    }
