"""Whether a chained log (observe/chain.py) is whole: what of it is missing, changed, out of order or nobody's.

Lines of several processes may stand in one file, and one process's lines in several. What was lost because it could not
be written is said by the log itself; it is no gap in a chain, but the log is not whole.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftpsproxy.observe import chain
from ftpsproxy.observe.chain import Sealed

_LOST = "gateway.log_lost"
_MOST_GAPS = 10_000  # of one chain; a log with more is no log
_MOST_POSSIBLE = (
    16  # lines in a row whose own `chain` alone was changed, and the next of them is still known to be right
)
_ALONE = {"timestamp", "level", "event", "writer", "seq"}


@dataclass(slots=True)
class _Gap:
    """Lines `first` to `last` are not there yet. `before`: what the `chain` before them may be; `after`: the line
    behind them, which can only be proved with them."""

    first: int
    last: int
    before: tuple[str, ...]
    after: Sealed
    where: str


@dataclass(slots=True)
class _State:
    """One chain, as far as it was read. `before`: what the `chain` of its last line may be; `wrong`: the first and last
    of the lines that were changed, without one between them that was not, and where the first stands."""

    writer: str
    before: tuple[str, ...]
    next: int = 1
    gaps: list[_Gap] = field(default_factory=list)
    wrong: tuple[int, int, str] | None = None
    ended: bool = False


class Verifier:
    """Reads lines in the order in which they were written. `key`: that of the chain, empty for none. `open`: the log
    has a part before, and perhaps behind, what is read here: chains need no beginning and no end. The first line here
    of one that has no beginning is `unproved`: its digest is of one that is not here."""

    def __init__(self, key: bytes, *, open: bool) -> None:
        self._key = key
        self._open = open
        self._chains: dict[str, _State] = {}
        self._announced: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self.lines = 0
        self.lost = 0
        self.unproved = 0

    @property
    def chains(self) -> int:
        """How many there are."""
        return len(self._chains)

    def line(self, line: bytes, where: str) -> Iterator[str]:
        """What is wrong with it, or has shown with it, in words. `where`: the file, and the line in it."""
        if not line:
            return
        self.lines += 1
        sealed = chain.read(line)
        if sealed is None:
            yield f"{where}: of no chain: cut short, changed, or written by somebody else"
            return
        state = self._chains.get(sealed.writer)
        if state is None:
            origin = chain.origin(sealed.writer, self._key)
            state = self._chains[sealed.writer] = _State(sealed.writer, (origin,))
        if sealed.seq < state.next:
            yield from self._late(state, sealed, where)
        else:
            yield from self._ahead(state, sealed, where)
        yield from self._said(state, sealed, where)

    def _ahead(self, state: _State, sealed: Sealed, where: str) -> Iterator[str]:
        if state.ended:
            state.ended = False
            yield f"{where}: chain {state.writer}: line {sealed.seq} stands behind the chain's end"
        if sealed.seq == state.next:
            yield from self._check(state, sealed, state.before, where)
        elif len(state.gaps) < _MOST_GAPS:
            state.gaps.append(_Gap(state.next, sealed.seq - 1, state.before, sealed, where))
        else:
            yield f"{where}: chain {state.writer}: {_which(state.next, sealed.seq - 1)} missing"
        state.before = self._possible(sealed, state.before)
        state.next = sealed.seq + 1

    def _possible(self, sealed: Sealed, before: tuple[str, ...]) -> tuple[str, ...]:
        """What the next line can have been chained to: if this one's `chain` alone was changed, not to that."""
        made = [chain.digest(one, sealed.body, self._key) for one in before]
        return (sealed.chain,) if sealed.chain in made else (sealed.chain, *made)[:_MOST_POSSIBLE]

    def _late(self, state: _State, sealed: Sealed, where: str) -> Iterator[str]:
        """One that is not the next: it was missed before, or is there twice."""
        gap = next((gap for gap in state.gaps if gap.first <= sealed.seq <= gap.last), None)
        if gap is None:
            yield f"{where}: chain {state.writer}: line {sealed.seq} is there twice"
            return
        yield f"{where}: chain {state.writer}: line {sealed.seq} is out of order, behind {state.next - 1}"
        state.gaps.remove(gap)
        if gap.first < sealed.seq:
            state.gaps.append(_Gap(gap.first, sealed.seq - 1, gap.before, sealed, where))
        else:
            yield from self._check(state, sealed, gap.before, where)
        before = self._possible(sealed, gap.before if gap.first == sealed.seq else ())
        if sealed.seq < gap.last:
            state.gaps.append(_Gap(sealed.seq + 1, gap.last, before, gap.after, gap.where))
        else:
            yield from self._check(state, gap.after, before, gap.where)

    def _check(self, state: _State, sealed: Sealed, before: tuple[str, ...], where: str) -> Iterator[str]:
        if any(chain.digest(one, sealed.body, self._key) == sealed.chain for one in before):
            yield from self._wrong_ones(state)
        elif state.wrong is not None and state.wrong[1] + 1 == sealed.seq:
            state.wrong = state.wrong[0], sealed.seq, state.wrong[2]
        else:
            yield from self._wrong_ones(state)
            state.wrong = sealed.seq, sealed.seq, where

    def _wrong_ones(self, state: _State) -> Iterator[str]:
        if state.wrong is None:
            return
        first, last, where = state.wrong
        state.wrong = None
        yield f"{where}: chain {state.writer}: {_which(first, last)} changed, or not made with {self._words_of_key()}"

    def _words_of_key(self) -> str:
        return "this key" if self._key else "no key"

    def _said(self, state: _State, sealed: Sealed, where: str) -> Iterator[str]:
        """What the event itself says of the log."""
        if sealed.event == chain.ENDED:
            state.ended = True
        elif sealed.event in (chain.BEGUN, chain.FORKED, _LOST):
            said = _fields(sealed.body)
            if sealed.event == chain.FORKED:
                self._announced[str(said.get("child"))] = where
            elif sealed.event == chain.BEGUN:
                if (parent := said.get("forked_from")) is not None:
                    self._parents.setdefault(str(parent), where)
                if bool(said.get("keyed")) is not bool(self._key):
                    how = "without a key" if self._key else "with a key: give it by --chain-key"
                    yield f"{where}: chain {state.writer} was made {how}"
            elif sealed.event == _LOST:
                lost = said.get("lost")
                self.lost += lost if isinstance(lost, int) else 0
                yield f"{where}: chain {state.writer}: the log says that {lost} lines before this could not be written"

    def end(self) -> Iterator[str]:
        """There is nothing more to read: what is still wrong."""
        for state in self._chains.values():
            yield from self._wrong_ones(state)
            for gap in sorted(state.gaps, key=lambda gap: gap.first):
                at = f"{gap.where}: chain {state.writer}"
                if gap.first == 1 and self._open:
                    self.unproved += 1
                    if gap.last + 2 == state.next and not _is_plain_end(gap.after):
                        yield f"{at}: line {gap.after.seq} is the only one of it here, so that nothing proves it"
                    continue
                which = _which(gap.first, gap.last)
                yield f"{at}: {which} missing before this, whose own digest proves nothing"
            if not state.ended and not self._open:
                yield (
                    f"chain {state.writer} has no end behind line {state.next - 1}: lines are missing, "
                    "the process was killed, or it still runs (--open)"
                )
        for writer, where in self._announced.items():
            if writer not in self._chains and not self._open:
                yield f"{where}: chain {writer}, which begins there, is missing"
        for writer, where in self._parents.items():
            if writer not in self._chains and not self._open:
                yield f"{where}: chain {writer}, of the process that has started this one, is missing"


def _is_plain_end(sealed: Sealed) -> bool:
    """Whether it is the end of a chain and says nothing else, by whatever name that is there twice."""
    said = _fields(sealed.body)
    return said.get("event") == chain.ENDED and said.keys() == _ALONE


def _which(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _fields(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body + b"}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def first_moment(lines: Iterator[list[bytes]]) -> str:
    """When the first line of a chain was written; nothing, if there is none."""
    for batch in lines:
        for line in batch:
            if (sealed := chain.read(line)) is not None:
                return sealed.timestamp
    return ""
