"""Several outputs of one log at the same time, each from its own level on and in its own form.

An output that loses lines, or whose place is gone, says so itself only once it works again; the others say it at once
(`gateway.log_failing`), and when it is well again (`gateway.log_restored`).
"""

import logging
from functools import partial, partialmethod
from typing import Any, NamedTuple

from ftpsproxy.observe.lines import Facts, Form, Head, attach, bound, renderer, timestamp
from ftpsproxy.observe.output import Output

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FAILING, RESTORED = "gateway.log_failing", "gateway.log_restored"


class Sink(NamedTuple):
    """An output, how lines look there, from which level on there are any, what stands before each."""

    output: Output
    form: Form
    level: int
    head: Head | None


class Several:
    """A logger for all of them."""

    def __init__(self, sinks: list[Sink]) -> None:
        renderers = {sink.form: renderer(sink.form) for sink in sinks}
        self._of = {
            name: [(sink, renderers[sink.form]) for sink in sinks if sink.level <= number]
            for name, number in _LEVELS.items()
        }
        for sink in sinks:
            attach(sink.output, sink.form, sink.head)
            sink.output.failing = partial(self._failing, sink.output)
            sink.output.restored = partial(self._restored, sink.output)

    def _say(
        self, level: str, event: str, *, facts: Facts | None = None, but: Output | None = None, **fields: object
    ) -> None:
        """The same to all, or to all `but` one; each form is rendered once."""
        lines: dict[Form, str | bytes] = {}
        for (output, form, _, head), render in self._of[level]:
            if output is but:
                continue
            line = lines.get(form)
            if line is None:
                line = lines[form] = render(None, level, {"event": event, "facts": facts, **fields})
            if line:
                output.line(line, b"" if head is None else head(timestamp(), level, event))

    debug = partialmethod(_say, "debug")
    info = partialmethod(_say, "info")
    warning = partialmethod(_say, "warning")
    error = partialmethod(_say, "error")

    def _failing(self, output: Output, why: str) -> None:
        self._of_itself("error", FAILING, but=output, output=output.name, detail=why)

    def _restored(self, output: Output, lost: int) -> None:
        self._of_itself("info", RESTORED, but=output, output=output.name, lost=lost)

    def _of_itself(self, level: str, event: str, *, but: Output, **fields: Any) -> None:
        """It is no session's line, in whatever session it was noticed."""
        before = bound.set(None)
        try:
            self._say(level, event, but=but, **fields)
        finally:
            bound.reset(before)
