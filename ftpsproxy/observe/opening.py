"""The places and forms that the configuration asks for, made."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TextIO

from ftpsproxy import errors
from ftpsproxy.observe import syslog
from ftpsproxy.observe.files import FileOutput
from ftpsproxy.observe.lines import Bounded, Columns, Console, Ecs, Form, Head, Journal, Json, Logfmt, Xferlog
from ftpsproxy.observe.output import Output
from ftpsproxy.observe.sockets import JournalOutput, SocketOutput
from ftpsproxy.observe.streams import StreamOutput

Format = Literal["json", "logfmt", "console", "ecs", "xferlog", "auto"]
Level = Literal["debug", "info", "warning"]
Key = tuple[object, ...]
"""What makes an output the same before and after a change of the configuration: its place."""
STDOUT: Key = ("stdout",)

# Several outputs of one format have one form: their lines are rendered once.
_FORMS: Mapping[str, Form] = {"json": Json(), "logfmt": Logfmt(), "ecs": Ecs(), "xferlog": Xferlog()}
_CHAIN_BYTES = 256  # what a chain adds to a line, and more


class LogError(Exception):
    """An output can't be opened; `str()` is one plain line."""


class _Look(Protocol):
    """How lines look. `chain_by` is the key of their chain, empty for none; None: no chain."""

    @property
    def format(self) -> Format: ...
    @property
    def level(self) -> Level: ...
    @property
    def chain_by(self) -> bytes | None: ...


class WantedOutput(_Look, Protocol):
    """One output, as `config` has it."""

    @property
    def name(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def place(self) -> str | tuple[str, int]: ...
    @property
    def facility(self) -> str: ...
    @property
    def app_name(self) -> str: ...
    @property
    def max_bytes(self) -> int: ...


class Wanted(_Look, Protocol):
    """The log, as `config` has it; without outputs it is standard output alone."""

    @property
    def outputs(self) -> Sequence[WantedOutput]: ...


def key_of(wanted: WantedOutput) -> Key:
    """See above."""
    return (wanted.to, wanted.place) if wanted.to in ("syslog", "journald") else (wanted.to,)


def opened(wanted: WantedOutput) -> Output:
    """A new output. Raises LogError."""
    if wanted.to in ("stdout", "stderr"):
        return StreamOutput(sys.stdout if wanted.to == "stdout" else sys.stderr, wanted.name)
    if wanted.to == "syslog":
        return SocketOutput(wanted.place, wanted.name)
    if wanted.to == "journald":
        return JournalOutput(wanted.place, wanted.name)
    try:
        return FileOutput(wanted.to, wanted.name)
    except OSError as error:
        raise LogError(f"log.output.{wanted.name}: cannot write {wanted.to}: {errors.words(error)}") from None


def form_of(format: Format, level: Level, stream: TextIO | None, *, chained: bool) -> Form:
    """How lines look on a stream; None: where nobody has a terminal."""
    terminal = stream is not None and not stream.closed and stream.isatty()
    if format == "auto":
        format = "console" if terminal and not chained else "json"
    if format != "console":
        return _FORMS[format]
    colour = terminal and not os.environ.get("NO_COLOR")
    if level == "debug":
        return Console(colour)
    return Columns(colour, lambda: _width(stream) if terminal else None)


def form_for(wanted: WantedOutput) -> tuple[Form, Head | None]:
    """How lines look on this output, and what stands before them."""
    if wanted.to == "journald":
        return Journal(wanted.app_name), None
    chained = wanted.chain_by is not None
    if wanted.to != "syslog":
        stream = {"stdout": sys.stdout, "stderr": sys.stderr}.get(wanted.to)
        return form_of(wanted.format, wanted.level, stream, chained=chained), None
    form = form_of(wanted.format, wanted.level, None, chained=chained)
    room = wanted.max_bytes - syslog.LONGEST_HEAD - (_CHAIN_BYTES if chained else 0)
    return Bounded(form, room), syslog.head(wanted.facility, wanted.app_name)


def _width(stream: TextIO | None) -> int | None:
    """Of the terminal behind it; None where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream is not None else None
    except (OSError, ValueError):
        return None
