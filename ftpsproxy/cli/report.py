"""`ftpsproxy report`: what a person hands in about a log, on the terminal or as a page; with --statement, what the log
proves."""

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ftpsproxy import errors
from ftpsproxy.cli.terminal import FAILED, INTERRUPTED, WRONG, UnwritableError, fail, fail_all, say
from ftpsproxy.config import parse

if TYPE_CHECKING:
    from ftpsproxy.reading.report.document import Document

_NEEDS = "pip install 'ftpsproxy[logs]'"


def report(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    if not options.statement and (options.open or options.chain_key is not None):
        return fail("--open and --chain-key are for --statement", WRONG)
    try:
        import msgspec  # noqa: F401 - the extra is looked for before it is used

        if options.html is None:
            import rich  # noqa: F401 - as above
    except ImportError:
        return fail(f"to make a report: {_NEEDS}", WRONG)
    if options.html is not None and (why := _not_ours(options.html)):
        return fail(f"--html: {why}", WRONG)
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    from ftpsproxy.reading import choosing, reading, sources
    from ftpsproxy.reading.report.accounting import Accounting
    from ftpsproxy.reading.report.proof import Witness

    now = datetime.now(UTC)
    try:
        key = parse.key_file(options.chain_key).key if options.chain_key is not None else b""
        choice = choosing.choice(choosing.Wishes(since=options.since, until=options.until), now)
        files = sources.chosen(options.files, options.rotated, reading.first_moment)
    except ValueError as error:
        return fail(f"--chain-key: {error}", WRONG)
    except (choosing.ChoiceError, sources.SourceError) as error:
        return fail(error, WRONG)
    if not files and (sys.stdin is None or (not options.files and sys.stdin.isatty())):
        return fail("say which file to read, or - for standard input; see ftpsproxy report --help", WRONG)
    window = ", ".join(f"--{name} {said}" for name in ("since", "until") if (said := getattr(options, name)))
    witness = Witness(key, open=options.open) if options.statement else None
    accounting = Accounting(choice, window, witness)
    gc.set_threshold(50_000)  # as in logs.py
    faults: list[str] = []
    try:
        for path, lines in _lines(files, faults):
            accounting.of(path) if lines is None else accounting.take(lines)
    except KeyboardInterrupt:
        return INTERRUPTED
    document = accounting.end(faults, now)
    from ftpsproxy.reading.report.document import Tone

    code = _shown(document) if options.html is None else _written(document, options.html)
    if not code and faults:
        return fail_all(faults, FAILED)
    # As with `logs --verify`: a script need not read the statement to know that it has exceptions.
    return code or (FAILED if options.statement and document.tone is Tone.BAD else 0)


def _lines(files: list[Path], faults: list[str]) -> Iterator[tuple[Path | None, list[bytes] | None]]:
    """Each file by name, without lines, and then its lines; what could be read of it stands."""
    from ftpsproxy.reading import sources

    for path in files or (None,):
        yield path, None
        blocks = sources.of_input(sys.stdin.buffer) if path is None else sources.of_file(path)
        try:
            for lines in sources.batches(blocks):
                yield path, lines
        except sources.SourceError as error:
            faults.append(str(error))


def _not_ours(path: Path) -> str:
    """Why there can't be a page of that name; nothing if there can: what is there is another report, or nothing."""
    from ftpsproxy.reading.report.page import BEGIN

    try:
        with path.open("rb") as file:
            if file.read(len(BEGIN)) != BEGIN.encode():
                return f"{path} is there, and no report: it is not overwritten"
    except FileNotFoundError:
        return "" if path.parent.is_dir() else f"{path.parent} is no directory"
    except OSError as error:
        return f"{path}: {errors.words(error)}"
    return ""


def _written(document: "Document", path: Path) -> int:
    """The page, whole or not at all."""
    from ftpsproxy.reading.report.page import page

    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(page(document))
            os.chmod(name, 0o640)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        return fail(f"{path}: {errors.words(error)}", FAILED)
    say(f"{path}: {document.verdict}")
    return 0


def _shown(document: "Document") -> int:
    from ftpsproxy.cli.sheet import show

    try:
        show(document)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        raise UnwritableError(errors.words(error)) from None
    return 0
