"""Metrics as scrapers read them: Prometheus' text format 0.0.4, and OpenMetrics 1.0.

In parts, so that sessions have their turn between them: a gateway of many servers has a hundred thousand series, and a
library that writes them one after the other takes seconds for that, in which nobody is served.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from ftpsproxy.observe.labels import Labels
from ftpsproxy.observe.metrics import Family, Kind

Shown = Iterable[tuple[Family, Iterable[tuple[Labels, Sequence[float]]]]]
"""Families, and their series, each with what its cells hold."""

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
Written = Callable[[Labels, Sequence[float]], str]
"""How one series of a family is written."""
_PART_SERIES = 250  # a millisecond
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def parts(shown: Shown, *, open_metrics: bool) -> Iterator[bytes]:
    """All of them, some hundred series at a time."""
    lines: list[str] = []
    for family, series in shown:
        lines.append(_head(family, open_metrics=open_metrics))
        written = _histogram(family) if family.kind is Kind.HISTOGRAM else _value(family)
        for labels, values in series:
            lines.append(written(labels, values))
            if len(lines) >= _PART_SERIES:
                yield "".join(lines).encode()
                lines.clear()
    yield "".join([*lines, "# EOF\n"] if open_metrics else lines).encode()


def _head(family: Family, *, open_metrics: bool) -> str:
    kind = {Kind.LATEST: "gauge", Kind.INFO: "info" if open_metrics else "gauge"}.get(family.kind, family.kind.value)
    name = family.name if open_metrics else family.name + _SUFFIXES.get(family.kind, "")
    return f"# HELP {name} {family.text}\n# TYPE {name} {kind}\n"


_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def _value(family: Family) -> Written:
    line = f"{family.name}{_SUFFIXES.get(family.kind, '')}{_braced(_pattern(family))} "

    def written(labels: Labels, values: Sequence[float]) -> str:
        return f"{line % tuple(map(_escaped, labels))}{values[0]!r}\n"

    return written


def _histogram(family: Family) -> Written:
    pattern = _pattern(family)
    limits = [f'{pattern},le="{limit}"'.lstrip(",") for limit in (*family.buckets, "+Inf")]
    lines = "".join(f"{family.name}_bucket{{{one}}} %%r\n" for one in limits)
    lines += f"{family.name}_count{_braced(pattern)} %%r\n{family.name}_sum{_braced(pattern)} %%r\n"

    def written(labels: Labels, values: Sequence[float]) -> str:
        totals = tuple(itertools.accumulate(values[:-1]))
        # Label by label, a second time the values: no name of the configuration is a pattern.
        ours = tuple(one.replace("%", "%%") for one in map(_escaped, labels))
        return lines % (ours * (len(limits) + 2)) % (*totals, totals[-1], values[-1])

    return written


def _pattern(family: Family) -> str:
    return ",".join(f'{label}="%s"' for label in family.labels)


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


@functools.lru_cache(1024)
def _escaped(label: str) -> str:
    return label.translate(_ESCAPES)
