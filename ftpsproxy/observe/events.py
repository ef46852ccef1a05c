"""The events of the log: at which levels each is said, and which fields stand in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ftpsproxy.observe import fields
from ftpsproxy.observe.fields import Shape, words


class Of(Enum):
    """Whose line it is: the gateway's, that of a client without a session, of a session, of any of these."""

    GATEWAY = "gateway"
    SESSION = "session"
    ANY = "any"


IN_EVERY_LINE = ("timestamp", "level", "event")
IN_A_CHAIN = ("writer", "seq", "chain")
IN_A_SESSION = ("session", "client", "listener", "upstream")
ABOUT_A_FILE = ("user", "server", "server_address", "certificate_sha256", "verified_by", "directory")


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event: what it says, the fields it always has, and those it may have (`maybe`). `about_a_file`: those
    of ABOUT_A_FILE, too. `lists` are the closed lists of its own; `old` its fields of old names, and what they were."""

    text: str
    levels: tuple[str, ...]
    always: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    of: Of = Of.SESSION
    about_a_file: bool = False
    lists: Mapping[str, Shape] = field(default_factory=dict)
    old: Mapping[str, Shape] = field(default_factory=dict)


DEBUG, INFO, WARNING, ERROR = (("debug",), ("info",), ("warning",), ("error",))
INFO_OR_WARNING = (*INFO, *WARNING)
_CRASH = ("error", "detail", "traceback")
_REASON: Mapping[str, Shape] = {"reason": fields.TEXT}
_TRANSFER = ("number", "verb", "path", "direction")
_OF_TRANSFER = ("type", "offset")

EVENTS: Mapping[str, Event] = {
    "gateway.ready": Event(
        "All listeners are bound.",
        INFO,
        ("gateway_version", "hostname", "pid", "listening"),
        ("workers", "admin", "replaces"),
        of=Of.GATEWAY,
        old={"listeners": fields.TEXTS},
    ),
    "gateway.reloaded": Event(
        "The configuration was read again.",
        INFO,
        ("gateway_version", "hostname", "pid", "listening"),
        ("admin",),
        of=Of.GATEWAY,
        old={"listeners": fields.TEXTS},
    ),
    "gateway.reload_failed": Event(
        "It was of no use, and the one before stays.", ERROR, ("detail",), of=Of.GATEWAY, old=_REASON
    ),
    "gateway.replaced": Event(
        "Another process has taken this one's place; sessions that there are go on here.",
        INFO,
        ("pid", "sessions"),
        of=Of.GATEWAY,
    ),
    "gateway.replace_failed": Event(
        "No other process could take this one's place: all stays as it was.", ERROR, ("detail",), of=Of.GATEWAY
    ),
    "gateway.draining": Event(
        "No new sessions; running transfers may end.",
        INFO,
        ("sessions", "drain_seconds"),
        of=Of.GATEWAY,
        old={"seconds": fields.SECONDS},
    ),
    "gateway.stopped": Event("All sessions are over.", INFO, ("seconds",), of=Of.GATEWAY),
    "gateway.starved": Event(
        "Clients wait unheard: the system gives no descriptors, memory or processes.",
        ERROR,
        ("detail",),
        of=Of.ANY,
        old=_REASON,
    ),
    "gateway.worker_lost": Event(
        "A worker process ended unasked; another takes its place.",
        ERROR,
        ("worker", "pid", "status"),
        ("detail",),
        of=Of.GATEWAY,
        old=_REASON,
    ),
    "gateway.worker_retired": Event(
        "A worker could not take a new configuration and ends; another takes its place.",
        ERROR,
        ("worker", "pid", "detail"),
        of=Of.GATEWAY,
        old=_REASON,
    ),
    "gateway.log_lost": Event(
        "Lines could not be written: nobody read them, the disk was full.",
        ERROR,
        ("lost",),
        of=Of.GATEWAY,
        old={"count": fields.COUNT},
    ),
    "gateway.log_failing": Event(
        "Another output of the log loses lines, or keeps them for a place that is gone.",
        ERROR,
        ("output", "detail"),
        of=Of.GATEWAY,
    ),
    "gateway.log_restored": Event(
        "That output has worked again for some seconds; lines it lost meanwhile.",
        INFO,
        ("output", "lost"),
        of=Of.GATEWAY,
    ),
    "gateway.chain_begun": Event(
        "The first line of a process whose lines are chained.",
        INFO,
        ("gateway_version", "hostname", "pid", "keyed"),
        ("forked_from",),
        of=Of.GATEWAY,
    ),
    "gateway.chain_forked": Event(
        "This process has started another one, with a chain of its own.", INFO, ("pid", "child"), of=Of.GATEWAY
    ),
    "gateway.chain_ended": Event("The last line of such a process.", INFO, of=Of.GATEWAY),
    "gateway.crashed": Event("A mistake of ours, in no session.", ERROR, _CRASH, of=Of.ANY),
    "session.queued": Event(
        "A client waits for a place at a server that takes only so many sessions.",
        INFO,
        ("client", "listener", "upstream", "ahead"),
        of=Of.ANY,
    ),
    "session.refused": Event(
        "A client was turned away before it had a session.",
        WARNING,
        ("client", "listener", "limit", "detail"),
        of=Of.ANY,
        lists={"limit": words(*fields.LIMITS_OF_CLIENTS)},
        old=_REASON,
    ),
    "session.opened": Event("A client has its session.", INFO, (), ("waited_seconds",)),
    "session.login": Event("The server's answer to a login.", INFO_OR_WARNING, ("user", "ok", "reply")),
    "session.command": Event("A command of the client's.", DEBUG, ("verb", "argument")),
    "session.reply": Event("A reply of the server's.", DEBUG, ("reply", "text"), old={"code": fields.REPLY}),
    "session.name_not_utf8": Event(
        "A name that is not UTF-8 went to a server that says it takes UTF-8; said once a session.",
        WARNING,
        ("verb", "path", "hint"),
    ),
    "session.names_left_out": Event(
        "Lines of a listing were left out: the client's charset has no letters for the names in them.",
        WARNING,
        ("verb", "count"),
    ),
    "session.limit": Event(
        "A limit was met.",
        WARNING,
        ("limit", "detail"),
        lists={"limit": words(*fields.LIMITS_OF_SESSIONS)},
    ),
    "session.foreign": Event(
        "HTTP, TLS or the PROXY header of a load balancer came to the FTP port.", WARNING, ("protocol",)
    ),
    "session.closed": Event(
        "The session's end, and its totals.",
        INFO,
        ("seconds", "cause", "commands", "transfers", "torn", "bytes_up", "bytes_down"),
        ("detail",),
        lists={"cause": words(*fields.ENDINGS)},
        old=_REASON,
    ),
    "session.unused": Event(
        "A client has left before it said anything that is for its server.",
        DEBUG,
        ("seconds", "cause"),
        ("detail",),
        lists={"cause": words(*fields.ENDINGS)},
    ),
    "session.crashed": Event("A mistake of ours; no other session is touched.", ERROR, _CRASH, of=Of.ANY),
    "command.refused": Event(
        "The gateway itself refused a command, or a line that is none.",
        INFO,
        ("verb", "detail"),
        ("argument",),
        old=_REASON,
    ),
    "upstream.secured": Event(
        "TLS stands, the certificate is verified.",
        INFO,
        (
            "server",
            "server_address",
            "tls_version",
            "cipher",
            "resumed",
            "certificate_sha256",
            "pin",
            "verified_by",
            "subject",
            "handshake_seconds",
        ),
        ("days_left",),
        old={
            "version": fields.TEXT,
            "host": fields.TEXT,
            "address": fields.TEXT,
            "port": fields.PORT,
            "milliseconds": fields.SECONDS,
        },
    ),
    "upstream.failed": Event(
        "No session, and why.",
        WARNING,
        ("cause", "detail"),
        ("certificate_sha256", "pin", "subject", "names", "issuer", "serial", "not_before", "not_after"),
        lists={"cause": words(*fields.UPSTREAM_CAUSES)},
        old={"reason": words(*fields.UPSTREAM_CAUSES)},
    ),
    "upstream.certificate_expiring": Event("Fewer than 14 days are left.", WARNING, ("days_left", "subject")),
    "upstream.address_ignored": Event(
        "A passive reply named another host; the data went to the control connection's peer.",
        INFO,
        ("reply_host", "server_address"),
        old={"peer": fields.TEXT},
    ),
    "upstream.reply_ignored": Event(
        "The server said what the client did not hear.",
        INFO,
        ("said", "cause", "detail"),
        lists={"cause": words(*fields.IGNORED)},
        old={"reply": fields.TEXT, **_REASON},
    ),
    "upstream.session_reuse_refused": Event(
        "The server did not find its TLS session resumed.",
        WARNING,
        ("said",),
        ("hint",),
        old={"reply": fields.TEXT},
    ),
    "upstream.close_notify_missing": Event(
        "A listing ended without close_notify and is taken for whole; said once a session.", WARNING, ("verb",)
    ),
    "data.failed": Event(
        "A data connection failed, before its transfer or in it.",
        WARNING,
        ("side", "cause", "detail"),
        ("mode", "address", "port", "came_from", "hint"),
        lists={"cause": words(*fields.DATA_CAUSES)},
        old=_REASON,
    ),
    "data.contested": Event(
        "A second connection came for one transfer: neither is kept.",
        WARNING,
        ("came_from", "port"),
        of=Of.ANY,
        old={"address": fields.TEXT},
    ),
    "data.source_port_taken": Event(
        "A connection to the client comes from another port than active_source_port, which is still in use to it.",
        WARNING,
        ("address", "port", "detail", "hint"),
    ),
    "data.stranger": Event(
        "Somebody came to a passive port who is not expected there, and was reset.",
        WARNING,
        ("came_from", "port", "expected", "count"),
        ("detail",),
        of=Of.ANY,
        old={"address": fields.TEXT},
    ),
    "transfer.refused": Event(
        "There was no transfer: the server's reply to the command, or the gateway's.",
        WARNING,
        ("verb", "path", "reply", "text"),
        about_a_file=True,
    ),
    "transfer.started": Event(
        "A transfer has begun; at info once it has lasted for log.progress_seconds.",
        (*DEBUG, *INFO),
        _TRANSFER,
        (*_OF_TRANSFER, "client_mode", "upstream_mode", "seconds"),
        about_a_file=True,
    ),
    "transfer.progress": Event(
        "It goes on, each time that log.progress_seconds have passed.",
        INFO,
        (*_TRANSFER, "bytes", "seconds"),
        (*_OF_TRANSFER, "ttfb_seconds"),
        about_a_file=True,
    ),
    "transfer.finished": Event(
        "Everything about one transfer.",
        INFO_OR_WARNING,
        (*_TRANSFER, "bytes", "seconds", "outcome"),
        (
            *_OF_TRANSFER,
            "ttfb_seconds",
            "client_mode",
            "upstream_mode",
            "tls_version",
            "cipher",
            "resumed",
            "close_notify",
            "reply",
            "remark",
            "side",
            "cause",
            "detail",
            "sha256",
        ),
        about_a_file=True,
        lists={"cause": words(*fields.DATA_CAUSES)},
        old=_REASON,
    ),
    "file.changed": Event(
        "A command has changed a file, or the server has refused it.",
        INFO_OR_WARNING,
        ("action", "verb"),
        ("path", "to", "ok", "reply"),
        about_a_file=True,
    ),
}
"""By their names."""
