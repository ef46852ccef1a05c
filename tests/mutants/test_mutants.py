"""Some hundred mutated sessions with a fixed seed: what `python -m tests.mutants` plays by the thousand."""

from __future__ import annotations

import statistics
from collections import Counter

from tests.mutants.cases import draw
from tests.mutants.judge import judge
from tests.mutants.mutations import KINDS
from tests.mutants.seen import ClientData, SeenClient, SeenServer, ServerData
from tests.mutants.stage import Result, open_stage

SEED = 2026
WARM_UP, CASES = 120, 400
MOST_GROWTH = 40.0
"""MiB between the warm-up and the end. Half of that is what any such work leaves behind in the heap once and for all; a
buffer that each case leaves would be more."""
WORST_SECONDS, MEDIAN_SECONDS = 8.0, 0.5
"""A neighbour's wait; the machine may be busy with others."""


def test_some_hundred_mutants() -> None:
    with open_stage() as stage:
        results = list(stage.play(draw(SEED, number) for number in range(WARM_UP)))
        memory, descriptors = stage.pss(), stage.descriptors()
        results += stage.play(draw(SEED, number) for number in range(WARM_UP, CASES))
        leak = stage.settled(descriptors)
        grown = stage.pss() - memory
        log = stage.gateway.text
    again = "; again: python -m tests.mutants --show --case NUMBER --seed " + str(SEED)
    assert not [f"{result.case}: {result.faults}{again}" for result in results if result.faults]
    assert "Traceback" not in log
    assert not leak
    assert grown < MOST_GROWTH
    waits = stage.waits
    assert not waits.error
    for each in (waits.noop, waits.probe):
        assert len(each) > 20
        assert max(each) < WORST_SECONDS
        assert statistics.median(each) < MEDIAN_SECONDS
    _has_struck(results)


def _has_struck(results: list[Result]) -> None:
    """Much was torn and refused, much passed: neither peer has gone deaf."""
    outcomes = Counter(
        event["outcome"] for result in results for event in result.events if event["event"] == "transfer.finished"
    )
    assert outcomes["complete"] > CASES // 3
    assert outcomes["torn"] > CASES // 20
    names = Counter(event["event"] for result in results for event in result.events)
    for name in ("upstream.failed", "session.limit", "command.refused", "upstream.reply_ignored"):
        assert names[name] > 3
    untouched = [result for result in results if not result.case.mutations and result.case.session != "blocks"]
    assert untouched
    for result in untouched:
        torn = [event for event in result.events if event.get("outcome") == "torn"]
        assert not torn


def test_a_case_is_its_seed_and_number() -> None:
    cases = [draw(7, number) for number in range(300)]
    assert cases == [draw(7, number) for number in range(300)]
    assert [case.client_steps() for case in cases[:30]] == [draw(7, number).client_steps() for number in range(30)]
    assert len({str(case) for case in cases}) == 300
    assert {mutation.kind for case in cases for mutation in case.mutations} == set(KINDS)


def test_the_judge_sees_what_is_wrong() -> None:
    """Each of these would be a fault of the gateway."""
    case = next(case for number in range(100) if (case := draw(1, number)).setting == "digest")
    complete = {"event": "transfer.finished", "verb": "STOR", "bytes": 3, "outcome": "complete", "reply": 226}
    up, down = {**complete, "direction": "upload"}, {**complete, "direction": "download"}
    torn_at_client = SeenClient(data=[ClientData(sent=bytearray(b"abc"), cut=True)])
    short = SeenClient(data=[ClientData(received=bytearray(b"ab"), ended="fin")])
    ended_well = ServerData(b"STOR", received=bytearray(b"abc"), secured=True, ended="close_notify")
    sends = ServerData(b"RETR", sent=bytearray(b"abc"), whole=b"abc")

    def faults(client: SeenClient, server: SeenServer, *events: dict[str, object]) -> int:
        return len(judge(case, client, [server], list(events)))

    hello = b"AUTH TLS\r\n\x16\x03\x01\x00\x01a"
    assert faults(SeenClient(), SeenServer(raw=bytearray(hello))) == 0
    assert faults(SeenClient(), SeenServer(raw=bytearray(b"AUTH TLS\r\nUSER a\r\n"))) == 1
    assert faults(SeenClient(), SeenServer(raw=bytearray(hello), secured=True, good_certificate=False)) == 1
    assert faults(SeenClient(), SeenServer(data=[ServerData(b"STOR", in_clear=b"abc")])) == 1
    assert faults(torn_at_client, SeenServer(data=[ended_well])) == 1
    assert faults(torn_at_client, SeenServer(), up) == 1
    assert faults(short, SeenServer(data=[sends])) == 1
    assert faults(short, SeenServer(data=[sends]), down) == 2
    assert faults(SeenClient(claims=[b"STOR x\r\n"], data=[ClientData(cut=True)]), SeenServer()) == 1
    assert faults(SeenClient(claims=[b"RETR x\r\n"], data=[ClientData(ended="reset")]), SeenServer()) == 1
    assert faults(SeenClient(), SeenServer(), {"event": "session.crashed"}) == 1
    assert faults(SeenClient(), SeenServer(), {**up, "outcome": "torn"}) == 1
