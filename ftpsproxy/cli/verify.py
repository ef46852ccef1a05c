"""`ftpsproxy logs --verify`: whether a chained log is whole."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ftpsproxy.cli.terminal import FAILED, WRONG, fail, say
from ftpsproxy.config import parse
from ftpsproxy.observe.rows import count
from ftpsproxy.reading import sources, verifying

_MOST_SAID = 1000


def verify(options: argparse.Namespace) -> int:
    """See above → the exit code: 0 only if it is."""
    try:
        key = parse.key_file(options.chain_key).key if options.chain_key is not None else b""
    except ValueError as error:
        return fail(f"--chain-key: {error}", WRONG)
    try:
        named = sources.chosen(options.files, options.rotated, verifying.first_moment)
    except sources.SourceError as error:
        return fail(error, WRONG)
    if not named and (sys.stdin is None or (not options.files and sys.stdin.isatty())):
        return fail("say which file to verify, or - for standard input", WRONG)
    verifier = verifying.Verifier(key, open=options.open)
    report = _Report()
    fault = None
    try:
        for path in named or (None,):
            _read(verifier, path, report)
    except sources.SourceError as error:
        fault = error
    report.say(verifier.end())
    report.end(verifier)
    if fault is not None:
        return fail(fault, FAILED)
    return FAILED if report.found or not verifier.chains else 0


class _Report:
    """What was found, up to a bound."""

    def __init__(self) -> None:
        self.found = 0

    def say(self, findings: Iterator[str]) -> None:
        for finding in findings:
            self.found += 1
            if self.found <= _MOST_SAID:
                say(finding)

    def end(self, verifier: verifying.Verifier) -> None:
        if self.found > _MOST_SAID:
            say(f"... and {self.found - _MOST_SAID:,} more")
        lines, chains = count(verifier.lines, "line"), count(verifier.chains, "chain")
        if not verifier.chains:
            say(f"{lines}, and none is chained: nothing is proved (log.chain)")
        elif self.found:
            say(f"not whole: {count(self.found, 'finding')} in {lines} of {chains}")
        else:
            first = (
                f", but for {count(verifier.unproved, 'line')}, each the first here of its chain, which nothing proves"
            )
            say(f"whole: {lines} of {chains}{first if verifier.unproved else ''}")


def _read(verifier: verifying.Verifier, path: Path | None, report: _Report) -> None:
    blocks = sources.of_stream(sys.stdin.buffer) if path is None else sources.of_file(path)
    number = 0
    for batch in sources.batches(blocks):
        for line in batch:
            number += 1
            report.say(verifier.line(line, f"{path or '-'}:{number}"))
