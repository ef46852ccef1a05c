"""An event by the names of the Elastic Common Schema (ECS). What that has no name for stands under `ftpsproxy`."""

from collections.abc import Callable, Mapping
from typing import Any

from ftpsproxy.observe import telling

VERSION = "8.11.0"
"""The version of ECS whose names these are."""

_CATEGORIES = {
    "gateway": "process",
    "session": "session",
    "command": "session",
    "upstream": "network",
    "data": "network",
    "transfer": "file",
    "file": "file",
}


def _plain(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: value}


def _server(value: str) -> dict[str, Any]:
    host, _, port = value.rpartition(":")
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _tls(value: str) -> dict[str, Any]:
    return {"tls.version": value.removeprefix("TLSv"), "tls.version_protocol": "tls", "tls.established": True}


_NAMES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "timestamp": _plain("@timestamp"),
    "level": _plain("log.level"),
    "event": _plain("event.action"),
    "client": lambda value: {"client.address": value, "client.ip": value.partition("%")[0]},
    "user": _plain("user.name"),
    "server": _server,
    "server_address": _plain("server.ip"),
    "certificate_sha256": lambda value: {"tls.server.hash.sha256": value.upper()},
    "subject": _plain("tls.server.subject"),
    "issuer": _plain("tls.server.issuer"),
    "serial": _plain("tls.server.x509.serial_number"),
    "names": _plain("tls.server.x509.alternative_names"),
    "not_before": _plain("tls.server.not_before"),
    "not_after": _plain("tls.server.not_after"),
    "tls_version": _tls,
    "cipher": _plain("tls.cipher"),
    "resumed": _plain("tls.resumed"),
    "directory": _plain("file.directory"),
    "sha256": _plain("file.hash.sha256"),
    "bytes": _plain("network.bytes"),
    "to": _plain("file.target_path"),
    "seconds": lambda value: {"event.duration": round(value * 1_000_000_000)},
    "detail": _plain("event.reason"),
    "error": _plain("error.type"),
    "traceback": _plain("error.stack_trace"),
    "hostname": _plain("host.hostname"),
    "pid": _plain("process.pid"),
    "gateway_version": _plain("service.version"),
}


def named(event: Mapping[str, Any], old: Mapping[str, object]) -> dict[str, Any]:
    """The event by ECS names, dotted; fields of `old` names are left out."""
    name = event["event"]
    made: dict[str, Any] = {
        "@timestamp": event["timestamp"],
        "log.level": event["level"],
        "message": f"{name}: {event['detail']}" if event.get("detail") else name,
        "ecs.version": VERSION,
        "service.name": "ftpsproxy",
        "event.module": "ftpsproxy",
        "event.dataset": "ftpsproxy.log",
        "event.kind": "event",
        "event.category": ["authentication" if name == "session.login" else _CATEGORIES[name.partition(".")[0]]],
        "event.outcome": _outcome(event),
    }
    if "session" in event:
        made["network.protocol"] = "ftp"
    absolute = event.get("directory") and not event.get("directory_relative")
    if event.get("path") and (absolute or event["path"].startswith("/")):
        made["file.path"] = telling.file_name(event)
    for field, value in event.items():
        if value is None or field in old:
            continue
        rename = _NAMES.get(field)
        made.update({f"ftpsproxy.{field}": value} if rename is None else rename(value))
    return made


def _outcome(event: Mapping[str, Any]) -> str:
    if event["event"] in ("transfer.started", "transfer.progress"):
        return "unknown"
    return "failure" if telling.failed(dict(event)) else "success"
