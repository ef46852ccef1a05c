"""Names of fields that the version before this one has used, for whoever reads the log by them: they are written beside
the new ones for one version, and go with the next. `events` says which there are; this is what is in them."""

from collections.abc import Callable, Mapping
from typing import Any

from ftpsproxy.ftp.orders import Ending, HangUp

Fields = Mapping[str, Any]


def _same(**old: str) -> Callable[[Fields], dict[str, Any]]:
    """Old names for what is there under a new one."""
    pairs = tuple(old.items())
    return lambda fields: {was: fields.get(new) for was, new in pairs}


def _listeners(fields: Fields) -> dict[str, Any]:
    return {
        "listeners": [
            f"{one['listener']} {_endpoint(one['address'], one['port'])} -> {one['url']}" for one in fields["listening"]
        ]
    }


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _secured(fields: Fields) -> dict[str, Any]:
    host, _, port = fields["server"].rpartition(":")
    return {
        "version": fields["tls_version"],
        "host": host.strip("[]"),
        "address": fields["server_address"],
        "port": int(port),
        "milliseconds": round(fields["handshake_seconds"] * 1000, 3),
    }


def _closed(fields: Fields) -> dict[str, Any]:
    return {"reason": HangUp(Ending(fields["cause"]), fields["detail"] or "").why}


def _finished(fields: Fields) -> dict[str, Any]:
    if fields["outcome"] != "complete":
        return {"reason": fields["detail"]}
    remark = fields["remark"]
    return {"reason": "proved by SIZE" if remark == "proved_by_size" else remark or ""}


_DETAIL = _same(reason="detail")

OLD: Mapping[str, Callable[[Fields], dict[str, Any]]] = {
    "gateway.ready": _listeners,
    "gateway.reloaded": _listeners,
    "gateway.reload_failed": _DETAIL,
    "gateway.draining": _same(seconds="drain_seconds"),
    "gateway.starved": _DETAIL,
    "gateway.worker_lost": _DETAIL,
    "gateway.worker_retired": _DETAIL,
    "gateway.log_lost": _same(count="lost"),
    "session.refused": _DETAIL,
    "session.reply": _same(code="reply"),
    "session.closed": _closed,
    "command.refused": _DETAIL,
    "upstream.secured": _secured,
    "upstream.failed": _same(reason="cause"),
    "upstream.address_ignored": _same(peer="server_address"),
    "upstream.reply_ignored": _same(reply="said", reason="detail"),
    "upstream.session_reuse_refused": _same(reply="said"),
    "data.failed": _DETAIL,
    "data.contested": _same(address="came_from"),
    "data.stranger": _same(address="came_from"),
    "transfer.finished": _finished,
}
"""What else stands in an event, by the fields it has."""
