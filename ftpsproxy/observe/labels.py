"""What tells series of metrics (metrics.py) apart: names of the configuration, and words of closed lists."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

Labels = tuple[str, ...]

Pair = tuple[str, str]
"""A listener, and an upstream that it may lead to."""


@dataclass(frozen=True, slots=True)
class Names:
    """All that labels may name of a configuration: listeners and their upstreams, and outputs of the log."""

    pairs: tuple[Pair, ...] = ()
    outputs: tuple[str, ...] = ()

    def of(self, labels: tuple[str, ...]) -> Collection[Labels]:
        """All values of these labels together."""
        columns = ("output",) if labels == ("output",) else ("listener", "upstream")
        which = [columns.index(label) for label in labels]
        rows: Iterable[Labels] = [(one,) for one in self.outputs] if columns == ("output",) else self.pairs
        return dict.fromkeys(tuple(row[one] for one in which) for row in rows)

    def __or__(self, other: "Names") -> "Names":
        return Names(tuple(dict.fromkeys(self.pairs + other.pairs)), tuple(dict.fromkeys(self.outputs + other.outputs)))
