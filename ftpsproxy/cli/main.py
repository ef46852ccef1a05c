"""The command line: the only place that prints or exits (the demo prints its own account).

    0  done                 1  failed while running                 2  wrong usage or configuration

Every error is one line on standard error that starts with `ftpsproxy: `. The parts of the gateway are imported by the
command that needs them, so that `--version` and a wrong option answer at once. The options are read by argparse: typer
brings pydantic and rich along, which cost each process 10 MB and 0.2 s that the gateway has no other use for.
"""

import argparse
import contextlib
import ipaddress
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ftpsproxy import errors

if TYPE_CHECKING:
    from ftpsproxy.config import Listener, Network, Settings, Upstream

FAILED, WRONG, INTERRUPTED = 1, 2, 130

FLAGS = {
    "listen": ("ADDR:PORT", "where clients connect (default: 127.0.0.1:2121)"),
    "upstream": ("URL", "ftpes://HOST[:21] for AUTH TLS or ftps://HOST[:990] for implicit TLS"),
    "ca_file": ("PEM", "the roots to trust (default: the system's)"),
    "log_format": ("FORMAT", "json, logfmt or console (default: console on a terminal, else json)"),
    "log_level": ("LEVEL", "debug, info or warning (default: info)"),
    "workers": ("N", "processes that share the ports, or auto for one a core (default: 1)"),
}
"""The short forms of settings, as `config.load` takes them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` by default) and return the exit code."""
    parser = _parser()
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            return _fail(_unknown(unknown[0], options), WRONG)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImportError as error:
        return _fail(error, FAILED)  # something is not installed, or another version of it
    except _UnwritableError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try, and complain, once more at exit
        return _fail(f"cannot write to standard output: {error}", FAILED)


