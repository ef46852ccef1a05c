"""Every setting as it holds, and where it was written: for people who look for the one that is not what they think."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from ftpsproxy.config.parse import KeyFile
from ftpsproxy.config.sources import DEFAULT, OUTPUT, SECTIONS, Leaf, Table, Written
from ftpsproxy.config.values import CHARSETS, RIGHTS, TABLES, Admin, Listener, LogOutput, Settings, Upstream


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting: its dotted key, its value in the types of JSON, and its origin: `default`, `gateway.toml:12`, the
    name of a variable or a flag, the path of a file of secrets."""

    key: str
    value: object
    origin: str


def effective(settings: Settings, written: Written) -> list[Effective]:
    """All of them, section by section, in the order of the documentation."""
    found: list[Effective] = []
    for listener in settings.listeners:
        found += _table("listener", listener.name, listener, written.named["listener"].get(listener.name, {}))
    for name, upstream in settings.upstreams.items():
        found += _table("upstream", name, upstream, written.named["upstream"].get(name, {}))
    for section, table in written.plain.items():
        found += _table(section, "", getattr(settings, section), table)
        if section == "log":
            for output in settings.log.outputs:
                found += _table(OUTPUT, output.name, output, written.named[OUTPUT].get(output.name, {}))
    return found


def _table(section: str, name: str, values: object, table: Table) -> list[Effective]:
    prefix = f"{section}.{name}" if name else section
    return [
        Effective(f"{prefix}.{key}", _plain(_value(values, key)), _origin(table.get(key)))
        for key in TABLES[SECTIONS[section]]
    ]


def _value(values: object, key: str) -> object:
    if isinstance(values, Listener | Admin) and key == "listen":
        return values.endpoint if values.host else None
    if isinstance(values, Upstream) and key == "url":
        return values.url
    if isinstance(values, Listener) and key in RIGHTS:
        return getattr(values.rights, key)
    if isinstance(values, Listener) and key in CHARSETS:
        return getattr(values.charsets, key)
    if isinstance(values, LogOutput) and key == "address":
        return values.where if values.to in ("syslog", "journald") else None
    return getattr(values, key)


def _plain(value: object) -> object:
    if isinstance(value, tuple) and len(value) == 2 and all(type(one) is int for one in value):
        return f"{value[0]}-{value[1]}"  # ports
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path | KeyFile | IPv4Network | IPv6Network) else value


def _origin(leaf: Leaf | None) -> str:
    return DEFAULT if leaf is None else leaf.place.rpartition(": ")[0] or leaf.place
