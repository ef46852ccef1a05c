"""The vocabulary of the log: one function for each event the gateway can report, and how an event becomes a line.

Few, rich events rather than chatter; call sites are one line. The session's id, client, listener and upstream are bound
once, at the root of the session (`bind`), and stand in every line of it. A line is

    timestamp (ISO 8601, UTC, milliseconds) · level · event · session, client, listener, upstream · the event's fields

as JSON, logfmt or text for a terminal. Whatever a peer sends (file names, user names, replies) can neither end a line
nor steer a terminal: JSON and logfmt are pure ASCII, the console form escapes what is not printable. The arguments of
PASS and ACCT never reach these functions, and are struck out once more here. A log that cannot be written (disk full,
pipe closed) loses lines; it never harms a session, and standard error hears of it once.

This is the only file that imports structlog. Until `configure` is called nothing is logged.
"""

import contextlib
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TextIO

import structlog

Format = Literal["json", "logfmt", "console", "auto"]
Level = Literal["debug", "info", "warning"]

_SECRET_VERBS = frozenset({"PASS", "ACCT", "ADAT"})
_SECRET_IN_TEXT = re.compile(r"(?<![A-Za-z])(PASS|ACCT|ADAT)[ \t]+[^\r\n]*", re.IGNORECASE)
_bound: ContextVar["_Bound | None"] = ContextVar("ftpsproxy_log", default=None)

# --- set-up -----------------------------------------------------------------------------------------------------------


def configure(format: Format, level: Level, stream: TextIO | None = None) -> None:
    """Log events of `level` and above to `stream`, standard output by default. The format `auto` is console on a
    terminal and json elsewhere; NO_COLOR in the environment keeps a terminal's lines plain."""
    global _log
    target = sys.stdout if stream is None else stream
    terminal = target is not None and not target.closed and target.isatty()
    if format == "auto":
        format = "console" if terminal else "json"
    colour = terminal and not os.environ.get("NO_COLOR")
    form = _Json() if format == "json" else _Logfmt() if format == "logfmt" else _Console(colour)
    _log = _make(_Output(target), form, getattr(logging, level.upper()))


def bind(session: str, client: str, listener: str, upstream: str) -> None:
    """Name the session in every line of the current task and of the tasks it starts."""
    _bound.set(_Bound({"session": session, "client": client, "listener": listener, "upstream": upstream}))


def clear() -> None:
    """Forget what `bind` named."""
    _bound.set(None)


