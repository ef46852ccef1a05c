"""Why something has failed, in plain words, and what to do about it. What an event itself says (`hint`) comes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftpsproxy.ftp.data_failure import Cause, DataFailure, Side

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Advice:
    """`do` is empty where nothing in particular can be said."""

    why: str
    do: str = ""


def advice(event: Event) -> Advice:
    """For an event that is a failure (telling.py)."""
    name, cause = event["event"], event.get("cause", "")
    if name == "upstream.failed":
        found = _UPSTREAM.get(cause, Advice("there is no secure session with the server"))
    elif name == "transfer.finished" and cause == "":
        found = _OUTCOMES.get(event.get("outcome", ""), _OUTCOMES["torn"])
    elif name in ("data.failed", "transfer.finished"):
        found = _of_data(event, cause)
    elif name in ("session.limit", "session.refused"):
        found = _LIMITS.get(event.get("limit", ""), Advice("a limit of the gateway's was met"))
    elif name in ("transfer.refused", "file.changed", "session.login"):
        found = _of_reply(name, event.get("reply"))
    else:
        found = _EVENTS.get(name, Advice(""))
    hint = event.get("hint")
    return Advice(found.why, hint) if hint else found


def _of_data(event: Event, cause: str) -> Advice:
    side: Side = "client" if event.get("side") == "client" else "server"
    why = _DATA.get(cause, "its data connection has failed").format(side=side)
    try:
        found = DataFailure(side, Cause(cause), "", str(event.get("mode", ""))).hint
    except ValueError:
        found = None
    if event["event"] == "transfer.finished":
        why = f"{why}; the file is not whole, and neither side takes it for that"
    return Advice(why, found or _SEND_AGAIN)


def _of_reply(name: str, reply: object) -> Advice:
    if name == "session.login":
        return Advice(
            "the server refuses this user and password",
            "see what is typed into the device; it passes through as it is. A 421 is a server that is full",
        )
    if name == "file.changed" and reply is None:
        return Advice("the session ended before the server said whether it is done", "look at the server")
    if isinstance(reply, int) and reply in _REPLIES:
        return _REPLIES[reply]
    if isinstance(reply, int) and 400 <= reply < 500:
        return Advice(
            "not now: the server, or the gateway for it, says that it may go later", "let the client try again"
        )
    return Advice("the server, or the gateway for it, refuses it", "see the words of the reply")


_SEND_AGAIN = "let the client send it again; if it is the same each time, see data.failed and the server's own log"

_OUTCOMES: Mapping[str, Advice] = {
    "torn": Advice("the file is not whole, and neither side takes it for that", _SEND_AGAIN),
    "aborted": Advice("the client broke it off (ABOR)", "nothing, if that was meant"),
}

_DATA: Mapping[str, str] = {
    "no_answer": "no answer from the {side} to the data connection: something drops it",
    "refused": "the {side} refuses the data connection",
    "unreachable": "there is no way to the {side} for the data connection",
    "never_came": "the {side} never opened its data connection",
    "foreign_address": "a data connection came from another address than the {side}'s",
    "contested": "two came for one transfer, and nobody can tell which is right",
    "no_port": "the gateway has no port left for a data connection",
    "starved": "the gateway's system gives nothing more for a data connection",
    "not_offered": "the server offers no passive data connection that is of use",
    "not_prepared": "the client asks for a transfer without having said how",
    "tls": "TLS on the data connection has failed",
    "broken": "the {side} broke its data connection",
    "cut": "the data of the {side} ended before their end",
    "stalled": "the {side} fell silent in mid-transfer",
    "control_lost": "the client left in mid-transfer",
    "too_large": "the file is larger than max_file_bytes of its listener",
}

_PIN = 'compare the pin with the partner, by telephone say; then verify = "pin" and pins = ["sha256/…"]'
_PROBE = "see what it is: ftpsproxy probe HOST"
_KIND = "ftpes:// is for explicit, ftps:// for implicit TLS; ftpsproxy probe HOST tells which it is"
_UPSTREAM: Mapping[str, Advice] = {
    "connect_failed": Advice("the server can't be reached", "see host, port, routes and firewalls from here to there"),
    "connect_timeout": Advice("the server does not answer", "a firewall drops it, or the host is down: see url"),
    "closed": Advice("the server closed the connection before there was a session", _PROBE),
    "timeout": Advice("the server fell silent before there was a session", f"timeouts.…, or {_KIND}"),
    "protocol_error": Advice("what the server says is no FTP", _PROBE),
    "greeting_refused": Advice(
        "the server refuses the session by its greeting", "see its words; if it is full: sessions"
    ),
    "greeted_twice": Advice("the server greets a second time behind TLS", _PROBE),
    "auth_refused": Advice("the server refuses AUTH TLS", _KIND),
    "bytes_after_auth": Advice(
        "bytes in clear came behind AUTH: somebody may speak for the server", "look who is between gateway and server"
    ),
    "bytes_after_greeting": Advice(
        "bytes in clear came behind the greeting: somebody may speak for the server",
        "look who is between gateway and server",
    ),
    "handshake_failed": Advice("TLS with the server has failed", "ftpsproxy probe HOST looks at it step by step"),
    "handshake_garbage": Advice("the server answers TLS by something else", _KIND),
    "handshake_refused": Advice("the server refuses TLS with this gateway", "see tls_min, tls_max, ciphers; " + _PROBE),
    "handshake_timeout": Advice(
        "the server fell silent in the TLS handshake", "a firewall that looks into FTP, perhaps"
    ),
    "implicit_tls": Advice("the server begins with TLS: it is implicit", "ftps:// in place of ftpes://"),
    "plaintext_on_implicit_port": Advice(
        "the server does not begin with TLS: it is explicit, perhaps",
        "ftpes:// in place of ftps://, or implicit_greeting",
    ),
    "protocol_version": Advice("no TLS version that both allow", "see tls_min and tls_max"),
    "prot_refused": Advice("the server takes no protected data connections", "a server without PROT P can't be used"),
    "certificate": Advice("the server's certificate does not prove it", _PIN),
    "expired": Advice("the server's certificate has expired", "the partner has to renew it"),
    "no_certificate": Advice("the server shows no certificate", "such a server can't be used"),
    "not_yet_valid": Advice("the server's certificate is not valid yet", "see the clocks here and there"),
    "revocation_unknown": Advice("whether the certificate is revoked can't be told", "renew the list in crl_file"),
    "revoked": Advice("the server's certificate has been revoked", "the partner has to get another one"),
    "self_signed": Advice("no authority stands behind the server's certificate", _PIN),
    "unknown_ca": Advice("who has signed the server's certificate is not trusted here", f"ca_file, or {_PIN}"),
    "wrong_host": Advice("the certificate is for another host", "if the partner says that it is right: server_name"),
    "wrong_pin": Advice("it is not the certificate, or key, that is pinned", _PIN),
    "client_certificate_refused": Advice(
        "the server refuses our certificate", "see cert_file; the partner has to know it"
    ),
    "client_certificate_required": Advice("the server asks for a certificate of ours", "cert_file (see ftpsproxy csr)"),
}

_SLOWER = "let the client ask for less at a time, or raise "
_LIMITS: Mapping[str, Advice] = {
    "bad_lines": Advice("too many lines that are no command", "see what the client is: it may speak no FTP"),
    "bounce": Advice("the client names another host, or a low port, for its data", "let it use passive mode"),
    "commands_per_second": Advice("the client says more commands a second than allowed", f"{_SLOWER}it"),
    "final_reply_timeout": Advice("the server never said how the transfer ended", "timeouts.final_reply"),
    "line_bytes": Advice("a line of the client's is too long", "see what the client is: it may speak no FTP"),
    "login_attempts": Advice("too many logins were refused in one session", "see user and password in the device"),
    "login_timeout": Advice("the client did not log in in time", "timeouts.login, or a client that only looks"),
    "others_wait": Advice("others waited for this client's place at the server", "sessions, timeouts.others_wait"),
    "pending_data": Advice("too many data connections are waited for", "limits.pending_data"),
    "refused_logins": Advice("a client tries a wrong password again and again", "see user and password in the device"),
    "reply_timeout": Advice("the server did not answer a command", "timeouts.reply, or a server that hangs"),
    "changed": Advice("the listener changed while the client waited", "let the client come again"),
    "clients": Advice("the client's address is not let in", "clients of that listener, if it is to be"),
    "left": Advice("the client left while it waited for a place", "sessions of that upstream, if the wait is long"),
    "queue": Advice("no place at the server became free in time", "sessions of that upstream, timeouts.queue"),
    "proxy_protocol": Advice(
        "a load balancer did not say for whom it connects", "send-proxy-v2 at it, or out of proxy_protocol"
    ),
    "sessions": Advice("as many sessions as are allowed in all", "limits.sessions"),
    "sessions_per_client": Advice("as many sessions as are allowed to one client", "limits.sessions_per_client"),
    "sessions_per_second": Advice("the client comes more often than allowed", f"{_SLOWER}limits.sessions_per_second"),
    "shutdown": Advice("the gateway was about to stop", "nothing"),
}

_REPLIES: Mapping[int, Advice] = {
    421: Advice("the server, or the gateway, ends the session", "see its words; if the server is full: sessions"),
    425: Advice("there is no data connection", "see data.failed of this session"),
    426: Advice("the data connection has been broken", "see data.failed of this session"),
    450: Advice("the file is not to be had just now, or there is none", "let the client try again"),
    451: Advice("a mistake at the server", "ask its operator"),
    452: Advice("no room at the server", "ask its operator"),
    503: Advice("the client asks for it too early", "PASV or PORT comes first"),
    522: Advice("the server misses the TLS session on the data connection", 'try tls_max = "1.2"'),
    530: Advice("not logged in", "see user and password in the device"),
    532: Advice("the server wants an account to store files", "ask its operator"),
    550: Advice(
        "there is no such file or directory, or it is not allowed", "see the path, and the rights at the server"
    ),
    552: Advice("no room left for this user at the server", "ask its operator"),
    553: Advice("the server does not take this name", "see the name, and the rights at the server"),
}

_DEFECT = Advice("a mistake of the gateway's own", "please report it, with the traceback: it has no values in it")
_SYSTEM = Advice("the gateway's system is short of descriptors, memory or processes", "see ulimit -n, and its memory")
_EVENTS: Mapping[str, Advice] = {
    "gateway.reload_failed": Advice("the new settings are of no use, the ones before stay", "ftpsproxy check says all"),
    "gateway.replace_failed": Advice(
        "a new process could not take over, the one before stays", "see detail, and check"
    ),
    "gateway.starved": _SYSTEM,
    "gateway.worker_lost": Advice("a worker process ended unasked, its sessions with it", "see detail, and the memory"),
    "gateway.worker_retired": Advice("a worker could not take the new settings", "see detail; another took its place"),
    "gateway.log_lost": Advice("nobody read the log, or its disk was full: lines are missing", "see where it goes"),
    "gateway.log_failing": Advice("one of the log's outputs loses lines, or its place is gone", "see where it goes"),
    "gateway.crashed": _DEFECT,
    "session.crashed": _DEFECT,
    "session.foreign": Advice(
        "HTTP, TLS or a PROXY header came to the FTP port",
        "TLS: switch it off in the device; PROXY: name the load balancer in proxy_protocol; else a scanner of ports",
    ),
    "command.refused": Advice(
        "the gateway itself refuses this",
        "AUTH and PROT: switch TLS off in the device; else see allow, deny, paths of the listener",
    ),
    "session.name_not_utf8": Advice(
        "a name that is not UTF-8 for a server of UTF-8", "client_charset translates names"
    ),
    "session.names_left_out": Advice(
        "a listing has names that the client's charset has no letters for",
        "rename these files, or change client_charset",
    ),
    "upstream.certificate_expiring": Advice("the server's certificate will soon expire", "tell the partner"),
    "upstream.reply_ignored": Advice("the server said what the client must not hear, or had not asked for"),
    "upstream.session_reuse_refused": Advice(
        "the server misses its TLS session on the data connection", 'if it is always so: tls_max = "1.2"'
    ),
    "upstream.close_notify_missing": Advice("a listing ended without close_notify", "nothing: it is taken for whole"),
    "data.contested": Advice(
        "a second connection came for one transfer: neither is kept", "passive_ports with more ports makes it rare"
    ),
    "data.source_port_taken": Advice(
        "a connection to the client came from another port than active_source_port, which was still in use to it",
        "let the client take another port for each transfer, or use passive mode",
    ),
    "data.stranger": Advice(
        "somebody came to a passive port who is not expected there, and was reset",
        "if it is the client by another way: a load balancer, or a second interface of it",
    ),
}
