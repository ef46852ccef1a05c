"""The command line: with the demo's own account, the only place that prints or exits.

    0  done                 1  failed while running                 2  wrong usage or configuration

Every error is a line on standard error that starts with `ftpsproxy: `. The parts of the gateway are imported by the
command that needs them, so that `--version` and a wrong option answer at once. The options are read by argparse: typer
brings pydantic and rich along, which cost each process 10 MB and 0.2 s that the gateway has no other use for.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ftpsproxy.cli.flags import FLAGS, LOGS_CHOICES, LOGS_VERIFYING, LOGS_VIEWS, PROBE_FLAGS, REPORT_FLAGS
from ftpsproxy.cli.terminal import FAILED, INTERRUPTED, WRONG, UnwritableError, fail, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` by default) and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters than a configuration
    parser = _parser()
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            return fail(_unknown(unknown[0], options), WRONG)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImportError as error:
        return fail(error, FAILED)  # something is not installed, or another version of it
    except UnwritableError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try, and complain, once more at exit
        return fail(f"cannot write to standard output: {error}", FAILED)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(fail(f"{message}; see {self.prog} --help", WRONG))


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
        ("run", _run, "serve until SIGTERM or Ctrl-C; running transfers may end, a second signal stops at once"),
        ("check", _check, "load the settings and certificates and say what would run; listens on nothing"),
    ):
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        sub.add_argument(
            "-c", "--config", metavar="FILE", type=Path, help="a TOML file (default: $FTPSPROXY_CONFIG, else none)"
        )
        for flag, (metavar, explanation) in FLAGS.items():
            sub.add_argument("--" + flag.replace("_", "-"), metavar=metavar, help=explanation)
        known = ["--config", *("--" + flag.replace("_", "-") for flag in FLAGS)]
        if name == "check":
            sub.add_argument("--json", action="store_true", help="say all of it for machines")
            sub.add_argument("--connect", action="store_true", help="try every upstream as well; no login")
            known += ["--json", "--connect"]
        sub.set_defaults(command=command, options=known)
    _add_probe(commands)
    text = "make a private key and a signing request for our own certificate, or show what is in such files"
    sub = commands.add_parser("csr", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    sub.add_argument("--subject", metavar="NAME", help="whose certificate it is to be: 'CN=till-7,O=Example,C=DE'")
    sub.add_argument("--name", metavar="HOST", action="append", default=[], help="a host name or address in it; again")
    sub.add_argument("--rsa", action="store_true", help="an RSA key of 3072 bits (default: EC P-256)")
    sub.add_argument("--key", metavar="FILE", type=Path, default=Path("client.key"), help="default: client.key")
    sub.add_argument("--out", metavar="FILE", type=Path, default=Path("client.csr"), help="default: client.csr")
    sub.add_argument("--show", metavar="FILE", nargs="+", help="say what keys, requests and certificates these hold")
    sub.set_defaults(command=_csr, options=["--subject", "--name", "--rsa", "--key", "--out", "--show"])
    _add_logs(commands)
    _add_report(commands)
    for name, text in (
        ("reload", "have a running gateway read its configuration again, and say whether it could"),
        ("replace", "have a new process take the place of a running gateway, and say whether it could"),
    ):
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        sub.add_argument("pid", metavar="PID", help="of its first process, as gateway.ready says it")
        sub.set_defaults(command=_tell, options=[], word=name)
    text = "an FTPS server, the gateway in front of it, a file sent through and back, and what happened"
    sub = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    sub.add_argument("--keep", action="store_true", help="leave the server and the gateway running afterwards")
    sub.set_defaults(command=_demo, options=["--keep"])
    return parser


def _add_probe(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "find out what an FTPS server is, what is wrong with it, and the settings that work"
    sub = commands.add_parser("probe", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    # None, or two, are told in words of our own.
    target = "ftpes://HOST (AUTH TLS), ftps://HOST (implicit), or a host alone: both are tried"
    sub.add_argument("target", metavar="URL|HOST[:PORT]", nargs="*", help=target)
    for flag, (metavar, explanation) in PROBE_FLAGS.items():
        sub.add_argument(flag, metavar=metavar, help=explanation)
    sub.add_argument("--json", action="store_true", help="say all of it for machines, at the end")
    sub.set_defaults(command=_probe, options=[*PROBE_FLAGS, "--json"])


def _add_logs(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "read the log: transfers, sessions, failures; from files, rotated or packed, or standard input"
    sub = commands.add_parser("logs", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    sub.add_argument("files", metavar="FILE", nargs="*", help="JSON lines, also .gz and .zst; - is standard input")
    views = sub.add_mutually_exclusive_group()
    for view, explanation in LOGS_VIEWS.items():
        views.add_argument(f"--{view}", dest="view", action="store_const", const=view, help=explanation)
    for choice, (metavar, explanation) in LOGS_CHOICES.items():
        sub.add_argument(f"--{choice}", metavar=metavar, help=explanation)
    sub.add_argument("--follow", action="store_true", help="go on with what is written, through rotation, until Ctrl-C")
    sub.add_argument(
        "--rotated", action="store_true", help="also what FILE was before: FILE.1, FILE.2.gz, FILE-20260131"
    )
    forms = sub.add_mutually_exclusive_group()
    forms.add_argument("--json", dest="form", action="store_const", const="json", help="a JSON object for each")
    forms.add_argument("--csv", dest="form", action="store_const", const="csv", help="a table, with a line of names")
    sub.add_argument("--schema", action="store_true", help="print the log's JSON Schema: every event and field")
    sub.add_argument("--dictionary", action="store_true", help="print the same as pages for people (Markdown)")
    for flag, explanation in LOGS_VERIFYING.items():
        kind: dict[str, Any] = {"metavar": "FILE"} if flag == "chain-key" else {"action": "store_true"}
        sub.add_argument(f"--{flag}", help=explanation, **kind)
    others = ("follow", "rotated", "json", "csv", "schema", "dictionary", *LOGS_VERIFYING)
    known = [f"--{name}" for name in (*LOGS_VIEWS, *LOGS_CHOICES, *others)]
    sub.set_defaults(command=_logs, options=known, view="transfers", form="people")


def _add_report(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "what to hand in about a log: files, users, servers, certificates, and all that went wrong"
    sub = commands.add_parser("report", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    sub.add_argument("files", metavar="FILE", nargs="*", help="JSON lines, also .gz and .zst; - is standard input")
    for flag, (metavar, explanation) in REPORT_FLAGS.items():
        if metavar:
            sub.add_argument(f"--{flag}", metavar=metavar, help=explanation, type=Path if flag == "html" else str)
        else:
            sub.add_argument(f"--{flag}", action="store_true", help=explanation)
    sub.set_defaults(command=_report, options=[f"--{flag}" for flag in REPORT_FLAGS])


def _unknown(word: str, options: argparse.Namespace) -> str:
    from ftpsproxy.config import nearest

    return f"unknown argument '{word}'; {nearest(word.partition('=')[0], options.options)}"


def _missing(_options: argparse.Namespace) -> int:
    return fail(
        "say what to do: run, check, reload, replace, probe, csr, logs, report or demo; see ftpsproxy --help", WRONG
    )


def _version(_options: argparse.Namespace) -> int:
    from ftpsproxy import __version__

    say(f"ftpsproxy {__version__}")
    return 0


def _run(options: argparse.Namespace) -> int:
    # Until they can be heeded (HELD_BACK in serve/process.py) they must not end the process: some are sent early.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
    from ftpsproxy.cli.run import run

    return run(options)


def _check(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.check import check

    return check(options)


def _probe(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.probe import probe

    return probe(options)


def _csr(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.csr import csr

    return csr(options)


def _logs(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.logs import logs

    return logs(options)


def _report(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.report import report

    return report(options)


def _tell(options: argparse.Namespace) -> int:
    from ftpsproxy.cli.tell import tell

    return tell(options)


def _demo(options: argparse.Namespace) -> int:
    try:
        from ftpsproxy.cli import demo as show
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("pyftpdlib", "OpenSSL", "rich"):
            raise
        return fail("the demo needs an FTPS server of its own; pip install 'ftpsproxy[demo]'", WRONG)
    return show.run(keep=options.keep)