class _Output:
    """Where lines go: one write each, straight to the descriptor where there is one. Never raises."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._descriptor: int | None = None
        self._torn = False  # the last line was only partly written
        self._lost = False
        try:
            if stream is not None:
                stream.flush()
                self._descriptor = stream.fileno()
        except (OSError, ValueError):
            pass  # a stream in memory, or a closed one

    def line(self, text: str) -> None:
        try:
            if self._descriptor is not None:
                data = (f"\n{text}\n" if self._torn else f"{text}\n").encode("utf-8", "backslashreplace")
                sent = os.write(self._descriptor, data)
                while sent < len(data):
                    self._torn = True
                    sent += os.write(self._descriptor, data[sent:])
                self._torn = False
            elif self._stream is not None:
                self._stream.write(f"{text}\n")
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        """Standard error is the last place left to say that nothing is said any more."""
        if not self._lost:
            self._lost = True
            why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is closed"
            with contextlib.suppress(OSError):
                os.write(2, f"ftpsproxy: the log can't be written, lines are lost: {why}\n".encode())

    debug = info = warning = error = line


class _Form(Protocol):
    """A way to write an event. `fields` is rendered apart, so that what is bound is rendered once a session."""

    def fields(self, fields: Mapping[str, object]) -> str: ...

    def line(self, level: str, event: str, parts: list[str]) -> str: ...


class _Bound:
    """What `bind` named, and its rendering in the form last asked for."""

    __slots__ = ("_fields", "_form", "_text")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self._form: _Form | None = None
        self._text = ""

    def text(self, form: _Form) -> str:
        if self._form is not form:
            self._form, self._text = form, form.fields(self._fields)
        return self._text


def _make(output: _Output, form: _Form, level: int) -> Any:
    """A structlog logger that renders with `form`; calls below `level` cost next to nothing."""

    def render(_logger: object, level_name: str, event: MutableMapping[str, Any]) -> str:
        name = event.pop("event")
        bound = _bound.get()
        parts = [] if bound is None else [bound.text(form)]
        fields = {key: value for key, value in event.items() if value is not None}
        if fields:
            parts.append(form.fields(fields))
        return form.line(level_name, name, parts)

    wrapper: Any = structlog.make_filtering_bound_logger(level)
    return wrapper(output, [render], {})


_second = 0
_second_text = ""


def _timestamp() -> str:
    """Now, as 2026-01-31T23:59:59.123Z. The text of the second is kept, as most lines share theirs with another."""
    global _second, _second_text
    now = time.time()
    second = int(now)
    if second != _second:
        _second, _second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_second_text}.{int((now - second) * 1000):03d}Z"


# --- rendering --------------------------------------------------------------------------------------------------------

_BARE = re.compile(r"[A-Za-z0-9._:/@+,~%()\[\]-]+").fullmatch
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str, check_circular=False).encode


class _Json:
    def fields(self, fields: Mapping[str, object]) -> str:
        return _encode(fields)[1:-1]

    def line(self, level: str, event: str, parts: list[str]) -> str:
        head = f'{{"timestamp":"{_timestamp()}","level":"{level}","event":"{event}"'
        return f"{','.join([head, *parts])}}}"


class _Logfmt:
    def fields(self, fields: Mapping[str, object]) -> str:
        words = []
        for key, value in fields.items():
            text = _word(value)
            words.append(f"{key}={text}" if _BARE(text) else f"{key}={_encode(text)}")
        return " ".join(words)

    def line(self, level: str, event: str, parts: list[str]) -> str:
        return " ".join([f"timestamp={_timestamp()} level={level} event={event}", *parts])


class _Console:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def fields(self, fields: Mapping[str, object]) -> str:
        return " ".join(f"{key}={_readable(_word(value))}" for key, value in fields.items())

    def line(self, level: str, event: str, parts: list[str]) -> str:
        text = " ".join([f"{_timestamp()} {level:<7} {event:<18}", *parts])
        return f"{_COLOURS[level]}{text}\x1b[0m" if self._colour else text


def _word(value: object) -> str:
    """A value other than text in logfmt and console lines."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)


