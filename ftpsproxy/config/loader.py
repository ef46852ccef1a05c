"""Joins the sources and checks what only the whole can tell."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ftpsproxy.config.outputs import outputs_of
from ftpsproxy.config.parse import ConfigError, PortRange, nearest, private
from ftpsproxy.config.sources import (
    DEFAULT,
    OUTPUT,
    PREFIX,
    Leaf,
    Table,
    Written,
    parsed,
    read_environment,
    read_file,
    read_flags,
    read_secrets,
)
from ftpsproxy.config.values import (
    CHARSETS,
    RIGHTS,
    Admin,
    Limits,
    Listener,
    Log,
    Process,
    Settings,
    Timeouts,
    Upstream,
)
from ftpsproxy.ftp.charsets import Charsets
from ftpsproxy.ftp.rights import Rights

DEFAULT_LISTEN = "127.0.0.1:2121"
_DEFAULTS = {one.name: one.default for one in fields(Upstream)}


def load(path: Path | None, *, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """As `read`: the settings alone."""
    return read(path, flags=flags, environ=environ)[0]


def read(path: Path | None, *, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> tuple[Settings, Written]:
    """Settings, and what was written where, from the file (`path`, else $FTPSPROXY_CONFIG, else none), the folder of
    secrets ($FTPSPROXY_SECRETS_DIR), the environment and the flags (`listen`, `upstream`, `ca_file`, `log_format`,
    `log_level`, `workers`); later ones beat earlier ones. Raises ConfigError, with all that is wrong."""
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
    settings = _settings(written)
    if written.faults:
        raise ConfigError(*written.faults)
    return settings, written


def _settings(written: Written) -> Settings:
    """What can be had of it; `written.faults` says what is amiss."""
    process = Process(**parsed(written, "process", written.plain["process"]))
    found = [_upstream(written, name, table, process) for name, table in written.named["upstream"].items()]
    upstreams = {one.name: one for one in found if one is not None}
    listening = [_listener(written, name, table, process) for name, table in written.named["listener"].items()]
    listeners = tuple(one for one in listening if one is not None)
    admin = _admin(written)
    _check_addresses(written, listeners, admin)
    return Settings(
        listeners=listeners,
        upstreams=upstreams,
        log=_log(written),
        limits=Limits(**parsed(written, "limits", written.plain["limits"])),
        timeouts=Timeouts(**parsed(written, "timeouts", written.plain["timeouts"])),
        process=process,
        admin=admin,
    )


def _log(written: Written) -> Log:
    table = written.plain["log"]
    log = Log(**parsed(written, "log", table))
    outputs = outputs_of(written)
    if not written.named[OUTPUT] and log.chain and log.format not in ("json", "auto"):
        written.fault(
            table["chain"].place, f"only JSON lines are chained, and log.format is '{log.format}'; write 'json'"
        )
    if "chain_key_file" in table and "chain" not in table and not any(one.chain for one in outputs):
        written.fault(table["chain_key_file"].place, "a key without a chain; set log.chain = true too")
    return replace(log, outputs=outputs)


def _check_ports(written: Written, process: Process, leaf: Leaf | None, ports: PortRange | None) -> None:
    """Each worker needs ports of its own."""
    if leaf is not None and ports is not None and (count := ports[1] - ports[0] + 1) < process.workers:
        few = "one port" if count == 1 else f"{count} ports"
        written.fault(leaf.place, f"{few} for {process.workers} workers; give at least one to each")


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
            written.fault(
                leaf.place,
                f"there are {len(tables)} {section}s ({', '.join(tables)}) and this does not say which; "
                f"set {PREFIX}{section.upper()}__NAME__{key.upper()} or the key in the file",
            )
            continue
        name = next(iter(tables), "default")
        tables.setdefault(name, {})[key] = leaf
    for simple, key in (("log_format", "format"), ("log_level", "level")):
        if simple in written.simple:
            written.plain["log"][key] = written.simple[simple]
    if "workers" in written.simple:
        written.plain["process"]["workers"] = written.simple["workers"]
    if not written.named["upstream"] and not written.faults:
        written.faults.append(
            f"{written.origin}no upstream; say --upstream ftpes://HOST, set {PREFIX}UPSTREAM "
            "or write [upstream.NAME] in a file"
        )
    listeners = written.named["listener"] or {"default": {}}
    if len(listeners) == 1:
        next(iter(listeners.values())).setdefault("listen", Leaf(DEFAULT_LISTEN, DEFAULT))
    written.named["listener"] = listeners


def _upstream(written: Written, name: str, table: Table, process: Process) -> Upstream | None:
    before = len(written.faults)
    values = parsed(written, "upstream", table)
    if "url" not in table:
        first = next(iter(table.values()), None)  # not the file's, where a variable alone made this upstream
        elsewhere = first is not None and not first.place.startswith(written.origin.removesuffix(": "))
        origin = f"{first.place}: " if first is not None and elsewhere else written.origin
        written.fault(f"{origin}upstream.{name}.url", 'missing; write url = "ftpes://HOST"')
    _check_upstream(written, values, table)
    _check_ports(written, process, table.get("active_ports"), values.get("active_ports"))
    if len(written.faults) > before:
        return None
    host, port, implicit = values.pop("url")
    return Upstream(name=name, host=host, port=port, implicit=implicit, **values)


def _check_upstream(written: Written, values: dict[str, Any], table: Table) -> None:
    """What no key says alone; what is of no use itself was said."""
    if values.get("implicit_greeting") == "clear" and not values.get("url", ("", 0, True))[2]:
        place = table["implicit_greeting"].place
        written.fault(place, "'clear' is for implicit TLS only; leave it out with ftpes://")
    if "key_file" in values and "cert_file" not in table:
        written.fault(table["key_file"].place, "a key without a certificate; set cert_file too")
    if "cert_file" in values and "key_file" not in table:
        try:
            private(str(values["cert_file"]))
        except ValueError as error:
            written.fault(table["cert_file"].place, str(error))
    if values.get("verify") == "pin" and not (values.get("pins") if "pins" in values else "pins" in table):
        written.fault(table["verify"].place, "'pin' needs something to compare with; set pins")
    lowest, highest = values.get("tls_min", _DEFAULTS["tls_min"]), values.get("tls_max", _DEFAULTS["tls_max"])
    if lowest > highest:
        leaf = table.get("tls_min") or table["tls_max"]
        written.fault(leaf.place, f"tls_min {lowest} is above tls_max {highest}; lower it")


def _listener(written: Written, name: str, table: Table, process: Process) -> Listener | None:
    before = len(written.faults)
    values = parsed(written, "listener", table)
    place = f"{written.origin}listener.{name}"
    if "listen" not in table:
        written.fault(f"{place}.listen", 'missing; write listen = "ADDR:PORT"')
    upstreams = written.named["upstream"]
    if "upstream" not in table:
        if len(upstreams) > 1:
            written.fault(f"{place}.upstream", f"missing; name one of {', '.join(sorted(upstreams))}")
        values["upstream"] = next(iter(upstreams), "")
    elif (wanted := values.get("upstream")) is not None and wanted not in upstreams:
        written.fault(table["upstream"].place, f"no upstream is called '{wanted}'; {nearest(wanted, upstreams)}")
    if values.get("greeting") == "upstream" and values.setdefault("dial", "connect") == "login":
        why = "'login' has a greeting of our own; with greeting = \"upstream\" write 'connect', or leave it out"
        written.fault(table["dial"].place, why)
    if values.get("server_charset", "utf-8") != "utf-8" and "client_charset" not in table:
        written.fault(table["server_charset"].place, "without client_charset nothing is translated; set that, too")
    _check_ports(written, process, table.get("passive_ports"), values.get("passive_ports"))
    if len(written.faults) > before:
        return None
    host, port = values.pop("listen")
    return Listener(name=name, host=host, port=port, rights=_rights(values), charsets=_charsets(values), **values)


def _rights(values: dict[str, Any]) -> Rights:
    """What its keys say, which are taken out."""
    return Rights(**{key: values.pop(key) for key in RIGHTS if key in values})


def _charsets(values: dict[str, Any]) -> Charsets:
    return Charsets(**{key: values.pop(key) for key in CHARSETS if key in values})


def _admin(written: Written) -> Admin:
    values = parsed(written, "admin", written.plain["admin"])
    host, port = values.pop("listen", ("", 0))
    return Admin(host, port, **values)


def _check_addresses(written: Written, listeners: tuple[Listener, ...], admin: Admin) -> None:
    taken: dict[tuple[str, int], str] = {}
    for listener in listeners:
        address = listener.host, listener.port
        if listener.port and address in taken:
            place = written.named["listener"][listener.name]["listen"].place
            other = taken[address]
            written.fault(place, f"listener '{other}' has the same address; give each listener its own address or port")
        taken[address] = listener.name
    if admin.port and (admin.host, admin.port) in taken:
        other = taken[admin.host, admin.port]
        place = written.plain["admin"]["listen"].place
        written.fault(place, f"listener '{other}' has the same address; give admin one of its own")
