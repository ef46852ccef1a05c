"""The vocabulary of the log: one function for each event the gateway can report, and what each counts (metrics.py).

Few, rich events rather than chatter; call sites are one line. The session's id, client, listener and upstream are bound
once, at the root of the session (`bind`), and stand in every line of it; who has logged in at which server is bound
when that is known, and stands in every line about a file (`facts`). A line is

    timestamp (ISO 8601, UTC, milliseconds) · level · event · session, client, listener, upstream · the event's fields

as JSON, logfmt or text for a terminal (`lines`). The arguments of PASS and ACCT never reach these functions, and are
struck out once more here. What a peer can have said again and again is limited and summed up (`budget`). A log that
cannot be written (disk full, pipe closed, nobody reads it) loses lines; it never harms or holds up a session, and
standard error hears of it once (`output`); there may be several of it (`several`). Until `configure` is called, or
`Prepared` used, nothing is logged.
"""

from ftpsproxy.observe.lines import Bound, Facts
from ftpsproxy.observe.log.data import (
    data_contested,
    data_failed,
    data_source_port_taken,
    data_stranger,
    upstream_close_notify_missing,
)
from ftpsproxy.observe.log.gateway import (
    Endpoint,
    gateway_crashed,
    gateway_draining,
    gateway_ready,
    gateway_reload_failed,
    gateway_reloaded,
    gateway_replace_failed,
    gateway_replaced,
    gateway_starved,
    gateway_stopped,
    gateway_worker_lost,
    gateway_worker_retired,
)
from ftpsproxy.observe.log.session import (
    command_refused,
    session_closed,
    session_command,
    session_crashed,
    session_foreign,
    session_limit,
    session_login,
    session_name_not_utf8,
    session_names_left_out,
    session_opened,
    session_queued,
    session_refused,
    session_reply,
    session_unused,
)
from ftpsproxy.observe.log.transfer import (
    file_changed,
    transfer_finished,
    transfer_progress,
    transfer_refused,
    transfer_started,
)
from ftpsproxy.observe.log.upstream import (
    upstream_address_ignored,
    upstream_certificate_expiring,
    upstream_failed,
    upstream_reply_ignored,
    upstream_secured,
    upstream_session_reuse_refused,
)
from ftpsproxy.observe.log.writing import (
    Prepared,
    begin_chain,
    bind,
    bound_now,
    configure,
    debugs,
    facts,
    flush,
    has_forked,
    join,
    remember,
    reopen,
    sum_up,
    unbind,
    within,
)
from ftpsproxy.observe.opening import LogError

__all__ = [
    "Bound",
    "Endpoint",
    "Facts",
    "LogError",
    "Prepared",
    "begin_chain",
    "bind",
    "bound_now",
    "command_refused",
    "configure",
    "data_contested",
    "data_failed",
    "data_source_port_taken",
    "data_stranger",
    "debugs",
    "facts",
    "file_changed",
    "flush",
    "gateway_crashed",
    "gateway_draining",
    "gateway_ready",
    "gateway_reload_failed",
    "gateway_reloaded",
    "gateway_replace_failed",
    "gateway_replaced",
    "gateway_starved",
    "gateway_stopped",
    "gateway_worker_lost",
    "gateway_worker_retired",
    "has_forked",
    "join",
    "remember",
    "reopen",
    "session_closed",
    "session_command",
    "session_crashed",
    "session_foreign",
    "session_limit",
    "session_login",
    "session_name_not_utf8",
    "session_names_left_out",
    "session_opened",
    "session_queued",
    "session_refused",
    "session_reply",
    "session_unused",
    "sum_up",
    "transfer_finished",
    "transfer_progress",
    "transfer_refused",
    "transfer_started",
    "unbind",
    "upstream_address_ignored",
    "upstream_certificate_expiring",
    "upstream_close_notify_missing",
    "upstream_failed",
    "upstream_reply_ignored",
    "upstream_secured",
    "upstream_session_reuse_refused",
    "within",
]