def _readable(text: str) -> str:
    """Text for a terminal: in quotes unless it is one plain word, with all that does not print escaped."""
    if _BARE(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return f'"{text}"'


_log: Any = _make(_Output(None), _Json(), logging.CRITICAL)


def _redact(text: str) -> str:
    """Text with all that follows PASS, ACCT or ADAT on a line struck out: servers quote the command they refuse."""
    return _SECRET_IN_TEXT.sub(r"\1 ***", text)


# --- the gateway ------------------------------------------------------------------------------------------------------


def gateway_ready(*, listeners: list[str], workers: int | None = None) -> None:
    """All listeners are bound: `NAME ADDR:PORT -> URL` each; with how many processes, when there are several."""
    _log.info("gateway.ready", listeners=listeners, workers=workers)


def gateway_worker_lost(*, worker: int, pid: int, status: int) -> None:
    """A worker process ended unasked, its sessions with it; another takes its place. `status`: as of waitpid."""
    _log.error("gateway.worker_lost", worker=worker, pid=pid, status=status)


def gateway_starved(*, reason: str) -> None:
    """Clients wait unheard: the system gives no descriptors or memory for their connections."""
    _log.error("gateway.starved", reason=reason)


def gateway_draining(*, sessions: int, seconds: float) -> None:
    """No new sessions; running transfers have `seconds` to end."""
    _log.info("gateway.draining", sessions=sessions, seconds=round(seconds, 3))


def gateway_stopped(*, seconds: float) -> None:
    """All sessions are over; `seconds` since the start."""
    _log.info("gateway.stopped", seconds=round(seconds, 3))


# --- the session ------------------------------------------------------------------------------------------------------


def session_queued(*, client: str, listener: str, upstream: str, ahead: int) -> None:
    """A client waits, without a session yet, for a place at its upstream; `ahead` of it so many in this process."""
    _log.info("session.queued", client=client, listener=listener, upstream=upstream, ahead=ahead)


def session_opened(*, waited_seconds: float | None = None) -> None:
    """A client has its session; how long it waited for it, where the upstream limits them."""
    _log.info("session.opened", waited_seconds=None if waited_seconds is None else round(waited_seconds, 3))


def session_refused(*, client: str, listener: str, reason: str) -> None:
    """A client was turned away before it had a session."""
    _log.warning("session.refused", client=client, listener=listener, reason=reason)


def session_login(*, user: str, ok: bool, reply: int) -> None:
    """The server's verdict on a login."""
    (_log.info if ok else _log.warning)("session.login", user=user, ok=ok, reply=reply)


def session_command(*, verb: str, argument: str) -> None:
    """A command of the client."""
    if re.sub(r"[^A-Za-z]", "", verb).upper() in _SECRET_VERBS:
        argument = "***"
    _log.debug("session.command", verb=_redact(verb), argument=argument)


def session_reply(*, code: int, text: str) -> None:
    """A reply to the client."""
    _log.debug("session.reply", code=code, text=_redact(text))


def session_limit(*, limit: str, detail: str) -> None:
    """A limit was met; `limit` is its key in the configuration, or `login_timeout` or `bounce` (README.md)."""
    _log.warning("session.limit", limit=limit, detail=_redact(detail))


def session_foreign(*, protocol: str) -> None:
    """The client speaks something else than FTP."""
    _log.warning("session.foreign", protocol=protocol)


def session_closed(
    *, seconds: float, reason: str, commands: int, transfers: int, torn: int, bytes_up: int, bytes_down: int
) -> None:
    """The session's totals; `torn` counts the transfers that were not complete."""
    _log.info(
        "session.closed",
        seconds=round(seconds, 3),
        reason=reason,
        commands=commands,
        transfers=transfers,
        torn=torn,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
    )


def session_crashed(*, error: BaseException) -> None:
    """A defect of the gateway ended this session. The traceback shows code, never the values of variables."""
    _log.error(
        "session.crashed",
        error=type(error).__name__,
        detail=_redact(str(error)),
        traceback=_redact("".join(traceback.format_exception(error))),
    )


# --- the server -------------------------------------------------------------------------------------------------------


def upstream_secured(
    *,
    version: str,
    cipher: str,
    resumed: bool,
    certificate_sha256: str,
    subject: str,
    days_left: int,
    milliseconds: float,
) -> None:
    """TLS is up and the certificate verified; `milliseconds` since the connection was begun."""
    _log.info(
        "upstream.secured",
        version=version,
        cipher=cipher,
        resumed=resumed,
        certificate_sha256=certificate_sha256,
        subject=subject,
        days_left=days_left,
        milliseconds=round(milliseconds, 3),
    )


def upstream_certificate_expiring(*, days_left: int, subject: str) -> None:
    """The server's certificate will soon be refused."""
    _log.warning("upstream.certificate_expiring", days_left=days_left, subject=subject)


def upstream_failed(*, reason: str, detail: str) -> None:
    """No secure session with the server; `reason` is one machine word (unknown_ca, expired, wrong_host …)."""
    _log.warning("upstream.failed", reason=reason, detail=_redact(detail))


def upstream_address_ignored(*, reply_host: str, peer: str) -> None:
    """The server named another host for data; the control connection's peer is used."""
    _log.info("upstream.address_ignored", reply_host=reply_host, peer=peer)


def upstream_session_reuse_refused(*, reply: str, hint: str | None = None) -> None:
    """The server refused a data connection for want of a resumed TLS session; what to try if it does so always."""
    _log.warning("upstream.session_reuse_refused", reply=_redact(reply), hint=hint)


# --- the transfer -----------------------------------------------------------------------------------------------------


def transfer_finished(
    *,
    number: int,
    verb: str,
    path: str,
    direction: str,
    bytes: int,
    seconds: float,
    client_mode: str,
    upstream_mode: str,
    tls_version: str | None,
    cipher: str | None,
    resumed: bool | None,
    close_notify: bool | None,
    reply: int | None,
    outcome: Literal["complete", "torn", "aborted", "refused"],
    reason: str,
    sha256: str | None,
) -> None:
    """All there is to say of one transfer. `bytes` passed the gateway; None is what was never known and is left out."""
    (_log.info if outcome == "complete" else _log.warning)(
        "transfer.finished",
        number=number,
        verb=verb,
        path=path,
        direction=direction,
        bytes=bytes,
        seconds=round(seconds, 6),
        client_mode=client_mode,
        upstream_mode=upstream_mode,
        tls_version=tls_version,
        cipher=cipher,
        resumed=resumed,
        close_notify=close_notify,
        reply=reply,
        outcome=outcome,
        reason=reason,
        sha256=sha256,
    )
