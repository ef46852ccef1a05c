"""What is counted: in memory that all workers share, so that nothing of it is lost or counted twice."""

import itertools
import os
import re
from pathlib import Path

import pytest

from ftpsproxy.observe import metrics
from ftpsproxy.observe.fields import DATA_CAUSES, SIDES
from ftpsproxy.observe.labels import Labels, Names
from ftpsproxy.observe.metrics import FAMILIES, Family, Kind, Table, TooManySeries

README = Path(__file__).parents[1] / "README.md"


def test_rows_are_added_up() -> None:
    table = Table(3)
    for row in range(3):
        metrics.count_in(table, row)
        metrics.TRANSFERS.add("a", "u", "download", "complete")
        metrics.TRANSFERS.add("a", "u", "download", "complete", by=row)
        metrics.TRANSFER_BYTES.meter("a", "u", "upload").add(1 << 40)
    found = table.collect()
    assert found[metrics.TRANSFERS] == {("a", "u", "download", "complete"): [6.0]}
    assert found[metrics.TRANSFER_BYTES] == {("a", "u", "upload"): [3.0 * (1 << 40)]}


def test_the_newest_value_counts() -> None:
    table = Table(3)
    for row, value in ((2, 1.0), (0, 2.0), (1, 3.0), (0, 4.0)):
        metrics.count_in(table, row)
        metrics.UPSTREAM_EXPIRY.set("u", value=value)
    assert table.collect()[metrics.UPSTREAM_EXPIRY][("u",)][0] == 4.0


def test_a_bucket_holds_its_limit() -> None:
    table = Table()
    metrics.count_in(table)
    family = metrics.UPSTREAM_SECONDS
    for value in (*family.buckets, 0.0, family.buckets[-1] + 1):
        family.observe("u", value=value)
    *buckets, total = table.collect()[family][("u",)]
    assert buckets == [2.0] + [1.0] * len(family.buckets)
    assert total == sum(family.buckets) + family.buckets[-1] + 1


def test_a_lost_worker_leaves_what_it_counted_and_takes_what_it_had() -> None:
    table = Table(2)
    metrics.count_in(table, 0)
    metrics.SESSIONS_OPEN.add("a", "u")
    metrics.count_in(table, 1)
    for family in (metrics.SESSIONS, metrics.SESSIONS_OPEN, metrics.SESSIONS):
        family.add("a", "u")
    assert [row.pid for row in table.rows] == [os.getpid()] * 2
    table.rows[1].end()
    assert [row.pid for row in table.rows] == [os.getpid(), 0]
    found = table.collect()
    assert (found[metrics.SESSIONS], found[metrics.SESSIONS_OPEN]) == ({("a", "u"): [2.0]}, {("a", "u"): [1.0]})
    metrics.count_in(table, 1)  # the one in its place goes on
    metrics.SESSIONS.add("a", "u")
    metrics.SESSIONS.add("b", "u")
    assert table.collect()[metrics.SESSIONS] == {("a", "u"): [3.0], ("b", "u"): [1.0]}


def test_more_series_than_there_is_room_for_harm_no_other() -> None:
    table = Table()
    metrics.count_in(table)
    metrics.SESSIONS.add("first", "u")
    for number in range(30_000):
        metrics.TRANSFER_SECONDS.observe("a", "u", str(number), value=1.0)
    metrics.LOGINS.add("a" * 10_000_000, "u", "ok")
    metrics.SESSIONS.add("first", "u")
    found = table.collect()
    assert found[metrics.SESSIONS] == {("first", "u"): [2.0]}
    assert metrics.LOGINS not in found
    series = found[metrics.TRANSFER_SECONDS]
    assert len(series) > 20_000
    assert all(sum(values[:-1]) == values[-1] == 1.0 for values in series.values())


PAIRS = (("a", "u"), ("b", "u"), ("b", "v"))
NAMES = Names(PAIRS, ("disk", "siem"))


def shown(table: Table) -> dict[Family, dict[Labels, list[float]]]:
    """What scrapers see."""
    return {family: {labels: list(values) for labels, values in series} for family, series in table.shown()}


