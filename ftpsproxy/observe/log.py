"""The vocabulary of the log: one function for each event the gateway can report, and what each counts (metrics.py).

Few, rich events rather than chatter; call sites are one line. The session's id, client, listener and upstream are bound
once, at the root of the session (`bind`), and stand in every line of it. A line is

    timestamp (ISO 8601, UTC, milliseconds) · level · event · session, client, listener, upstream · the event's fields

as JSON, logfmt or text for a terminal (`lines`). The arguments of PASS and ACCT never reach these functions, and are
struck out once more here. What a peer can have said again and again is limited and summed up (`budget`). A log that
cannot be written (disk full, pipe closed, nobody reads it) loses lines; it never harms or holds up a session, and
standard error hears of it once (`output`). Until `configure` is called nothing is logged.
"""

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any, Literal, TextIO

from ftpsproxy.ftp.data_failure import DataFailure
from ftpsproxy.observe import metrics
from ftpsproxy.observe.budget import Budget, Said
from ftpsproxy.observe.lines import Bound, Console, Json, Logfmt, bound, make
from ftpsproxy.observe.output import Output
from ftpsproxy.observe.redaction import SECRET_VERBS, redact

Format = Literal["json", "logfmt", "console", "auto"]
Level = Literal["debug", "info", "warning"]

# How long a slow reader of the log may keep the process from ending.
_LAST_SECONDS = 0.3
# --- set-up -----------------------------------------------------------------------------------------------------------


def configure(format: Format, level: Level, stream: TextIO | None = None) -> None:
    """Log events of `level` and above to `stream`, standard output by default. The format `auto` is console on a
    terminal and json elsewhere; NO_COLOR in the environment keeps a terminal's lines plain."""
    global _log, _output
    target = sys.stdout if stream is None else stream
    terminal = target is not None and not target.closed and target.isatty()
    if format == "auto":
        format = "console" if terminal else "json"
    colour = terminal and not os.environ.get("NO_COLOR")
    form = Json() if format == "json" else Logfmt() if format == "logfmt" else Console(colour)
    if _output.stream is not target or target is None or target.closed:
        _output = Output(target)
    _log = make(_output, form, getattr(logging, level.upper()))


def flush() -> None:
    """The process is about to end: say what is summed up, and give a slow reader of the log a moment."""
    _budget.sum_up(late=False)
    _output.flush(_LAST_SECONDS)


def sum_up() -> None:
    """To be called every few seconds: say how many lines were left out some time ago (`budget`)."""
    _budget.sum_up()


def bind(session: str, client: str, listener: str, upstream: str) -> None:
    """Name the session in every line of the current task and of the tasks it starts."""
    bound.set(Bound({"session": session, "client": client, "listener": listener, "upstream": upstream}))


def unbind() -> None:
    """The current task belongs to no session, though one has started it."""
    bound.set(None)


_output = Output(None)
_log: Any = make(_output, Json(), logging.CRITICAL)
os.register_at_fork(after_in_child=lambda: _output.forked())


def _again(said: Said, left_out: int) -> None:
    before = bound.set(said.session)
    try:
        getattr(_log, said.level)(said.event, **said.fields, suppressed=left_out or None)
    finally:
        bound.reset(before)


_budget = Budget(_again)


def _limited(level: str, event: str, *, of: str = "", **fields: object) -> None:
    """An event that a peer can cause as often as it likes; `of` is its address where that is not the session's."""
    mine = bound.get()
    client = of or (mine.client if mine is not None else "")
    _budget.take(client, Said(level, event, fields, mine))


def _where() -> tuple[str, str]:
    """The listener and the upstream that `bind` named."""
    mine = bound.get()
    return ("", "") if mine is None else mine.where


# --- the gateway ------------------------------------------------------------------------------------------------------


def gateway_ready(*, listeners: list[str], workers: int | None = None, admin: str | None = None) -> None:
    """All listeners are bound: `NAME ADDR:PORT -> URL` each; with how many processes, when there are several; where
    metrics and health are to be had, `ADDR:PORT`."""
    metrics.CONFIG_LOADED.set(value=time.time())
    _log.info("gateway.ready", listeners=listeners, workers=workers, admin=admin)


def gateway_reloaded(*, listeners: list[str], admin: str | None = None) -> None:
    """The configuration was read again, and is in use for all sessions from now on."""
    metrics.RELOADS.add("ok")
    metrics.CONFIG_LOADED.set(value=time.time())
    _log.info("gateway.reloaded", listeners=listeners, admin=admin)


def gateway_reload_failed(*, reason: str) -> None:
    """The configuration was read again and is of no use: the one before stays."""
    metrics.RELOADS.add("failed")
    _log.error("gateway.reload_failed", reason=reason)