class _UnwritableError(Exception):
    """Standard output is full or closed; the text says why."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_fail(f"{message}; see {self.prog} --help", WRONG))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ftpsproxy",
        description="A gateway that lets plaintext FTP clients reach FTPS servers over verified TLS.",
        epilog="Settings also come from FTPSPROXY_... variables. Flags beat the environment, which beats the file.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=_missing, options=["--help", "--version"])
    parser.add_argument("--version", action="store_const", dest="command", const=_version, help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, command, text in (
        ("run", run, "serve until SIGTERM or Ctrl-C; running transfers may end, a second signal stops at once"),
        ("check", check, "load the settings and certificates and say what would run; listens on nothing"),
    ):
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        sub.add_argument(
            "-c", "--config", metavar="FILE", type=Path, help="a TOML file (default: $FTPSPROXY_CONFIG, else none)"
        )
        for flag, (metavar, explanation) in FLAGS.items():
            sub.add_argument("--" + flag.replace("_", "-"), metavar=metavar, help=explanation)
        sub.set_defaults(command=command, options=["--config", *("--" + flag.replace("_", "-") for flag in FLAGS)])
    text = "an FTPS server, the gateway in front of it, a file sent through and back, and what happened"
    sub = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    sub.add_argument("--keep", action="store_true", help="leave the server and the gateway running afterwards")
    sub.set_defaults(command=demo, options=["--keep"])
    return parser


def _unknown(word: str, options: argparse.Namespace) -> str:
    from ftpsproxy.config import nearest

    return f"unknown argument '{word}'; {nearest(word.partition('=')[0], options.options)}"


def _fail(message: object, code: int) -> int:
    """Say it in one line; that nobody hears it is no reason not to go on."""
    with contextlib.suppress(OSError):
        os.write(2, f"ftpsproxy: {' '.join(str(message).split())}\n".encode("utf-8", "backslashreplace"))
    return code


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        raise _UnwritableError(errors.words(error)) from None


def _missing(_options: argparse.Namespace) -> int:
    return _fail("say what to do: run, check or demo; see ftpsproxy --help", WRONG)


def _version(_options: argparse.Namespace) -> int:
    from ftpsproxy import __version__

    _say(f"ftpsproxy {__version__}")
    return 0


def _settings(options: argparse.Namespace) -> "Settings":
    from ftpsproxy.config import load

    flags = {name: getattr(options, name) for name in FLAGS}
    return load(options.config, flags=flags, environ=os.environ)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    # Until it can have the settings read again it must not end the process: whoever starts one may be early with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from ftpsproxy.config import ConfigError

    try:
        settings = _settings(options)
    except ConfigError as error:
        return _fail(error, WRONG)
    from ftpsproxy import tls
    from ftpsproxy.observe import log
    from ftpsproxy.serve import listening, supervisor

    def load_again() -> "Settings":
        again = _settings(options)
        _warn(again)
        return again

    _warn(settings)
    log.configure(settings.log.format, settings.log.level)
    try:
        supervisor.run(settings, load_again)
    except Exception as error:
        cause = errors.unwrapped(error)
        if isinstance(cause, tls.TlsConfigError):
            return _fail(cause, WRONG)
        if isinstance(cause, listening.ListenError):
            return _fail(cause, FAILED)
        raise
    return 0


def check(options: argparse.Namespace) -> int:
    """Say what would run, or why it would not."""
    from ftpsproxy.config import ConfigError

    try:
        settings = _settings(options)
    except ConfigError as error:
        return _fail(error, WRONG)
    from ftpsproxy import tls

    try:
        for server in settings.upstreams.values():
            tls.build_context(server)
    except tls.TlsConfigError as error:
        return _fail(error, WRONG)
    for listener in settings.listeners:
        _say("\n".join(_describe_listener(listener, settings.upstreams[listener.upstream])))
    for server in settings.upstreams.values():
        _say("\n".join(_describe_upstream(server)))
    if settings.admin.host:
        where = settings.admin.endpoint
        _say(f"admin: HTTP on {where}, /healthz, /readyz and /metrics\n  clients: {_networks(settings.admin.clients)}")
    _say(f"log: {settings.log.format}, from level {settings.log.level}")
    _warn(settings)
    return 0


def demo(options: argparse.Namespace) -> int:
    """Show it at work."""
    try:
        from ftpsproxy.cli import demo as show
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("pyftpdlib", "OpenSSL", "rich"):
            raise
        return _fail("the demo needs an FTPS server of its own; pip install 'ftpsproxy[demo]'", WRONG)
    return show.run(keep=options.keep)


def _networks(networks: "tuple[Network, ...]") -> str:
    return ", ".join(map(str, networks))


def _warn(settings: "Settings") -> None:
    """A plaintext port open to the world is allowed, but never by accident."""
    for listener in settings.listeners:
        address = ipaddress.ip_address(listener.host)
        if (address.is_unspecified or address.is_global) and any(net.prefixlen == 0 for net in listener.clients):
            where = listener.endpoint
            _fail(
                f"warning: listener '{listener.name}' on {where} lets anyone send passwords in clear; "
                "name the networks of its clients in listener.clients",
                0,
            )


def _describe_listener(listener: "Listener", upstream: "Upstream") -> list[str]:
    port_range = listener.passive_ports
    ports = "any free port" if port_range is None else f"ports {port_range[0]}-{port_range[1]}"
    where = listener.endpoint
    lines = [
        f"listener {listener.name}: plaintext FTP on {where} -> upstream {listener.upstream}",
        f"  clients: {_networks(listener.clients)}",
        f"  passive data: {ports} on {listener.passive_address or 'the address the client connected to'}",
    ]
    if listener.digest != "none":
        lines.append(f"  digest of every file: {listener.digest}")
    if listener.greeting == "upstream":
        in_clear = "" if upstream.tls_first else ", but it comes in clear, so not shown: anybody may have written it"
        lines.append(f"  greeting: the server's own{in_clear}")
    return lines


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


def _describe_upstream(upstream: "Upstream") -> list[str]:
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
