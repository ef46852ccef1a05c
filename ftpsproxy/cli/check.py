"""`ftpsproxy check`: say what would run, every setting and where it comes from, or all that is wrong."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftpsproxy import tls
from ftpsproxy.cli.settings import explained, warn
from ftpsproxy.cli.terminal import FAILED, WRONG, fail, fail_all, say
from ftpsproxy.config import ConfigError, Effective, Listener, Log, LogOutput, Network, Settings, Upstream
from ftpsproxy.ftp.rights import EVERYTHING, Rights
from ftpsproxy.serve.listening import source_port_fault

if TYPE_CHECKING:
    from ftpsproxy.cli.connect import Tried


def check(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    try:
        settings, values = explained(options)
    except ConfigError as error:
        return _refuse(options, error.faults)
    if faults := _faults_of_tls(settings):
        return _refuse(options, faults)
    tried = _try(settings) if options.connect else {}
    ok = all(one.ok for one in tried.values())
    if options.json:
        told: dict[str, object] = {"ok": ok}
        told["settings"] = {one.key: {"value": one.value, "from": one.origin} for one in values}
        if options.connect:
            told["connect"] = {name: dataclasses.asdict(one) for name, one in tried.items()}
        say(json.dumps(told, indent=2))
    else:
        _describe(settings, values)
    for name, one in tried.items():
        line = f"upstream {name}: {one.words}"
        if not one.ok:
            fail(line, FAILED)
        elif not options.json:
            say(line)
    warn(settings)
    for listener in settings.listeners:
        if listener.active_source_port and (fault := source_port_fault(listener)):
            fail(f"warning: {fault} (as the user that runs this check)", 0)
    return 0 if ok else FAILED


def _try(settings: Settings) -> "dict[str, Tried]":
    from ftpsproxy.cli.connect import try_all  # the whole gateway: nobody else here has a use for it

    return try_all(settings)


def _refuse(options: argparse.Namespace, faults: Sequence[str]) -> int:
    if options.json:
        say(json.dumps({"ok": False, "faults": list(faults)}, indent=2))
    return fail_all(faults, WRONG)


def _faults_of_tls(settings: Settings) -> list[str]:
    """What is wrong with certificates, keys and lists, of all upstreams."""
    faults = []
    for server in settings.upstreams.values():
        try:
            tls.build_context(server)
        except tls.TlsConfigError as error:
            faults.append(str(error))
    return faults


def _describe(settings: Settings, values: list[Effective]) -> None:
    for listener in settings.listeners:
        say("\n".join(_describe_listener(listener, settings.upstreams[listener.upstream])))
    for server in settings.upstreams.values():
        say("\n".join(_describe_upstream(server)))
    if settings.admin.host:
        where = settings.admin.endpoint
        say(f"admin: HTTP on {where}, /healthz, /readyz, /metrics, and a page at /")
        say(f"  clients: {_networks(settings.admin.clients)}")
    say("\n".join(_describe_log(settings.log)))
    say("settings, and where they come from:")
    for one in values:
        say(f"  {one.key} = {json.dumps(one.value, ensure_ascii=False)}  ({one.origin})")


def _describe_log(log: Log) -> list[str]:
    if not log.outputs:
        return [f"log: {log.format}, from level {log.level}"]
    return [f"log {one.name}: {_describe_output(one)}" for one in log.outputs]


def _describe_output(output: LogOutput) -> str:
    where = {"stdout": "standard output", "stderr": "standard error"}.get(output.to, output.to)
    if output.to in ("syslog", "journald"):
        where = f"{output.to} at {output.where}"
    if output.to == "syslog":
        where += f", facility {output.facility}"
    what = {"xferlog": "xferlog, a line for each transfer"}.get(
        output.format, f"{output.format}, from level {output.level}"
    )
    if output.to == "journald":
        what = f"from level {output.level}"
    return f"{where}: {what}{', chained' if output.chain else ''}"


def _networks(networks: tuple[Network, ...]) -> str:
    return ", ".join(map(str, networks))


def _describe_listener(listener: Listener, upstream: Upstream) -> list[str]:
    port_range = listener.passive_ports
    ports = "any free port" if port_range is None else f"ports {port_range[0]}-{port_range[1]}"
    where = listener.endpoint
    lines = [
        f"listener {listener.name}: plaintext FTP on {where} -> upstream {listener.upstream}",
        f"  clients: {_networks(listener.clients)}",
        f"  passive data: {ports} on {listener.passive_address or 'the address the client connected to'}",
    ]
    if listener.active_source_port:
        lines.append(f"  active data: from port {listener.active_source_port}")
    if listener.rights != EVERYTHING:
        lines.append(f"  may: {_may(listener.rights)}")
    if (charsets := listener.charsets).client_charset is not None:
        lines.append(f"  names: {charsets.client_charset} with the client, {charsets.server_charset} with the server")
    if listener.digest != "none":
        lines.append(f"  digest of every file: {listener.digest}")
    if listener.greeting == "upstream":
        in_clear = "" if upstream.tls_first else ", but it comes in clear, so not shown: anybody may have written it"
        lines.append(f"  greeting: the server's own{in_clear}")
    return lines


_ALLOW = {
    "all": "everything",
    "upload": "upload, make directories, list; rename and date what it has uploaded itself",
    "download": "download, list",
    "read": "list, and move nothing",
}


def _may(rights: Rights) -> str:
    said = [_ALLOW[rights.allow]]
    if rights.deny:
        said.append(f"never {', '.join(rights.deny)}")
    if rights.paths is not None:
        said.append(f"only in {', '.join(rights.paths)}")
    if rights.max_file_bytes:
        said.append(f"no file of more than {rights.max_file_bytes} bytes")
    return "; ".join(said)


_DATA_MODES = {
    "auto": "passive, EPSV or else PASV",
    "epsv": "passive, EPSV only",
    "pasv": "passive, PASV only",
    "eprt": "active, EPRT",
    "port": "active, PORT",
}
_CLOSE_NOTIFY = {
    "prove": "a file is accepted when the server's SIZE agrees, a listing with a warning",
    "require": "refused",
    "reply": "accepted when the server says the file is complete",
    "ignore": "accepted when the server says the file is complete, even after a reset",
}


def _describe_upstream(upstream: Upstream) -> list[str]:
    how = "implicit TLS" if upstream.implicit else f"explicit TLS, AUTH {' or '.join(upstream.auth)}"
    roots = "the system's roots" if upstream.ca_file is None else str(upstream.ca_file)
    if upstream.verify == "pin":
        verified = f"by pin alone, {len(upstream.pins)} pinned"
    else:
        verified = f"chain up to {roots}, for the name {upstream.server_name}"
        verified += f", and one of {len(upstream.pins)} pins" if upstream.pins else ""
        verified += f", not revoked in {upstream.crl_file}" if upstream.crl_file else ""
    versions = upstream.tls_min if upstream.tls_min == upstream.tls_max else f"{upstream.tls_min} to {upstream.tls_max}"
    data = _DATA_MODES[upstream.data_mode]
    if upstream.data_mode in ("eprt", "port"):
        data += f" from {upstream.active_address or 'our own address'}"
        data += f", ports {upstream.active_ports[0]}-{upstream.active_ports[1]}" if upstream.active_ports else ""
    alpn = "ftp" if upstream.alpn else "off"
    resumed = "must be resumed" if upstream.data_session_reuse == "require" else "resumed where the server can"
    return [
        f"upstream {upstream.name}: {upstream.endpoint}, {how}",
        f"  certificate verified: {verified}",
        f"  TLS {versions}, ALPN {alpn}, client certificate: {upstream.cert_file or 'none'}",
        f"  data: {data}; TLS session {resumed}",
        f"  download without close_notify: {_CLOSE_NOTIFY[upstream.close_notify]}",
    ]
