"""`ftpsproxy probe`: what a server is, step by step, and the settings that work with it."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ftpsproxy import errors
from ftpsproxy.cli.files import write_new
from ftpsproxy.cli.terminal import FAILED, INTERRUPTED, WRONG, fail, say
from ftpsproxy.config import Upstream, is_ipv6, parse_pins, parse_url, private, readable, server_name
from ftpsproxy.probe import Login, Report, Request, Step, run
from ftpsproxy.probe.settings import name_for
from ftpsproxy.tls import TlsConfigError, build_context

_EXPLICIT, _IMPLICIT = 21, 990
_FILE_MODE = 0o644
_MOST_PASSWORD = 4096
_MARKS, _ASCII_MARKS = {True: "✓", False: "✗", None: "·"}, {True: "ok", False: "NO", None: "-"}
_KINDS = {
    "explicit": "FTPS with explicit TLS (AUTH)",
    "implicit": "FTPS with implicit TLS",
    "implicit_greeting_clear": "FTPS with implicit TLS behind a greeting in clear",
}


class UsageError(Exception):
    """Something is wrong with what was asked for; the text is one line."""


def probe(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    try:
        request = _request(options)
        report = run(request, _unheard if options.json else _Teller())
    except (UsageError, TlsConfigError) as error:
        return fail(error, WRONG)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    if options.json:
        say(json.dumps(_for_machines(report), indent=2, ensure_ascii=True))
    elif report.toml:
        say(f"\n{_headline(report)}\n\n{report.toml}")
    if report.refused is not None:
        return fail(f"no way found: {report.refused.detail}", FAILED)
    return _write(Path(options.write), report, loud=not options.json) if options.write else 0


# --- what was asked for -----------------------------------------------------------------------------------------------


def _request(options: argparse.Namespace) -> Request:
    """Raises UsageError, TlsConfigError."""
    if len(options.target) != 1:
        what = "say which server: " if not options.target else "one server at a time: "
        raise UsageError(f"{what}ftpsproxy probe ftp.example.com, or ftpes://HOST[:PORT], or ftps://HOST[:PORT]")
    targets = _targets(options.target[0])
    for flag, written in (("--write", options.write), ("--password-file", options.password_file)):
        if written == "":
            raise UsageError(f"{flag}: name a file")
    if options.write and os.path.lexists(options.write):
        raise UsageError(f"--write: {options.write} is there already, and is not overwritten; name another file")
    for flag, written in (("--password-file", options.password_file), ("--upload", options.upload)):
        if written is not None and options.user is None:
            raise UsageError(f"{flag}: that needs a login; say --user NAME, too")
    _check_text("--user", options.user)
    _check_text("--upload", options.upload)
    ours = _identity(options)
    ca_file = _parsed("--ca-file", readable, options.ca_file)
    pins = _parsed("--trust", lambda written: parse_pins([written]), options.trust) or ()
    build_context(replace(targets[0], ca_file=ca_file, **ours))  # to hear at once of files that can't be used
    login = None if options.user is None else Login(options.user, _password(options))
    return Request([replace(one, **ours) for one in targets], ca_file, pins, login, options.upload or "")


def _identity(options: argparse.Namespace) -> dict[str, Any]:
    """The name that the server has to prove, and what we show it; what was given of them. Raises UsageError."""
    if options.key_file is not None and options.cert_file is None:
        raise UsageError("--key-file: a key without a certificate; say --cert-file, too")
    with_key = readable if options.key_file is not None else private
    found = {
        "server_name": _parsed("--server-name", server_name, options.server_name),
        "cert_file": _parsed("--cert-file", with_key, options.cert_file),
        "key_file": _parsed("--key-file", private, options.key_file),
    }
    return {key: value for key, value in found.items() if value is not None}


def _targets(written: str) -> list[Upstream]:
    """The server at each port to try: the one given, or both usual ones."""
    scheme, found, rest = written.partition("://")
    rest = rest if found else written
    if is_ipv6(rest):
        rest = f"[{rest}]"
    try:
        host, port, implicit = parse_url(f"{scheme if found else 'ftpes'}://{rest}")
    except ValueError as error:
        raise UsageError(str(error)) from None
    name = name_for(host)
    if ":" in rest.rpartition("]")[2]:
        return [Upstream(name, host, port, implicit or (not found and port == _IMPLICIT))]
    both = [Upstream(name, host, _EXPLICIT), Upstream(name, host, _IMPLICIT, implicit=True)]
    return both[::-1] if implicit else both


def _parsed(flag: str, parse: Callable[[str], Any], written: str | None) -> Any:
    try:
        found = None if written is None else parse(written)
        # In a file of settings relative paths start at that file's folder.
        return found.absolute() if isinstance(found, Path) else found
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _check_text(flag: str, written: str | None) -> None:
    if written is not None and (not written or not written.isprintable()):
        raise UsageError(f"{flag}: must not be empty or hold control characters")


def _password(options: argparse.Namespace) -> str:
    """From the file, a prompt, or standard input; never from the command line, which others can see."""
    try:
        if options.password_file:
            with open(options.password_file, encoding="utf-8", errors="surrogateescape") as file:
                line = file.readline(_MOST_PASSWORD + 1)
        elif sys.stdin is None:  # it was closed
            line = ""
        elif sys.stdin.isatty():
            line = getpass.getpass(f"password of {options.user}: ")
        else:
            line = sys.stdin.readline(_MOST_PASSWORD + 1)
    except OSError as error:
        raise UsageError(f"--password-file: cannot read {options.password_file}: {errors.words(error)}") from None
    except (EOFError, UnicodeDecodeError):
        line = ""
    password = line.rstrip("\r\n")
    if not password or len(password) > _MOST_PASSWORD or any(char in password for char in "\r\n\0"):
        where = options.password_file or "standard input"
        raise UsageError(f"no password in {where}: it is the first line, of {_MOST_PASSWORD} characters at most")
    return password


# --- what was found out -----------------------------------------------------------------------------------------------


class _Teller:
    """Prints each step as it comes, chapter by chapter."""

    def __init__(self) -> None:
        self._part = ""
        try:
            "".join(_MARKS.values()).encode(sys.stdout.encoding or "ascii")
            self._marks = _MARKS
        except (UnicodeEncodeError, LookupError):
            self._marks = _ASCII_MARKS

    def __call__(self, step: Step) -> None:
        lines = [] if step.part == self._part else ["", step.part] if self._part else [step.part]
        self._part = step.part
        took = "" if step.milliseconds is None else f"{step.milliseconds:.0f} ms"
        lines.append(f"  {self._marks[step.ok]:<2}{took:>8}  {step.said}")
        lines += [f"{'':14}{line}" for line in step.more]
        say("\n".join(lines))


def _unheard(_step: Step) -> None:
    pass


def _headline(report: Report) -> str:
    versions = " and ".join(sorted(report.ciphers))
    what = f"{report.url}: {_KINDS[report.kind]}, TLS {versions}."
    return f"{what} The settings that work:" if report.ok else f"{what} What is known for its settings:"


def _for_machines(report: Report) -> dict[str, Any]:
    refused = report.refused
    return {
        "ok": report.ok,
        "reason": None if refused is None else refused.reason,
        "detail": None if refused is None else refused.detail,
        "kind": report.kind or None,
        "url": report.url or None,
        "tls": dict(report.ciphers),
        "certificates": [dict(one.facts) for one in report.certificates],
        "steps": [asdict(step) for step in report.steps],
        "toml": report.toml or None,
    }


def _write(path: Path, report: Report, *, loud: bool) -> int:
    """→ an exit code, 0 for well."""
    try:
        write_new(path, report.toml.encode("utf-8"), _FILE_MODE)
    except OSError as error:
        return fail(f"--write: {path} can't be written: {errors.words(error)}", FAILED)
    if loud:
        say(f"written to {path}; look at it with: ftpsproxy check -c {path}")
    return 0
