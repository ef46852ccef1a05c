"""Mutated sessions, played to the running gateway by the thousand.

python -m tests.mutants [--cases N] [--from NUMBER] [--seed S] [--case NUMBER ...] [--kind TEXT] [--lanes N] [--show]

A case is its seed and its number: --case plays one again, and --show tells all that was said in it. Exit code 1 if
anything happened that must not. What the gateway had learned of a server from other cases is not played again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter

from tests.mutants.cases import draw
from tests.mutants.stage import Result, Stage, open_stage

_EVERY = 250
_ENOUGH = 20  # failed cases; a gateway that hangs fails all that follow


_COMMON = ("timestamp", "level", "event", "session", "client", "listener", "upstream")


def story(result: Result) -> str:
    """All that is known of a case."""
    client = result.client
    lines = [f"client said {b''.join(client.said)[:3000]!r}", f"client heard {bytes(client.heard[:6000])!r}"]
    lines += [
        f"client data: sent {len(data.sent)}, received {len(data.received)}, {data.ended or 'open'}"
        f"{' FIN' * data.fin}{' cut' * data.cut}"
        for data in client.data
    ]
    for server in result.servers:
        lines.append(f"server heard {b''.join(server.commands)[:3000]!r}")
        lines.append(f"server said {b''.join(server.said)[:6000]!r}")
        lines += [
            f"server data {data.verb!r}: sent {len(data.sent)}, received {len(data.received)}, {data.ended or 'open'}"
            f"{' first' * data.first}{' spoilt' * data.spoilt}{' reset' * data.reset}"
            f"{' whole' * (data.whole is not None)}{' bare' * (data.bare is not None)}"
            for data in server.data
        ]
        lines += [f"server's trouble: {trouble}" for trouble in server.troubles]
    for event in result.events:
        rest = ", ".join(f"{key} {value!r}" for key, value in event.items() if key not in _COMMON)
        lines.append(f"{event['timestamp'][14:23]} {event['event']} {rest}")
    return "".join(f"    {line}\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, action="append")
    parser.add_argument("--kind", default="", help="only cases whose mutations hold this text")
    parser.add_argument("--lanes", type=int, default=3, help="for each of the settings")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()

    numbers = options.case or itertools.count(options.first)
    drawn = (draw(options.seed, number) for number in numbers)
    cases = list(itertools.islice((case for case in drawn if options.kind in str(case)), options.cases))
    failed: list[Result] = []
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    with open_stage(options.lanes) as stage:
        for count, result in enumerate(stage.play(cases), 1):
            if result.faults:
                failed.append(result)
                print(f"*** {result.case}\n    {result.faults}", flush=True)
            if options.show or result.faults:
                print(story(result), flush=True)
            outcomes.update(_outcomes(result))
            if len(failed) >= _ENOUGH:
                print(f"that is enough, after {count} cases")
                break
            if count % _EVERY == 0:
                print(f"{count} cases, {time.monotonic() - began:.0f} s, {_size(stage)}", flush=True)
        seconds = time.monotonic() - began
        time.sleep(1)
        print(f"at the end: {_size(stage)}")
        crashed = "Traceback" in stage.gateway.text
    print(f"the neighbour, {stage.waits}")
    print(", ".join(f"{name}: {count}" for name, count in sorted(outcomes.items())))
    for result in failed:
        print(f"again: python -m tests.mutants --seed {options.seed} --case {result.case.number} --show")
    print(f"{len(cases)} cases, seed {options.seed}, {len(failed)} failed, {seconds:.0f} s")
    return 1 if failed or crashed or stage.waits.error else 0


def _size(stage: Stage) -> str:
    return f"{stage.pss():.1f} MiB, {stage.descriptors().total()} descriptors"


def _outcomes(result: Result) -> list[str]:
    found = [f"transfers {event['outcome']}" for event in result.events if event["event"] == "transfer.finished"]
    return found + [event["event"] for event in result.events if not event["event"].startswith("session.re")]


if __name__ == "__main__":
    sys.exit(main())