def gateway_worker_lost(*, worker: int, pid: int, status: int, reason: str | None = None) -> None:
    """A worker process ended unasked, its sessions with it; another takes its place. `status`: its exit code, or the
    signal that killed it, negative; what it said last, if it could not begin."""
    metrics.WORKERS_LOST.add()
    _log.error("gateway.worker_lost", worker=worker, pid=pid, status=status, reason=reason)


def gateway_worker_retired(*, worker: int, pid: int, reason: str) -> None:
    """A worker could not take new settings: it ends as when the gateway stops, and another takes its place."""
    _log.error("gateway.worker_retired", worker=worker, pid=pid, reason=reason)


def gateway_crashed(*, error: BaseException) -> None:
    """A defect of the gateway, in no session: it cost a worker, or the answer to a probe."""
    _limited("error", "gateway.crashed", **_told(error))


def gateway_starved(*, reason: str) -> None:
    """Clients wait unheard: the system gives no descriptors, memory or processes for them."""
    metrics.STARVED.add()
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
    _limited("info", "session.queued", of=client, client=client, listener=listener, upstream=upstream, ahead=ahead)


def session_opened(*, waited_seconds: float | None = None) -> None:
    """The server is to be reached for a client, or there is something else to say of it; how long it waited for its
    place at the server, where that is limited."""
    metrics.SESSIONS.add(*_where())
    _log.info("session.opened", waited_seconds=None if waited_seconds is None else round(waited_seconds, 3))


def session_refused(*, client: str, listener: str, reason: str, limit: str) -> None:
    """A client was turned away before it had a session; `limit` is a key of the configuration (clients, sessions,
    sessions_per_client, queue), or `shutdown`, `changed` (settings), `left` (it has gone itself)."""
    metrics.SESSIONS_REFUSED.add(listener, limit)
    _limited("warning", "session.refused", of=client, client=client, listener=listener, reason=reason, limit=limit)


def session_login(*, user: str, ok: bool, reply: int) -> None:
    """The server's verdict on a login."""
    metrics.LOGINS.add(*_where(), "ok" if ok else "refused")
    (_log.info if ok else _log.warning)("session.login", user=user, ok=ok, reply=reply)


def session_command(*, verb: str, argument: str) -> None:
    """A command of the client."""
    if re.sub(r"[^A-Za-z]", "", verb).upper() in SECRET_VERBS:
        argument = "***"
    _log.debug("session.command", verb=redact(verb), argument=argument)


def session_reply(*, code: int, text: str) -> None:
    """A reply to the client."""
    _log.debug("session.reply", code=code, text=redact(text))


def command_refused(*, verb: str, reason: str) -> None:
    """A command that the gateway itself refuses; `verb` is empty for a line that is no command."""
    _limited("info", "command.refused", verb=redact(verb), reason=redact(reason))


def session_limit(*, limit: str, detail: str) -> None:
    """A limit was met; `limit` is its key in the configuration, or `login_timeout` or `bounce` (README.md)."""
    metrics.LIMITS.add(*_where(), limit)
    _limited("warning", "session.limit", limit=limit, detail=redact(detail))


def session_foreign(*, protocol: str) -> None:
    """The client speaks something else than FTP."""
    _limited("warning", "session.foreign", protocol=protocol)


def session_closed(
    *, seconds: float, reason: str, commands: int, transfers: int, torn: int, bytes_up: int, bytes_down: int
) -> None:
    """The session's totals; `torn` counts the transfers that were not complete."""
    if (mine := bound.get()) is not None:
        _budget.sum_up(mine)
    _log.info(
        "session.closed",
        seconds=round(seconds, 3),
        reason=redact(reason),
        commands=commands,
        transfers=transfers,
        torn=torn,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
    )


def session_unused(*, seconds: float, reason: str) -> None:
    """A client has left, as probes do, before it said anything that is for the server: there was no session."""
    _limited("debug", "session.unused", seconds=seconds, reason=redact(reason))


def session_crashed(*, error: BaseException) -> None:
    """A defect of the gateway ended this session. The traceback shows code, never the values of variables."""
    metrics.SESSIONS_CRASHED.add(*_where())
    _limited("error", "session.crashed", **_told(error))


def _told(error: BaseException) -> dict[str, str]:
    return {
        "error": type(error).__name__,
        "detail": redact(str(error)),
        "traceback": redact("".join(traceback.format_exception(error))),
    }


# --- the server -------------------------------------------------------------------------------------------------------


