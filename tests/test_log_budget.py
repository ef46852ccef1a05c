"""What a peer can have said again and again: so often and no more, and nothing uncounted."""

from dataclasses import dataclass, field

from ftpsproxy.observe.budget import OF_ALL, OF_CLIENT, Budget, Said
from ftpsproxy.observe.lines import Bound


@dataclass
class Book:
    """A budget, its clock, and what was said: the number of each event, and how many were left out before."""

    time: float = 100.0
    said: list[tuple[object, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(lambda said, left_out: self.said.append((said.fields["n"], left_out)), lambda: self.time)

    def events(self, client: str, numbers: range, session: Bound | None = None, event: str = "data.failed") -> None:
        for number in numbers:
            self.budget.take(client, Said("warning", event, {"n": number}, session))

    @property
    def total(self) -> int:
        return sum(1 + left_out for _, left_out in self.said)


def _session(client: str) -> Bound:
    return Bound({"session": "s", "client": client, "listener": "a", "upstream": "u"})


BURST = int(OF_CLIENT.burst)


def test_some_at_once_then_a_few_a_second() -> None:
    book, mine = Book(), _session("10.0.0.1")
    book.events("10.0.0.1", range(1000), mine)
    assert book.said == [(number, 0) for number in range(BURST)]
    book.time += 1
    book.events("10.0.0.1", range(1000, 2000), mine)
    assert book.said[BURST] == (1000, 1000 - BURST)
    assert len(book.said) == BURST + OF_CLIENT.per_second
    book.budget.sum_up(late=False)
    assert book.total == 2000
    assert book.said[-1][0] == 1999


def test_each_client_and_each_kind_has_its_own() -> None:
    book, mine = Book(), _session("10.0.0.1")
    book.events("10.0.0.1", range(BURST), mine)
    book.events("10.0.0.2", range(BURST), mine)
    book.events("10.0.0.1", range(BURST), mine, "transfer.refused")
    assert len(book.said) == 3 * BURST


def test_one_host_has_one_account_for_all_its_ipv6_addresses() -> None:
    book, mine = Book(), _session("2001:db8::1")
    for host in range(1, 5):
        book.events(f"2001:db8::{host}", range(BURST), mine)
    assert len(book.said) == BURST
    book.events("2001:db8:0:1::1", range(BURST), mine)
    for host in range(1, 5):
        book.events(f"fe80::{host}", range(BURST), mine)  # all of a link have the same /64
    assert len(book.said) == 6 * BURST


def test_the_sum_is_said_when_the_session_ends() -> None:
    book, mine, other = Book(), _session("10.0.0.1"), _session("10.0.0.1")
    book.events("10.0.0.1", range(BURST + 7), mine)
    book.budget.sum_up(other)
    assert book.total == BURST
    book.budget.sum_up(mine)
    assert book.said[-1] == (BURST + 6, 6)


def test_the_sum_is_said_once_it_is_late() -> None:
    book = Book()
    book.events("10.0.0.1", range(BURST + 7))
    book.budget.sum_up()
    assert book.total == BURST
    book.time += 10
    book.budget.sum_up()
    book.budget.sum_up()
    assert book.said[BURST:] == [(BURST + 6, 6)]


def test_a_crowd_without_sessions_has_one_account_besides() -> None:
    """From very many addresses; those that are forgotten are not uncounted."""
    book = Book()
    for number in range(20_000):
        book.events(f"10.0.{number >> 8}.{number & 255}", range(1))
    assert len(book.said) == OF_ALL.burst
    for number in range(5000):
        book.events(f"10.1.{number >> 8}.{number & 255}", range(BURST + 1), _session("x"))
    book.budget.sum_up(late=False)
    assert book.total == 20_000 + 5000 * (BURST + 1)
    assert len(book.said) < OF_ALL.burst + 5000 * BURST + 5000
