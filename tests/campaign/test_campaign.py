"""A small campaign with a fixed seed: what `python -m tests.campaign` plays by the hundred."""

from __future__ import annotations

import itertools

import pytest

from tests.campaign.__main__ import run, settled
from tests.campaign.cases import Case, draw
from tests.campaign.judge import Verdict, judge
from tests.campaign.links import Records
from tests.campaign.play import Player
from tests.campaign.stage import open_stage

SEED = 2026
QUICK, SLOW = 33, 3


def some_cases() -> list[Case]:
    """In the order of the seed; few of those that last as long as a time limit."""
    drawn = [draw(SEED, number) for number in range(120)]
    quick = itertools.islice((case for case in drawn if not case.slow), QUICK)
    slow = itertools.islice((case for case in drawn if case.slow), SLOW)
    return [*quick, *slow]


def test_a_small_campaign() -> None:
    with open_stage("ours") as stage:
        warm_up = Case(-1, "warm-up", "vsftpd", "1.3", "epsv", "EPSV", "RETR", 1)
        assert judge(Player(stage).play(warm_up)).whole
        before = stage.descriptors()
        said: list[str] = []
        results: list[tuple[Case, Verdict]] = run(stage, some_cases(), said.append)
        leak = settled(stage, before)
    failed = [str(case) for case, verdict in results if verdict.faults]
    assert not failed, "\n".join(said) + f"\nagain: python -m tests.campaign --seed {SEED} --case NUMBER"
    assert not leak
    # Most of them strike, and what is left alone arrives.
    assert sum(verdict.fired for _, verdict in results) > QUICK // 3
    assert all(verdict.whole for case, verdict in results if case.kind == "no fault")


@pytest.mark.parametrize("step", [1, 4, 5, 6, 1000])
def test_records_are_found_in_any_pieces(step: int) -> None:
    stream = b"\x16\x03\x01\x00\x02ab" + b"\x17\x03\x03\x00\x13" + bytes(19)
    records = Records()
    for at in range(0, len(stream), step):
        records.feed(stream[at : at + step])
    assert (records.ends, records.first, records.wrong) == ([7, 31], stream[:5], False)
    assert records.close_notify


def test_clear_text_is_no_record() -> None:
    records = Records()
    records.feed(b"drwxr-xr-x 2 nobody")
    assert records.wrong


def test_a_case_is_its_seed_and_number() -> None:
    assert [draw(7, number) for number in range(50)] == [draw(7, number) for number in range(50)]
    assert len({str(draw(7, number)) for number in range(50)}) == 50