def upstream_secured(
    *,
    version: str,
    cipher: str,
    resumed: bool,
    host: str,
    address: str,
    port: int,
    certificate_sha256: str,
    pin: str,
    verified_by: Literal["chain", "pin"],
    subject: str,
    days_left: int | None,
    milliseconds: float,
) -> None:
    """TLS is up with the server of this name at this address, its certificate verified, in so many `milliseconds`."""
    metrics.UPSTREAM_SECONDS.observe(_where()[1], value=milliseconds / 1000)
    _log.info(
        "upstream.secured",
        version=version,
        cipher=cipher,
        resumed=resumed,
        host=host,
        address=address,
        port=port,
        certificate_sha256=certificate_sha256,
        pin=pin,
        verified_by=verified_by,
        subject=subject,
        days_left=days_left,
        milliseconds=round(milliseconds, 3),
    )


def upstream_certificate_expiring(*, days_left: int, subject: str) -> None:
    """The server's certificate will soon be refused."""
    _log.warning("upstream.certificate_expiring", days_left=days_left, subject=subject)


def upstream_failed(*, reason: str, detail: str, shown: Iterable[tuple[str, Any]] = ()) -> None:
    """No secure session with the server; `reason` is a machine word; `shown`: its certificate, by field."""
    metrics.UPSTREAM_FAILURES.add(*_where(), reason)
    _limited("warning", "upstream.failed", reason=reason, detail=redact(detail), **dict(shown))


def upstream_address_ignored(*, reply_host: str, peer: str) -> None:
    """The server named another host for data; the control connection's peer is used."""
    _limited("info", "upstream.address_ignored", reply_host=reply_host, peer=peer)


def upstream_reply_ignored(*, reply: str, reason: str) -> None:
    """The server said something that the client did not hear: nobody asked, it is no reply, it holds an address."""
    _limited("info", "upstream.reply_ignored", reply=redact(reply), reason=reason)


def upstream_session_reuse_refused(*, reply: str, hint: str | None = None) -> None:
    """The server refused a data connection for want of a resumed TLS session; what to try if it does so always."""
    metrics.UPSTREAM_REUSE_REFUSED.add(*_where())
    _limited("warning", "upstream.session_reuse_refused", reply=redact(reply), hint=hint)


# --- data connections -------------------------------------------------------------------------------------------------


def data_failed(failure: DataFailure) -> None:
    """A data connection with the client or the server has failed, before its transfer or in it."""
    cause = failure.cause.value
    metrics.DATA_FAILURES.add(*_where(), failure.side, cause)
    _limited(
        "warning",
        "data.failed",
        side=failure.side,
        mode=failure.mode or None,
        address=failure.address or None,
        port=failure.port,
        cause=cause,
        came_from=failure.came_from or None,
        reason=redact(failure.why),
        hint=failure.hint,
    )


def upstream_close_notify_missing(*, verb: str, again: bool = False) -> None:
    """A listing has ended without close_notify and is taken for whole; said once a session, counted each time."""
    metrics.CLOSE_NOTIFY_MISSING.add(*_where())
    if not again:
        _log.warning("upstream.close_notify_missing", verb=verb)


def data_contested(*, address: str, port: int) -> None:
    """A second connection came for one transfer: neither is kept."""
    metrics.DATA_CONTESTED.add()
    _log.warning("data.contested", address=address, port=port)


def data_stranger(*, address: str, port: int, expected: list[str], count: int) -> None:
    """Somebody who is not expected at a passive port came there, and was reset; `count` since the last such line."""
    _limited("warning", "data.stranger", of=address, address=address, port=port, expected=expected, count=count)


# --- the transfer -----------------------------------------------------------------------------------------------------


def transfer_refused(*, verb: str, path: str, reply: int, text: str) -> None:
    """There was no transfer: the server's reply to the command, or the gateway's own."""
    _limited("warning", "transfer.refused", verb=verb, path=path, reply=reply, text=redact(text))


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
    outcome: Literal["complete", "torn", "aborted"],
    reason: str,
    sha256: str | None,
) -> None:
    """All there is to say of one transfer. `bytes` passed the gateway; None is what was never known and is left out."""
    where = _where()
    metrics.TRANSFERS.add(*where, direction, outcome)
    metrics.TRANSFER_SECONDS.observe(*where, direction, value=seconds)
    if resumed is not None:
        metrics.DATA_CONNECTIONS.add(where[1], "yes" if resumed else "no")
    (_log.info if outcome == "complete" else _log.warning)(
        "transfer.finished",
        number=number,
        verb=verb,
        path=redact(path) if verb == "STOU" else path,  # the server's words: it has made the name
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
        reason=redact(reason),
        sha256=sha256,
    )
