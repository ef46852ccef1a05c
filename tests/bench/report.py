"""From figures to medians, ratios, the table and the JSON; and what we promised to reach."""

from __future__ import annotations

import math
import os
import platform
import ssl
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Results = dict[str, dict[str, dict[str, list[float]]]]
"""work → side → figure → one value a round."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked of a run, as it stands in the JSON; ``against`` is a commit."""

    rounds: int
    quick: bool
    upstream: str
    against: str | None


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
    Target("CPU per GiB, download", "down-1", "cpu_s_per_gib", "before", 1.05),
    Target("CPU per GiB, upload", "up-1", "cpu_s_per_gib", "mod_proxy", 0.75),
    Target("CPU per GiB, upload", "up-1", "cpu_s_per_gib", "stunnel", 0.95),
    Target("CPU per GiB, upload", "up-1", "cpu_s_per_gib", "before", 1.05),
    Target("wall time, 1 stream, download", "down-1", "wall_s", "mod_proxy", 0.80),
    Target("wall time, 1 stream, upload", "up-1", "wall_s", "mod_proxy", 0.80),
    Target("CPU per 1 KiB file, one session", "files-1KiB", "cpu_ms_per_file", "mod_proxy", 0.90),
    Target("CPU per 1 KiB file, one session", "files-1KiB", "cpu_ms_per_file", "before", 1.15),
    Target("latency of a 1 KiB file, one session", "files-1KiB", "latency_ms", "mod_proxy", 0.80),
    Target("latency of a 1 KiB file, one session", "files-1KiB", "latency_ms", "before", 1.08),
    Target("CPU per login+quit", "login", "cpu_ms_per_session", "mod_proxy", 0.35),
    Target("CPU per login+quit", "login", "cpu_ms_per_session", "before", 1.3),
    Target("NOOP round trip, added", "noop", "added_us", "mod_proxy", 1.0),
    Target("NOOP round trip", "noop", "round_trip_us", "before", 1.15),
    Target("CPU per NOOP", "noop", "cpu_us_per_noop", "before", 1.45),
    Target("memory per idle session", "idle", "kib_per_session", "mod_proxy", 0.06),
    Target("memory per idle session, KiB", "idle", "kib_per_session", None, 60.0),
    Target("base memory, MiB", "idle", "base_mib", None, 50.0),
    Target("base memory", "idle", "base_mib", "before", 1.0),
    Target("p99 NOOP during 8 downloads, ms", "latency", "p99_ms", None, 25.0),
    Target("p99 /healthz during downloads, ms", "probes", "p99_ms", None, 20.0),
    Target("open sessions that answer NOOP, share", "growth", "answered_share", None, 1.0, at_least=True),
    Target("CPU while most are idle, % of a core", "growth", "idle_cpu_percent", None, 1.0),
    Target("CPU per NOOP, most sessions / one", "growth", "growth_noop_us", None, 1.25),
    Target("CPU per login, most sessions / one", "growth", "growth_login_ms", None, 1.25),
    Target("CPU per file, most sessions / one", "growth", "growth_file_ms", None, 1.25),
    Target("memory kept per ended session, bytes", "churn", "bytes_per_session", None, 64.0),
    Target("memory growth in a long transfer, KiB", "big", "growth_kib", None, 1024.0),
    Target("log read as transfers, MB a CPU second", "logs", "mb_per_cpu_s_transfers", None, 40.0, at_least=True),
    Target("log read as sessions, MB a CPU second", "logs", "mb_per_cpu_s_sessions", None, 40.0, at_least=True),
    Target("memory to read a log, MiB", "logs", "peak_mib", None, 100.0),
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


def _figures(results: Results) -> list[tuple[str, ...]]:
    """All medians, and ours divided by each of the others; ``before`` has a column only when it was measured."""
    before = ("before",) if any("before" in sides for sides in results.values()) else ()
    others = (*before, "mod_proxy", "stunnel")
    rows: list[tuple[str, ...]] = [("work", "figure", "ours", *others, *(f"ours/{other}" for other in others))]
    for work, sides in results.items():
        names = list(dict.fromkeys(figure for figures in sides.values() for figure in figures))
        for figure in names:
            ours, *theirs = (medians(results, work, side).get(figure) for side in ("ours", *others))
            ratios = (
                _number(ours / other) if ours is not None and other is not None and other > 0 else "–"
                for other in theirs
            )
            rows.append((work, figure, _number(ours), *(_number(other) for other in theirs), *ratios))
    return rows


def _targets(results: Results) -> list[tuple[str, ...]]:
    """The targets whose work was run."""
    rows: list[tuple[str, ...]] = [("target", "figure", "against", "limit", "measured", "")]
    for row in judged(results):
        if row["measured"] is not None:
            sign = "≥" if row["at_least"] else "≤"
            rows.append(
                (
                    row["what"],
                    f"{row['work']} {row['figure']}",
                    row["against"] or "–",
                    f"{sign} {row['limit']:g}",
                    _number(row["measured"]),
                    "met" if row["met"] else "MISSED",
                )
            )
    return rows


def render(results: Results, failures: Mapping[str, str]) -> str:
    """The text printed at the end: all medians with ratios, the targets, the failures."""
    lines = ["", *_table(_figures(results))]
    targets = _targets(results)
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


def document(results: Results, failures: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """The same as one JSON value, with every single reading and the machine it came from."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
        },
        **asdict(settings),
        "readings": results,
        "medians": {work: {side: medians(results, work, side) for side in sides} for work, sides in results.items()},
        "targets": judged(results),
        "failures": dict(failures),
    }
