"""How an event of the log is said: where to, from which level on, of which session, how often."""

import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TextIO

from ftpsproxy.ftp.directory import Place
from ftpsproxy.observe.budget import Budget, Said
from ftpsproxy.observe.lines import Bound, Facts, Json, bound, make
from ftpsproxy.observe.opening import STDOUT, Format, Key, Level, Wanted, form_for, form_of, key_of, opened
from ftpsproxy.observe.output import Output
from ftpsproxy.observe.redaction import redact
from ftpsproxy.observe.several import Several, Sink
from ftpsproxy.observe.streams import StreamOutput

# How long slow readers of the log may keep the process from ending.
_LAST_SECONDS = 0.3


def configure(format: Format, level: Level, stream: TextIO | None = None, *, chain: bytes | None = None) -> None:
    """Log events of `level` and above to `stream`, standard output by default, and nowhere else. The format `auto` is
    console on a terminal and json elsewhere; NO_COLOR in the environment keeps a terminal's lines plain. Console is
    columns for people; at debug it has all fields, in full words. With `chain` lines are chained (observe/chain.py), by
    that key if it is not empty; they are JSON then, on a terminal, too."""
    global _log, _outputs, _debugs
    target = sys.stdout if stream is None else stream
    form = form_of(format, level, target, chained=chain is not None)
    output = _outputs.pop(STDOUT, None)
    for other in _outputs.values():
        other.retire()
    if not isinstance(output, StreamOutput) or output.stream is not target or target is None or target.closed:
        output = StreamOutput(target)
    _outputs = {STDOUT: output}
    output.name, output.failing, output.restored = "", None, None
    if chain is None:
        output.chain_by(None)  # its last line is in the old form
    _log = make(output, form, getattr(logging, level.upper()))
    if chain is not None:
        output.chain_by(chain)
    _debugs = level == "debug"


class Prepared:
    """What the configuration asks for, opened as far as it was not yet, and not in use."""

    def __init__(self, wanted: Wanted) -> None:
        """Raises LogError; nothing has changed then."""
        self._wanted = wanted
        self._new = {key: opened(one) for one in wanted.outputs if (key := key_of(one)) not in _outputs}

    def use(self) -> None:
        """From here on the log is written so; what is no longer asked for ends."""
        global _log, _outputs, _debugs
        wanted = self._wanted
        if not wanted.outputs:
            configure(wanted.format, wanted.level, chain=wanted.chain_by)
            return
        known = _outputs | self._new
        mine = {key_of(one): known[key_of(one)] for one in wanted.outputs}
        for key, output in _outputs.items():
            if key not in mine:
                output.retire()
        sinks = []
        for one in wanted.outputs:
            output = mine[key_of(one)]
            output.name = one.name
            if one.chain_by is None:
                output.chain_by(None)  # as above
            form, head = form_for(one)
            sinks.append(Sink(output, form, getattr(logging, one.level.upper()), head))
        _log = Several(sinks)
        for one in wanted.outputs:
            if one.chain_by is not None:
                mine[key_of(one)].chain_by(one.chain_by)
        _outputs = mine
        _debugs = any(one.level == "debug" for one in wanted.outputs)


def reopen() -> None:
    """Files of the log may have been moved: open them anew."""
    for output in _outputs.values():
        output.reopen()


def flush() -> None:
    """The process is about to end: say what is summed up, and give slow readers of the log a moment."""
    _budget.sum_up(late=False)
    until = time.monotonic() + _LAST_SECONDS
    behind = [output for output in _outputs.values() if output.behind]
    for some in (behind, [output for output in _outputs.values() if output not in behind]):  # what those lose these say
        for output in some:
            output.end_chain()
        for output in some:
            output.flush(max(0.0, until - time.monotonic()))
            output.leave()


def begin_chain() -> None:
    """This process is new: if lines are chained, say that its chain begins, for it may be lost before it says more."""
    for output in _outputs.values():
        output.begin_chain()


def has_forked(pid: int) -> None:
    """Another process of the gateway is there, and chains its lines, too."""
    for output in _outputs.values():
        output.has_forked(pid)


def sum_up() -> None:
    """To be called every few seconds: say how many lines were left out some time ago (`budget`), and look after what no
    line tells of: a file that was moved, an output that is well again."""
    _budget.sum_up()
    for output in list(_outputs.values()):
        output.look()


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


def remember(most: int) -> Collection[Mapping[str, Any]]:
    """From now on keep the last so many failures, as they are said, with their `time`."""
    global _failures
    _failures = deque(maxlen=most)
    return _failures


def say(level: str, event: str, *, facts: Facts | None = None, **fields: object) -> None:
    """One line, if `level` is asked for; a field that is None is left out."""
    if _failures is not None and level in _BAD:
        mine = bound.get()
        whose = {} if mine is None else {**mine.named, "user": mine.user}
        _failures.append({**whose, **fields, "time": time.time(), "level": level, "event": event})
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


def _about_to_fork() -> None:
    for output in _outputs.values():
        output.about_to_fork()


def _forked() -> None:
    for output in _outputs.values():
        output.forked()


_outputs: dict[Key, Output] = {}
_log: Any = make(Output(), Json(), logging.CRITICAL)
_debugs = False
_failures: deque[Mapping[str, Any]] | None = None
_BAD = ("warning", "error")
_budget = Budget(_again)
os.register_at_fork(before=_about_to_fork, after_in_child=_forked)
