"""`ftpsproxy logs`: the log as one wants to see it; with --schema and --dictionary, what it can say; with --verify,
whether a chained one is whole."""

import argparse
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ftpsproxy import errors
from ftpsproxy.cli.terminal import FAILED, INTERRUPTED, WRONG, UnwritableError, fail, fail_all, say
from ftpsproxy.observe import dictionary, schema

if TYPE_CHECKING:
    from ftpsproxy.reading.reading import Look, Reading


def logs(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    for asked, command in _OTHERS.items():
        if getattr(options, asked):
            return command(options)
    if options.open or options.chain_key is not None:
        return fail("--open and --chain-key are for --verify", WRONG)
    try:
        import msgspec  # noqa: F401 - the extra is looked for before it is used
    except ImportError:
        return fail("to read a log: pip install 'ftpsproxy[logs]'", WRONG)
    return _read(options)


def _schema(_options: argparse.Namespace) -> int:
    say(schema.text().rstrip("\n"))
    return 0


def _dictionary(_options: argparse.Namespace) -> int:
    say(dictionary.text().rstrip("\n"))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.verify import verify

    return verify(options)


_OTHERS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "schema": _schema,
    "dictionary": _dictionary,
    "verify": _verify,
}
"""What is no view, by its flag."""


def _read(options: argparse.Namespace) -> int:
    from ftpsproxy.reading import choosing, reading, sources

    wishes = choosing.Wishes(
        **{name: getattr(options, name) for name in choosing.Wishes.__dataclass_fields__}  # flags have their names
    )
    try:
        choice = choosing.choice(wishes, datetime.now(UTC))
        files = sources.chosen(options.files, options.rotated, reading.first_moment)
        if options.follow and files and sources.is_packed(files[-1]):
            return fail(f"--follow: {files[-1]} is packed, and does not grow", WRONG)
    except (choosing.ChoiceError, sources.SourceError) as error:
        return fail(error, WRONG)
    if not files and (sys.stdin is None or (not options.files and sys.stdin.isatty())):
        return fail("say which file to read, or - for standard input; see ftpsproxy logs --help", WRONG)
    return _Run(reading.Reading(choice, _look(options)), files, options.follow).run()


def _look(options: argparse.Namespace) -> "Look":
    from ftpsproxy.reading.reading import Form, Look

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Look(
        options.view,
        Form(options.form),
        terminal,
        colour=terminal and not os.environ.get("NO_COLOR"),
        width=lambda: shutil.get_terminal_size().columns if terminal else None,
    )


class _Run:
    """One reading, as a command."""

    def __init__(self, reading: "Reading", files: list[Path], follow: bool) -> None:
        self._reading = reading
        self._files = files
        self._follow = follow
        self._faults: list[str] = []

    def run(self) -> int:
        """→ the exit code."""
        gc.set_threshold(50_000)  # there are no circles to be found in what is read, and looking costs a tenth
        try:
            _write(self._reading.begin())
            try:
                for batch in self._batches():
                    _write(self._reading.texts(batch))
            except KeyboardInterrupt:
                if not self._follow:
                    return INTERRUPTED
            _write(self._reading.end())
        except BrokenPipeError:  # whoever reads has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        except OSError as error:
            raise UnwritableError(errors.words(error)) from None
        fail_all(self._reading.complaints(), 0)
        return fail_all(self._faults, FAILED) if self._faults else 0

    def _batches(self) -> Iterator[list[bytes]]:
        from ftpsproxy.reading import sources

        last = self._files[-1] if self._follow and self._files else None
        inputs = [sources.of_growing(path) if path is last else sources.of_file(path) for path in self._files]
        for blocks in inputs or [sources.of_input(sys.stdin.buffer)]:
            try:
                yield from sources.batches(blocks)
            except sources.SourceError as error:
                self._faults.append(str(error))  # what could be read of it stands


def _write(text: str) -> None:
    """All of it, at once; bytes that were no text are again what they were."""
    if text and sys.stdout is not None:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
