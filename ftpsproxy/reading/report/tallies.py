"""Sums by name, however many names a log may hold: from a bound on, the sums of the others stand together."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ftpsproxy import errors

Event = dict[str, Any]
Key = tuple[str, ...]

_LONGEST = 200  # characters of a name


@dataclass(slots=True)
class Sums:
    """Of transfers. `broken`: files and listings that did not become whole; `refused`: those that never began."""

    files: int = 0
    listings: int = 0
    broken: int = 0
    refused: int = 0
    up: int = 0
    down: int = 0

    def add(self, other: "Sums") -> None:
        """The two together."""
        self.files += other.files
        self.listings += other.listings
        self.broken += other.broken
        self.refused += other.refused
        self.up += other.up
        self.down += other.down


Value = TypeVar("Value")


class Tally(Generic[Value]):
    """`first` makes the value of a name; `most` names have one of their own, the others share `others`."""

    def __init__(self, first: type[Value], most: int) -> None:
        self._first = first
        self._most = most
        self._of: dict[Key, Value] = {}
        self.others: Value | None = None

    def of(self, *names: Any) -> Value:
        """The value of these names together."""
        found = self._of.get(names)
        if found is not None:
            return found
        key = tuple(short(name) for name in names)
        found = self._of.get(key)
        if found is not None:
            return found
        if len(self._of) < self._most:
            found = self._of[key] = self._first()
            return found
        if self.others is None:
            self.others = self._first()
        return self.others

    def items(self) -> list[tuple[Key, Value]]:
        """Those that have one of their own."""
        return list(self._of.items())

    def __len__(self) -> int:
        return len(self._of)


class Latest:
    """The names that came last, of which so many are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> None:
        """Keep it."""
        self._known[name] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name in self._known


def short(value: object, most: int = _LONGEST) -> str:
    """What somebody has said: no longer than that, and with nothing in it that steers what shows it."""
    text = errors.printable(value[: most + 1] if isinstance(value, str) else str(value)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"
