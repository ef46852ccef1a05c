"""``python -m tests.bench``: see README.md."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tests.bench import installed, packages, peers, profile, report
from tests.bench.driver import Numbers
from tests.bench.peers import Gateway, Ground, Installation
from tests.bench.process import BenchError
from tests.bench.report import Settings
from tests.bench.wan import work as wan
from tests.bench.wan.networks import Way
from tests.bench.works import BEFORE, MOD_PROXY, OURS, STUNNEL, WORKS, Side, Work


class Bench:
    """The servers of one run, started when first needed and kept to its end."""

    def __init__(
        self, stack: contextlib.ExitStack, made: Ground, kind: str, installations: Mapping[str, Installation]
    ) -> None:
        self._stack = stack
        self._made = made
        self._kind = kind
        self.installations = installations
        self._ports: dict[str, int] = {}
        self._relay: tuple[int, int] | None = None

    def upstream(self, work: Work) -> int:
        """The port of the upstream the work wants."""
        kind = work.upstream or self._kind
        if kind not in self._ports:
            self._ports[kind] = self._stack.enter_context(peers.upstream(self._made, kind))
        return self._ports[kind]

    def _relayed(self) -> tuple[int, int]:
        """Control port and passive port of the server behind stunnel."""
        if self._relay is None:
            data_port = self._stack.enter_context(peers.lone_port())
            server = peers.proftpd(self._made, name="relayed", passive_port=data_port)
            self._relay = self._stack.enter_context(server), data_port
        return self._relay

    def side(self, name: str, work: Work, stack: contextlib.ExitStack) -> Side:
        """Start one gateway for the work; it lives as long as ``stack``."""
        upstream = self.upstream(work)
        if name == STUNNEL:
            control_port, data_port = self._relayed()
            gateway = stack.enter_context(peers.stunnel(self._made, data_port))
            return Side(gateway, self._made, peers.USER, upstream, control_port)
        if name == MOD_PROXY:
            gateway = stack.enter_context(peers.mod_proxy(self._made, upstream))
        else:
            which = self.installations[name]
            gateway = stack.enter_context(peers.ours(self._made, upstream, which, admin=work.admin))
        return self.around(gateway, work)

    def around(self, gateway: Gateway, work: Work) -> Side:
        """The side for a gateway that is up."""
        kind = work.upstream or self._kind
        return Side(gateway, self._made, "ftp" if kind == "vsftpd" else peers.USER, self.upstream(work))

    def rounds(
        self, work: Work, names: Sequence[str], count: int, note: Callable[[str, int, Numbers | BenchError], None]
    ) -> None:
        """Run the sides in turn, ``count`` times; a side that fails is out."""
        with contextlib.ExitStack() as gateways:
            sides: dict[str, Side] = {}
            out: set[str] = set()
            for number in range(1 if work.once else count):
                for name in names:
                    if name in out:
                        continue
                    try:
                        if work.fresh:
                            with contextlib.ExitStack() as alone:
                                figures = work.run(self.side(name, work, alone))
                        else:
                            if name not in sides:
                                sides[name] = self.side(name, work, gateways)
                            figures = work.run(sides[name])
                    except BenchError as error:
                        out.add(name)
                        note(name, number, error)
                    else:
                        note(name, number, figures)


def main(
    work: Annotated[list[str] | None, typer.Option(help=f"Run only this: {', '.join(WORKS)}, wan.")] = None,
    side: Annotated[list[str] | None, typer.Option(help="Run only this side: ours, mod_proxy, stunnel.")] = None,
    against: Annotated[str | None, typer.Option(metavar="REV", help="One more side: ours at this commit.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each work.")] = 5,
    quick: Annotated[bool, typer.Option(help="Small sizes: shows that all works run, not how fast.")] = False,
    upstream: Annotated[str, typer.Option(help="proftpd or vsftpd.")] = "proftpd",
    option: Annotated[list[str] | None, typer.Option(help="One more argument for ftpsproxy run.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all readings here.")] = None,
    rtt: Annotated[float, typer.Option(help="wan: milliseconds there and back.")] = 50.0,
    loss: Annotated[float, typer.Option(help="wan: percent of packets lost.")] = 0.0,
    rate: Annotated[float, typer.Option(help="wan: Mbit/s of each direction, 0 for no limit.")] = 0.0,
    profile_work: Annotated[str | None, typer.Option("--profile", help="Profile our gateway in this work.")] = None,
) -> None:
    """Measure ftpsproxy against ProFTPD mod_proxy and stunnel, in turn, on the same upstream."""
    chosen = [profile_work] if profile_work else work or list(WORKS)
    for name in chosen:
        if name not in (*WORKS, "wan"):
            raise typer.BadParameter(f"no work {name!r}; there are {', '.join(WORKS)}, wan")
    sides = _sides(side, against)
    if profile_work and against is not None:
        raise typer.BadParameter("--profile is of ours alone: there is no --against with it")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave through the with blocks: stop what was started
    failed = False
    try:
        settings = Settings(rounds, quick, upstream, None if against is None else installed.commit(against))
        packages.ensure()
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(peers.ground(peers.QUICK if quick else peers.FULL))
            bench = Bench(stack, made, upstream, _installations(made, settings, tuple(option or ())))
            if profile_work:
                print(_profile(bench, made, WORKS[profile_work], rounds))
                return
            if chosen != ["wan"]:
                failed = _measure(bench, [name for name in chosen if name != "wan"], sides, settings, json_file)
            if "wan" in chosen:  # the last, as it is in a network of its own from there on
                _measure_wan(made, Way(rtt, loss, rate), rounds, bench.installations, json_file)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(1)


def _sides(named: Sequence[str] | None, against: str | None) -> list[str]:
    """The sides to run; ``before`` is one of them exactly when there is a commit for it."""
    sides = list(named or (OURS, MOD_PROXY, STUNNEL))
    if against is not None:
        return [*sides, BEFORE]
    if BEFORE in sides:
        raise typer.BadParameter("--side before needs --against REV")
    return sides


def _installations(made: Ground, settings: Settings, options: tuple[str, ...]) -> dict[str, Installation]:
    """Ours; where it is measured against a commit, both are installed now, in the same way."""
    found = {OURS: peers.HERE}
    if settings.against is not None:
        print(f"installing {OURS}, and {BEFORE} from {settings.against[:12]}", file=sys.stderr, flush=True)
        found = {OURS: installed.present(made, OURS), BEFORE: installed.past(made, BEFORE, settings.against)}
    return {name: replace(which, options=options) for name, which in found.items()}


def _profile(bench: Bench, made: Ground, subject: Work, rounds: int) -> str:
    def once(gateway: Gateway) -> None:
        subject.run(bench.around(gateway, subject))

    times = 1 if subject.once else rounds
    return profile.run(made, bench.upstream(subject), times, once, admin=subject.admin)


def _measure(
    bench: Bench, chosen: Sequence[str], sides: Sequence[str], settings: Settings, json_file: Path | None
) -> bool:
    results: report.Results = {}
    failures: dict[str, str] = {}
    for name in chosen:
        work = WORKS[name]

        def note(side: str, number: int, outcome: Numbers | BenchError, name: str = name) -> None:
            where = f"{name} {side}"
            if isinstance(outcome, BenchError):
                failures[where] = str(outcome)
                print(f"{where}: FAILED: {outcome}", file=sys.stderr, flush=True)
                return
            for figure, value in outcome.items():
                results.setdefault(name, {}).setdefault(side, {}).setdefault(figure, []).append(value)
            print(
                f"{where} [{number + 1}]: " + "  ".join(f"{key}={value:.4g}" for key, value in outcome.items()),
                file=sys.stderr,
                flush=True,
            )

        print(f"{name}: {work.about}", file=sys.stderr, flush=True)
        bench.rounds(work, work.among(sides), settings.rounds, note)
        if json_file is not None:  # after every work, so that an interrupted run is not lost
            document = report.document(results, failures, settings)
            json_file.write_text(json.dumps(document, indent=2) + "\n")
    print(report.render(results, failures))
    if settings.quick:
        print("\n--quick: too little work and too few rounds for these figures to mean much.")
    return bool(failures)


def _measure_wan(made: Ground, way: Way, rounds: int, ours: Mapping[str, Installation], json_file: Path | None) -> None:
    found = wan.measure(made, way, rounds, ours)
    print(wan.render(found, way))
    if json_file is not None:
        document = json.loads(json_file.read_text()) if json_file.exists() else {}
        json_file.write_text(json.dumps({**document, "wan": found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