def test_all_that_there_can_be_is_there_from_the_start() -> None:
    table = Table(2)
    metrics.count_in(table)
    table.names = NAMES
    found = shown(table)
    assert list(found) == list(FAMILIES.values())
    assert found[metrics.SESSIONS] == {pair: [0.0] for pair in PAIRS}
    assert found[metrics.SESSIONS_WAITING] == {("u",): [0.0], ("v",): [0.0]}
    assert found[metrics.RELOADS] == found[metrics.REPLACEMENTS] == {("ok",): [0.0], ("failed",): [0.0]}
    assert found[metrics.STARVED] == {(): [0.0]}
    assert found[metrics.LOG_OUTPUT_LINES_LOST] == {("disk",): [0.0], ("siem",): [0.0]}
    assert found[metrics.TRANSFER_SECONDS]["b", "v", "upload"] == [0.0] * metrics.TRANSFER_SECONDS.width
    assert {labels[2:] for labels in found[metrics.DATA_FAILURES]} == set(itertools.product(SIDES, DATA_CAUSES))
    assert found[metrics.UPSTREAM_EXPIRY] == {}, "an alert would take 0 for 1970"
    assert table.collect() == {}, "they take no room"


def test_what_was_counted_takes_the_place_of_its_zero() -> None:
    table = Table()
    metrics.count_in(table)
    metrics.SESSIONS.add("old", "u")
    metrics.SESSIONS.add("b", "v")
    table.names = NAMES
    assert shown(table)[metrics.SESSIONS] == {("a", "u"): [0], ("b", "u"): [0], ("b", "v"): [1], ("old", "u"): [1]}


def test_there_is_room_for_all_that_the_settings_make_possible() -> None:
    pairs = tuple((f"listener {number} of many", "ünïcödé" * 4) for number in range(2000))
    names = Names(pairs, ("disk",))
    table = Table(names=names)
    metrics.count_in(table)
    table.know(names)
    table.names = names
    count = 0
    for family in FAMILIES.values():
        for labels in family.possible(names):
            count += 1
            if family.kind is Kind.LATEST:
                family.set(*labels, value=1.0)
            else:
                family.add(*labels)
    assert sum(len(series) for series in table.collect().values()) == count
    room = [family.room(names) for family in FAMILIES.values()]
    row = table.rows[0]
    used = int(row.cells[metrics._FREE]) - metrics._FIRST, int(row.cells[metrics._KEYS_END])
    assert used == (sum(cells for cells, _ in room), sum(keys for _, keys in room)), "it is told to the byte"


def test_settings_that_make_too_many_possible_are_refused_and_change_nothing() -> None:
    table = Table(names=NAMES)
    many = tuple((f"listener{number}", f"server{number}") for number in range(5000))
    with pytest.raises(TooManySeries, match=r"5003 pairs of listener and upstream .* start the gateway anew"):
        table.know(Names(many))
    table.know(Names(many[:1000]))
    table.know(NAMES)
    Table(names=Names(many)).know(Names(many))  # a new start has room


def test_a_table_takes_memory_only_for_what_was_counted() -> None:
    def resident() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"RssShmem:\s+(\d+) kB", status)[0])

    before = resident()
    table = Table(16, NAMES)
    metrics.count_in(table)
    table.know(NAMES)
    table.names = NAMES
    shown(table)
    assert resident() - before <= 16 * 8, "a page or two for each process"


def test_names_are_as_scrapers_want_them() -> None:
    for name, family in FAMILIES.items():
        assert name.startswith("ftpsproxy_")
        assert not name.endswith("_total"), "the exposition adds that"
        assert list(family.buckets) == sorted(family.buckets)
        assert family.text.endswith(".")


def test_the_readme_explains_every_one() -> None:
    text = README.read_text()
    for name, family in FAMILIES.items():
        if family is metrics.CPU_OF_LOST:
            continue  # a part of process_cpu_seconds_total
        shown = name.removeprefix("ftpsproxy_") + ("_total" if family.kind is Kind.COUNTER else "")
        (line,) = (line for line in text.splitlines() if f"`{shown}`" in line and line.startswith("|"))
        assert all(f"`{label}`" in line for label in family.labels), name
