"""Random faults between real programs and the gateway; every transfer is judged by what the wires saw.

python -m tests.campaign [--cases N] [--seed S] [--side ours|mod_proxy] [--case NUMBER ...] [--json FILE]

Run as root, after tests/peers.sh (tests/run does that). Exit code 1 if anything happened that must not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.campaign.cases import Case, draw
from tests.campaign.judge import Verdict, judge
from tests.campaign.play import Player
from tests.campaign.stage import Stage, open_stage

COLUMNS = (
    "torn_as_whole",
    "reset_as_whole",
    "corrupt",
    "whole_as_torn",
    "hung",
    "traceback",
    "disturbed",
    "plaintext",
)


def run(stage: Stage, cases: Iterable[Case], tell: Callable[[str], None]) -> list[tuple[Case, Verdict]]:
    """Play and judge them one by one."""
    player = Player(stage)
    results = []
    for case in cases:
        started = time.monotonic()
        played = player.play(case)
        verdict = judge(played)
        player.forget(case)
        results.append((case, verdict))
        mark = "fired" if verdict.fired else "-"
        tell(f"{time.monotonic() - started:5.1f} s {mark:5} {case}")
        for what, why in verdict.faults.items():
            tell(f"    *** {what}: {why}")
        for what, why in verdict.notes.items():
            tell(f"    ... {what}: {why}")
    return results


def settled(stage: Stage, before: list[str], seconds: float = 10.0) -> str:
    """What the gateway still has open that it had not before; "" if nothing."""
    deadline = time.monotonic() + seconds
    while True:
        after = stage.descriptors()
        if len(after) == len(before):
            return ""
        if time.monotonic() > deadline:
            return f"{len(before)} descriptors have become {len(after)}: {Counter(after) - Counter(before)}"
        time.sleep(0.1)


def table(results: list[tuple[Case, Verdict]], key: Callable[[Case], str]) -> str:
    """Counts by some key of the cases."""
    rows: dict[str, Counter[str]] = {}
    for case, verdict in results:
        for name in (key(case), "total"):
            row = rows.setdefault(name, Counter())
            row["cases"] += 1
            row["fired"] += verdict.fired
            row["notes"] += bool(verdict.notes)
            row.update(dict.fromkeys(verdict.faults, 1))
    columns = ("cases", "fired", *COLUMNS, "notes")
    width = max(map(len, rows)) + 2
    # Two lines of headings: "torn_as_whole" as "torn" over "as whole".
    heads = [name.replace("_", " ").partition(" ")[::2] for name in columns]
    lines = [" " * width + "".join(f"{head[row]:>11}" for head in heads) for row in (0, 1)]
    for name in sorted(rows, key=lambda name: (name == "total", name)):
        lines.append(f"{name:<{width}}" + "".join(f"{rows[name][column]:>11}" for column in columns))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", choices=("ours", "mod_proxy"), default="ours")
    parser.add_argument("--case", type=int, action="append", help="only this number of the seed; may be repeated")
    parser.add_argument("--kind", default="", help="only cases whose kind contains this text")
    parser.add_argument("--verb", default="", help="only cases of this command")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    started = time.monotonic()
    drawn = (draw(options.seed, number, options.side) for number in options.case or itertools.count())
    wanted = (case for case in drawn if options.kind in case.kind and options.verb in case.verb)
    cases = list(itertools.islice(wanted, options.cases))
    leak = ""
    with open_stage(options.side) as stage:
        before: list[str] = []
        if stage.gateway is not None:
            run(stage, [Case(-1, "warm-up", "vsftpd", "1.3", "epsv", "EPSV", "RETR", 1)], lambda line: None)
            time.sleep(1)
            before = stage.descriptors()
        results = run(stage, cases, lambda line: print(line, flush=True))
        if stage.gateway is not None:
            leak = settled(stage, before)
    print(f"\nBy kind\n{table(results, lambda case: case.kind)}")
    print(f"\nBy server\n{table(results, lambda case: f'{case.server} {case.tls}')}")
    notes = Counter(note for _, verdict in results for note in verdict.notes)
    print("\nWhat could not be known from the gateway's place")
    for note, count in notes.most_common():
        print(f"  {count:5} {note}")
    ends: dict[str, Counter[bool]] = {}
    for case, verdict in results:
        if verdict.close_notify is not None:
            key = f"{case.server} {case.tls} {'up' if case.upload else 'down'}"
            ends.setdefault(key, Counter())[verdict.close_notify] += 1
    if ends:
        print("\nComplete transfers whose server said close_notify")
        for key, counts in sorted(ends.items()):
            print(f"  {key:<22} {counts[True]:4} of {counts.total()}")
    if leak:
        print(f"\nLEAK: {leak}")
    failed = [(case, verdict) for case, verdict in results if verdict.faults]
    for case, verdict in failed:
        print(f"\n{case}\n  {verdict.faults}")
        print(f"  again: python -m tests.campaign --side {options.side} --seed {options.seed} --case {case.number}")
    print(f"\n{len(results)} cases, seed {options.seed}, {options.side}, {time.monotonic() - started:.0f} s")
    if options.json is not None:
        rows = [
            {"case": str(case), "number": case.number, "kind": case.kind, "server": case.server, "tls": case.tls,
             "fired": verdict.fired, "faults": verdict.faults, "notes": verdict.notes}
            for case, verdict in results
        ]  # fmt: skip
        summary = {"seed": options.seed, "side": options.side, "leak": leak, "results": rows}
        options.json.write_text(json.dumps(summary, indent=1))
    return 1 if failed or leak else 0


if __name__ == "__main__":
    sys.exit(main())
