"""The fields of the log. One name has one meaning and one shape, in whatever event it stands.

A field that is not known is left out, unless it `may_be_null`. The names that are `old` are still written beside those
that have taken their place, for one version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from ftpsproxy.ftp.changes import Action
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.ftp.orders import Ending, Ignored, Outcome

Shape = Mapping[str, Any]
"""A JSON Schema of one value."""

TEXT: Final[Shape] = {"type": "string"}
TEXTS: Final[Shape] = {"type": "array", "items": TEXT}
YES_OR_NO: Final[Shape] = {"type": "boolean"}
INTEGER: Final[Shape] = {"type": "integer"}
COUNT: Final[Shape] = {"type": "integer", "minimum": 0}
SECONDS: Final[Shape] = {"type": "number", "minimum": 0}
PORT: Final[Shape] = {"type": "integer", "minimum": 0, "maximum": 65535}
_DIGEST: Final[Shape] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_WRITER: Final[Shape] = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
REPLY: Final[Shape] = {"type": "integer", "minimum": 100, "maximum": 599}


def words(*these: str) -> Shape:
    """One of a closed list."""
    return {"enum": list(these)}


def objects(**shapes: Shape) -> Shape:
    """A list of objects of these fields."""
    fields = {name: dict(shape) for name, shape in shapes.items()}
    item = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "array", "items": item}


@dataclass(frozen=True, slots=True)
class Field:
    """What a field means, in a line, and its shape."""

    text: str
    shape: Shape
    may_be_null: bool = False


LEVELS = ("debug", "info", "warning", "error")

UPSTREAM_CAUSES = (
    # it was not reached, or says too little
    "connect_failed",
    "connect_timeout",
    "closed",
    "timeout",
    "protocol_error",
    "greeting_refused",
    "greeted_twice",
    # no TLS, or another kind than expected
    "auth_refused",
    "bytes_after_auth",
    "bytes_after_greeting",
    "handshake_failed",
    "handshake_garbage",
    "handshake_refused",
    "handshake_timeout",
    "implicit_tls",
    "plaintext_on_implicit_port",
    "protocol_version",
    "prot_refused",
    # its certificate, and ours
    "certificate",
    "expired",
    "no_certificate",
    "not_yet_valid",
    "revocation_unknown",
    "revoked",
    "self_signed",
    "unknown_ca",
    "wrong_host",
    "wrong_pin",
    "client_certificate_refused",
    "client_certificate_required",
)
ENDINGS = tuple(ending.value for ending in Ending)
DIRECTIONS = tuple(direction.value for direction in Direction)
OUTCOMES: tuple[str, ...] = get_args(Outcome)
SIDES: tuple[str, ...] = get_args(Side)
IGNORED = tuple(why.value for why in Ignored)
DATA_CAUSES = tuple(cause.value for cause in Cause)
CAUSES = tuple(dict.fromkeys((*UPSTREAM_CAUSES, *ENDINGS, *IGNORED, *DATA_CAUSES)))

CLIENT_MODES = ("passive", "active", "balanced")  # the last one by way of a load balancer, which ends it as it likes
UPSTREAM_MODES = ("epsv", "pasv", "eprt", "port")

LIMITS_OF_SESSIONS = (
    "bad_lines",
    "bounce",
    "commands_per_second",
    "final_reply_timeout",
    "line_bytes",
    "login_attempts",
    "login_timeout",
    "others_wait",
    "pending_data",
    "refused_logins",
    "reply_timeout",
)
LIMITS_OF_CLIENTS = (
    "changed",
    "clients",
    "left",
    "proxy_protocol",
    "queue",
    "refused_logins",
    "sessions",
    "sessions_per_client",
    "sessions_per_second",
    "shutdown",
)

FIELDS: Mapping[str, Field] = {
    # in every line
    "timestamp": Field("when, in UTC", {"type": "string", "format": "date-time"}),
    "level": Field("how much it matters", words(*LEVELS)),
    "event": Field("what has happened", TEXT),
    "suppressed": Field("so many lines of this kind were left out before this one", COUNT),
    # in every line of a log that is chained
    "writer": Field("the chain it belongs to: one for each process", _WRITER),
    "seq": Field("its place in that, from 1", {"type": "integer", "minimum": 1}),
    "chain": Field("the SHA-256, or HMAC-SHA-256, of it and the line before", _DIGEST),
    # in every line of a session
    "session": Field("the session's id", {"type": "string", "pattern": "^[0-9a-f]{12}$"}),
    "client": Field("the client's address", TEXT),
    "listener": Field("the listener it came to", TEXT),
    "upstream": Field("the upstream of that listener", TEXT),
    # in every line about a file
    "user": Field("who has logged in; null before that", TEXT, may_be_null=True),
    "server": Field("the server, HOST:PORT as it is configured", TEXT),
    "server_address": Field("the address that the server has, without a zone", TEXT),
    "certificate_sha256": Field("the SHA-256 of the server's certificate", _DIGEST),
    "verified_by": Field("what has proved it", words("chain", "pin")),
    "directory": Field(
        "where the session was at the server; null where that is not known for sure", TEXT, may_be_null=True
    ),
    "directory_relative": Field("the directory is the way from that of the login, . for that itself", {"const": True}),
    # why and what
    "cause": Field("why, in a word of a closed list", words(*CAUSES)),
    "detail": Field("the same in words for people", TEXT),
    "hint": Field("what to do about it", TEXT),
    "error": Field("the type of the exception", TEXT),
    "traceback": Field("where it was raised: code, no values", TEXT),
    "limit": Field(
        "the setting that was met, or another bound", words(*sorted({*LIMITS_OF_SESSIONS, *LIMITS_OF_CLIENTS}))
    ),
    "seconds": Field("how long it has lasted: the transfer, the session, the process", SECONDS),
    # the gateway
    "gateway_version": Field("of this program", TEXT),
    "hostname": Field("of the machine it runs on", TEXT),
    "pid": Field("the process", COUNT),
    "listening": Field(
        "the listeners, and where each leads",
        objects(listener=TEXT, address=TEXT, port=PORT, upstream=TEXT, url=TEXT),
    ),
    "admin": Field("where metrics and health are to be had, ADDR:PORT", TEXT),
    "workers": Field("how many processes there are, when several", COUNT),
    "replaces": Field("the process whose place it has taken", COUNT),
    "worker": Field("which of them", COUNT),
    "status": Field("its exit code, or the signal that has killed it, negative", INTEGER),
    "sessions": Field("how many there are", COUNT),
    "drain_seconds": Field("how long transfers may go on", SECONDS),
    "lost": Field("how many lines could not be written before this one", COUNT),
    "output": Field("the output of the log, by its name", TEXT),
    "keyed": Field("whether it takes the key of log.chain_key_file to make this chain", YES_OR_NO),
    "forked_from": Field("the chain of the process that has started this one", _WRITER),
    "child": Field("the chain of the process that was started", _WRITER),
    # sessions
    "ahead": Field("how many clients wait before this one", COUNT),
    "waited_seconds": Field("how long the client has waited for its session", SECONDS),
    "protocol": Field("what the client speaks instead of FTP", words("http", "tls", "proxy")),
    "verb": Field("the client's command; empty where its line is none", TEXT),
    "argument": Field("what stood behind the verb, if that may be shown", TEXT),
    "reply": Field("the code of a reply", REPLY),
    "text": Field("the words of a reply", TEXT),
    "said": Field("a reply of the server's as it was, code and words", TEXT),
    "ok": Field("whether the server has done it", YES_OR_NO),
    "commands": Field("how many the client has said", COUNT),
    "transfers": Field("how many there were", COUNT),
    "torn": Field("how many of them were not complete", COUNT),
    "bytes_up": Field("bytes of uploads", COUNT),
    "bytes_down": Field("bytes of downloads", COUNT),
    # TLS
    "tls_version": Field("of the connection to the server", words("TLSv1.2", "TLSv1.3")),
    "cipher": Field("its cipher suite", TEXT),
    "resumed": Field("whether it has resumed a TLS session", YES_OR_NO),
    "handshake_seconds": Field("how long the handshake has taken", SECONDS),
    "pin": Field("the certificate's key, as it is written into pins", TEXT),
    "subject": Field("whose certificate it is", TEXT),
    "names": Field("for which hosts", TEXTS),
    "issuer": Field("who has signed it", TEXT),
    "serial": Field("its serial number", TEXT),
    "not_before": Field("from when on it is valid", {"type": "string", "format": "date-time"}),
    "not_after": Field("until when", {"type": "string", "format": "date-time"}),
    "days_left": Field("how many days until then", INTEGER),
    # data connections
    "side": Field("whose data connection it is", words(*SIDES)),
    "mode": Field("how it was to come about", words(*CLIENT_MODES, *UPSTREAM_MODES)),
    "address": Field("where a data connection was to go, or to come in", TEXT),
    "port": Field("the port there", PORT),
    "came_from": Field("who came there, and was not, or not alone, expected", TEXT),
    "expected": Field("who is", TEXTS),
    "count": Field("how many of them since the last such line", COUNT),
    "reply_host": Field("the host that a passive reply has named", TEXT),
    # transfers and files
    "number": Field("the transfer's, from 1 in each session", {"type": "integer", "minimum": 1}),
    "path": Field("the file, as the client has named it", TEXT),
    "to": Field("its new name", TEXT),
    "action": Field("what has become of it", words(*(action.value for action in Action))),
    "type": Field("the TYPE it was transferred in", words("A", "E", "I", "L")),
    "offset": Field("the byte of the file that the transfer begins with", COUNT),
    "direction": Field("which way it goes", words(*DIRECTIONS)),
    "bytes": Field("how many have passed", COUNT),
    "ttfb_seconds": Field("how long it had lasted when the first byte passed", SECONDS),
    "client_mode": Field("how the client's data connection came about", words(*CLIENT_MODES)),
    "upstream_mode": Field("how the server's did", words(*UPSTREAM_MODES)),
    "close_notify": Field("whether the server has ended its data by close_notify", YES_OR_NO),
    "outcome": Field("how it has ended", words(*OUTCOMES)),
    "remark": Field(
        "how it is known that it was complete, where that was not by the usual way",
        words("client_gone_before_226", "ended_in_band", "proved_by_size"),
    ),
    "sha256": Field("of what has passed", _DIGEST),
}
"""All of them, old names aside, by the part of the log where they belong first."""
