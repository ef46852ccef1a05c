"""Joins the sources and checks what only the whole can tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftpsproxy.config.parse import ConfigError, nearest, private
from ftpsproxy.config.sources import (
    PREFIX,
    SECTIONS,
    Leaf,
    Table,
    Written,
    read_environment,
    read_file,
    read_flags,
    read_secrets,
)
from ftpsproxy.config.values import TABLES, Admin, Limits, Listener, Log, Process, Settings, Timeouts, Upstream

DEFAULT_LISTEN = "127.0.0.1:2121"


def load(path: Path | None, *, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Settings from the file (`path`, else $FTPSPROXY_CONFIG, else none), the folder of secrets
    ($FTPSPROXY_SECRETS_DIR), the environment and the flags (`listen`, `upstream`, `ca_file`, `log_format`,
    `log_level`, `workers`); later ones beat earlier ones. Raises ConfigError, one line."""
    written = Written()
    if path is None and environ.get(f"{PREFIX}CONFIG"):
        path = Path(environ[f"{PREFIX}CONFIG"])
    if path is not None:
        read_file(written, path)
    if environ.get(f"{PREFIX}SECRETS_DIR"):
        read_secrets(written, Path(environ[f"{PREFIX}SECRETS_DIR"]))
    read_environment(written, environ)
    read_flags(written, flags)
    _spread_simple(written)
    upstreams = {name: _upstream(written, name, table) for name, table in written.named["upstream"].items()}
    listeners = tuple(_listener(written, name, table) for name, table in written.named["listener"].items())
    admin = _admin(written)
    _check_addresses(written, listeners, admin)
    process = Process(**_values("process", written.plain["process"]))
    _check_ports(process, listeners, upstreams)
    return Settings(
        listeners=listeners,
        upstreams=upstreams,
        log=Log(**_values("log", written.plain["log"])),
        limits=Limits(**_values("limits", written.plain["limits"])),
        timeouts=Timeouts(**_values("timeouts", written.plain["timeouts"])),
        process=process,
        admin=admin,
    )


def _check_ports(process: Process, listeners: tuple[Listener, ...], upstreams: Mapping[str, Upstream]) -> None:
    """Each worker needs ports of its own."""
    ranges = [(f"listener {one.name}: passive_ports", one.passive_ports) for one in listeners]
    ranges += [(f"upstream {one.name}: active_ports", one.active_ports) for one in upstreams.values()]
    for place, ports in ranges:
        if ports is not None and (count := ports[1] - ports[0] + 1) < process.workers:
            raise ConfigError(f"{place}: {count} ports for {process.workers} workers; give at least one to each")


def _spread_simple(written: Written) -> None:
    """The short forms speak of the only listener and the only upstream; with none yet they make one called default."""
    for simple, section, key in (
        ("upstream", "upstream", "url"),
        ("ca_file", "upstream", "ca_file"),
        ("listen", "listener", "listen"),
    ):
        leaf = written.simple.get(simple)
        if leaf is None:
            continue
        tables = written.named[section]
        if len(tables) > 1:
            raise ConfigError(
                f"{leaf.place}: there are {len(tables)} {section}s ({', '.join(tables)}) and this does not say which; "
                f"set {PREFIX}{section.upper()}__NAME__{key.upper()} or the key in the file"
            )
        name = next(iter(tables), "default")
        tables.setdefault(name, {})[key] = leaf
    for simple, key in (("log_format", "format"), ("log_level", "level")):
        if simple in written.simple:
            written.plain["log"][key] = written.simple[simple]
    if "workers" in written.simple:
        written.plain["process"]["workers"] = written.simple["workers"]
    if not written.named["upstream"]:
        raise ConfigError(
            f"{written.origin}no upstream; say --upstream ftpes://HOST, set {PREFIX}UPSTREAM "
            "or write [upstream.NAME] in a file"
        )
    listeners = written.named["listener"] or {"default": {}}
    if len(listeners) == 1:
        next(iter(listeners.values())).setdefault("listen", Leaf(DEFAULT_LISTEN, "--listen"))
    written.named["listener"] = listeners


def _values(section: str, table: Table) -> dict[str, Any]:
    """Parsed values by key; the first unusable one raises."""
    parsers = TABLES[SECTIONS[section]]
    values: dict[str, Any] = {}
    for key, leaf in table.items():
        try:
            values[key] = parsers[key](leaf.value)
        except ValueError as error:
            raise ConfigError(f"{leaf.place}: {error}") from None
    return values


def _upstream(written: Written, name: str, table: Table) -> Upstream:
    values = _values("upstream", table)
    place = f"{written.origin}upstream.{name}"
    if "url" not in values:
        raise ConfigError(f'{place}.url: missing; write url = "ftpes://HOST"')
    host, port, implicit = values.pop("url")
    upstream = Upstream(name=name, host=host, port=port, implicit=implicit, **values)
    if upstream.implicit_greeting == "clear" and not implicit:
        raise ConfigError(
            f"{table['implicit_greeting'].place}: 'clear' is for implicit TLS only; leave it out with ftpes://"
        )
    if upstream.key_file and not upstream.cert_file:
        raise ConfigError(f"{table['key_file'].place}: a key without a certificate; set cert_file too")
    if upstream.cert_file and not upstream.key_file:
        try:
            private(str(upstream.cert_file))
        except ValueError as error:
            raise ConfigError(f"{table['cert_file'].place}: {error}") from None
    if upstream.verify == "pin" and not upstream.pins:
        raise ConfigError(f"{table['verify'].place}: 'pin' needs something to compare with; set pins")
    if upstream.tls_min > upstream.tls_max:
        leaf = table.get("tls_min") or table["tls_max"]
        raise ConfigError(f"{leaf.place}: tls_min {upstream.tls_min} is above tls_max {upstream.tls_max}; lower it")
    return upstream


def _listener(written: Written, name: str, table: Table) -> Listener:
    values = _values("listener", table)
    place = f"{written.origin}listener.{name}"
    if "listen" not in values:
        raise ConfigError(f'{place}.listen: missing; write listen = "ADDR:PORT"')
    host, port = values.pop("listen")
    upstreams = written.named["upstream"]
    if "upstream" not in values:
        if len(upstreams) > 1:
            raise ConfigError(f"{place}.upstream: missing; name one of {', '.join(sorted(upstreams))}")
        values["upstream"] = next(iter(upstreams))
    elif values["upstream"] not in upstreams:
        wanted = values["upstream"]
        raise ConfigError(f"{table['upstream'].place}: no upstream is called '{wanted}'; {nearest(wanted, upstreams)}")
    return Listener(name=name, host=host, port=port, **values)


def _admin(written: Written) -> Admin:
    values = _values("admin", written.plain["admin"])
    host, port = values.pop("listen", ("", 0))
    return Admin(host, port, **values)


def _check_addresses(written: Written, listeners: tuple[Listener, ...], admin: Admin) -> None:
    taken: dict[tuple[str, int], str] = {}
    for listener in listeners:
        address = listener.host, listener.port
        if listener.port and address in taken:
            place = written.named["listener"][listener.name]["listen"].place
            raise ConfigError(
                f"{place}: listener '{taken[address]}' has the same address; give each listener its own address or port"
            )
        taken[address] = listener.name
    if admin.port and (admin.host, admin.port) in taken:
        raise ConfigError(
            f"{written.plain['admin']['listen'].place}: listener '{taken[admin.host, admin.port]}' has the same "
            "address; give admin one of its own"
        )
