"""What a report is, before it is shown on a terminal or as a page. Nothing in its text steers a terminal; a page has to
escape it."""

from dataclasses import dataclass
from enum import Enum


class Tone(Enum):
    """How it is to be taken."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Table:
    """`numbers`: the columns that hold some."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of time: how many became whole in it, and how many did not."""

    label: str
    whole: int
    broken: int


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and what stands below it. `each`: what a bar stands for."""

    title: str
    text: tuple[str, ...] = ()
    table: Table | None = None
    bars: tuple[Bar, ...] = ()
    each: str = ""
    tone: Tone = Tone.GOOD


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that matters, and what it counts."""

    number: str
    what: str
    tone: Tone = Tone.GOOD


@dataclass(frozen=True, slots=True)
class Document:
    """`about`: of what time, whose, made when. `verdict`: the one sentence that is read."""

    title: str
    about: tuple[str, ...]
    verdict: str
    tone: Tone
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
