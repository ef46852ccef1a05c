"""How an event of the log is said: where to, from which level on, of which session, how often."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TextIO

from ftpsproxy.ftp.directory import Place
from ftpsproxy.observe.budget import Budget, Said
from ftpsproxy.observe.lines import Bound, Columns, Console, Ecs, Facts, Json, Logfmt, bound, make
from ftpsproxy.observe.output import Output
from ftpsproxy.observe.redaction import redact

Format = Literal["json", "logfmt", "console", "ecs", "auto"]
Level = Literal["debug", "info", "warning"]

_FORMS: Mapping[str, type[Json | Logfmt | Ecs]] = {"json": Json, "logfmt": Logfmt, "ecs": Ecs}
# How long a slow reader of the log may keep the process from ending.
_LAST_SECONDS = 0.3


def configure(format: Format, level: Level, stream: TextIO | None = None, *, chain: bytes | None = None) -> None:
    """Log events of `level` and above to `stream`, standard output by default. The format `auto` is console on a
    terminal and json elsewhere; NO_COLOR in the environment keeps a terminal's lines plain. Console is columns for
    people; at debug it has all fields, in full words. With `chain` lines are chained
    (observe/chain.py), by that key if it is not empty; they are JSON then, on a terminal, too."""
    global _log, _output, _debugs
    target = sys.stdout if stream is None else stream
    terminal = target is not None and not target.closed and target.isatty()
    if format == "auto" and chain is not None:
        format = "json"
    if format == "auto":
        format = "console" if terminal else "json"
    colour = terminal and not os.environ.get("NO_COLOR")
    console = Console(colour) if level == "debug" else Columns(colour, lambda: _width(target) if terminal else None)
    form = console if format == "console" else _FORMS[format]()
    if _output.stream is not target or target is None or target.closed:
        _output = Output(target)
    if chain is None:
        _output.chain_by(None)  # its last line is in the old form
    _log = make(_output, form, getattr(logging, level.upper()))
    if chain is not None:
        _output.chain_by(chain)
    _debugs = level == "debug"


def _width(stream: TextIO | None) -> int | None:
    """Of the terminal behind it; None where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream is not None else None
    except (OSError, ValueError):
        return None


def flush() -> None:
    """The process is about to end: say what is summed up, and give a slow reader of the log a moment."""
    _budget.sum_up(late=False)
    _output.end_chain()
    _output.flush(_LAST_SECONDS)


def begin_chain() -> None:
    """This process is new: if lines are chained, say that its chain begins, for it may be lost before it says more."""
    _output.begin_chain()


def has_forked(pid: int) -> None:
    """Another process of the gateway is there, and chains its lines, too."""
    _output.has_forked(pid)


def sum_up() -> None:
    """To be called every few seconds: say how many lines were left out some time ago (`budget`)."""
    _budget.sum_up()


def debugs() -> bool:
    """Whether events of the level debug are said: for those whose fields cost something."""
    return _debugs


# --- whose line it is -------------------------------------------------------------------------------------------------


def bind(session: str, client: str, listener: str, upstream: str) -> None:
    """Name the session in every line of the current task and of the tasks it starts."""
    bound.set(Bound({"session": session, "client": client, "listener": listener, "upstream": upstream}))


def unbind() -> None:
    """The current task belongs to no session, though one has started it."""
    bound.set(None)


def bound_now() -> Bound | None:
    """The session that the current task belongs to."""
    return bound.get()


def join(session: Bound | None) -> None:
    """The current task belongs to this session, whoever has started it."""
    bound.set(session)


@contextlib.contextmanager
def within(session: Bound | None) -> Iterator[None]:
    """What is said meanwhile is said of this session."""
    before = bound.set(session)
    try:
        yield
    finally:
        bound.reset(before)


def bind_server(*, server: str, server_address: str, certificate_sha256: str, verified_by: str) -> None:
    """The server that the session has reached, and by what it is known."""
    if (mine := bound.get()) is not None:
        mine.server = {
            "server": server,
            "server_address": server_address,
            "certificate_sha256": certificate_sha256,
            "verified_by": verified_by,
        }
        mine.facts = None


def bind_user(user: str) -> None:
    """Who has logged in."""
    if (mine := bound.get()) is not None:
        mine.user = user or None
        mine.facts = None


def facts(place: Place | None) -> Facts | None:
    """What makes a line about a file stand alone: who, at which server, known by what, in which directory. Rendered
    once for as long as all of that stays the same; None where there is no session."""
    mine = bound.get()
    if mine is None:
        return None
    known = mine.facts
    if known is None or known.place is not place:
        fields: dict[str, object] = {"user": mine.user, **mine.server, "directory": None}
        if place is not None:
            fields["directory"] = redact(place.text)  # some of it may be the server's words
            if place.relative:
                fields["directory_relative"] = True
        known = mine.facts = Facts(fields, place)
    return known


def where() -> tuple[str, str]:
    """The listener and the upstream that `bind` named."""
    mine = bound.get()
    return ("", "") if mine is None else mine.where


# --- saying it --------------------------------------------------------------------------------------------------------


def say(level: str, event: str, *, facts: Facts | None = None, **fields: object) -> None:
    """One line, if `level` is asked for; a field that is None is left out."""
    getattr(_log, level)(event, facts=facts, **fields)


def limited(level: str, event: str, *, of: str = "", facts: Facts | None = None, **fields: object) -> None:
    """An event that a peer can cause as often as it likes; `of` is its address where that is not the session's."""
    mine = bound.get()
    client = of or (mine.client if mine is not None else "")
    _budget.take(client, Said(level, event, fields, mine, facts))


def close_account() -> None:
    """The session ends: say what was left out of it."""
    if (mine := bound.get()) is not None:
        _budget.sum_up(mine)


def _again(said: Said, left_out: int) -> None:
    with within(said.session):
        say(said.level, said.event, facts=said.facts, **said.fields, suppressed=left_out or None)


_output = Output(None)
_log: Any = make(_output, Json(), logging.CRITICAL)
_debugs = False
_budget = Budget(_again)
os.register_at_fork(before=lambda: _output.about_to_fork(), after_in_child=lambda: _output.forked())
