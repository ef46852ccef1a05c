"""What the log hears of a session and its client."""

import re
from typing import Any

from ftpsproxy.ftp.orders import HangUp
from ftpsproxy.observe import metrics
from ftpsproxy.observe.log.writing import bind_user, bound_now, close_account, limited, say, where
from ftpsproxy.observe.redaction import SECRET_VERBS, redact, told


def session_queued(*, client: str, listener: str, upstream: str, ahead: int) -> None:
    """A client waits, without a session yet, for a place at its upstream; `ahead` of it so many in this process."""
    whose = _whose(client=client, listener=listener, upstream=upstream)
    limited("info", "session.queued", of=client, ahead=ahead, **whose)


def session_opened(*, waited_seconds: float | None = None) -> None:
    """The server is to be reached for a client, or there is something else to say of it; how long it waited for its
    place at the server, where that is limited."""
    metrics.SESSIONS.add(*where())
    say("info", "session.opened", waited_seconds=None if waited_seconds is None else round(waited_seconds, 3))


def session_refused(*, client: str, listener: str, detail: str, limit: str) -> None:
    """A client was turned away before it had a session; `limit` is a key of the configuration (clients, sessions,
    sessions_per_client, queue), or `shutdown`, `changed` (settings), `left` (it has gone itself)."""
    metrics.SESSIONS_REFUSED.add(listener, limit)
    whose = _whose(client=client, listener=listener)
    limited("warning", "session.refused", of=client, detail=detail, limit=limit, **whose)


def _whose(**names: str) -> dict[str, Any]:
    """Whom a line is about that may be none of a session; in one of a session that stands already."""
    return names if bound_now() is None else {}


def session_login(*, user: str, ok: bool, reply: int) -> None:
    """The server's verdict on a login."""
    metrics.LOGINS.add(*where(), metrics.OK if ok else metrics.REFUSED)
    if ok:
        bind_user(user)
    say("info" if ok else "warning", "session.login", user=user, ok=ok, reply=reply)


def session_command(*, verb: str, argument: str) -> None:
    """A command of the client."""
    if re.sub(r"[^A-Za-z]", "", verb).upper() in SECRET_VERBS:
        argument = "***"
    say("debug", "session.command", verb=redact(verb), argument=argument)


def session_reply(*, reply: int, text: str) -> None:
    """A reply to the client."""
    say("debug", "session.reply", reply=reply, text=redact(text))


def command_refused(*, verb: str, detail: str, argument: str | None = None) -> None:
    """A command that the gateway itself refuses; `verb` is empty for a line that is no command. `argument`: of one that
    this client may not say, as far as it may be shown."""
    shown = None if argument is None else redact(argument)
    limited("info", "command.refused", verb=redact(verb), argument=shown, detail=redact(detail))


def session_name_not_utf8(*, verb: str, path: str) -> None:
    """A name that is not UTF-8 went as it is to a server that has said that it takes UTF-8; once a session."""
    hint = "if its names look wrong at the server: client_charset of the listener has them translated"
    limited("warning", "session.name_not_utf8", verb=verb, path=redact(path), hint=hint)


def session_names_left_out(*, verb: str, count: int) -> None:
    """So many lines of a listing the client did not get: its charset has no letters for the names in them."""
    limited("warning", "session.names_left_out", verb=verb, count=count)


def session_limit(*, limit: str, detail: str) -> None:
    """A limit was met; `limit` is its key in the configuration, or `login_timeout` or `bounce` (README.md)."""
    metrics.LIMITS.add(*where(), limit)
    limited("warning", "session.limit", limit=limit, detail=redact(detail))


def session_foreign(*, protocol: str) -> None:
    """The client speaks something else than FTP."""
    limited("warning", "session.foreign", protocol=protocol)


def session_closed(
    *, seconds: float, end: HangUp, commands: int, transfers: int, torn: int, bytes_up: int, bytes_down: int
) -> None:
    """The session's totals; `torn` counts the transfers that were not complete."""
    close_account()
    say(
        "info",
        "session.closed",
        seconds=round(seconds, 3),
        cause=end.ending.value,
        detail=redact(end.detail) or None,
        commands=commands,
        transfers=transfers,
        torn=torn,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
    )


def session_unused(*, seconds: float, end: HangUp) -> None:
    """A client has left, as probes do, before it said anything that is for the server: there was no session."""
    limited("debug", "session.unused", seconds=seconds, cause=end.ending.value, detail=redact(end.detail) or None)


def session_crashed(*, error: BaseException) -> None:
    """A defect of the gateway ended this session. The traceback shows code, never the values of variables."""
    metrics.SESSIONS_CRASHED.add(*where())
    limited("error", "session.crashed", **told(error))
