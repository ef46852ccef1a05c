"""What is counted: in memory that all workers share, so that nothing of it is lost or counted twice."""

import os
from pathlib import Path

from ftpsproxy.observe import metrics
from ftpsproxy.observe.metrics import FAMILIES, Kind, Table

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
    for number in range(20_000):
        metrics.TRANSFER_SECONDS.observe("a", "u", str(number), value=1.0)
    metrics.LOGINS.add("a" * 300, "u", "ok")
    metrics.SESSIONS.add("first", "u")
    found = table.collect()
    assert found[metrics.SESSIONS] == {("first", "u"): [2.0]}
    assert metrics.LOGINS not in found
    series = found[metrics.TRANSFER_SECONDS]
    assert len(series) > 500
    assert all(sum(values[:-1]) == values[-1] == 1.0 for values in series.values())


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
