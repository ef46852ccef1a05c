"""Real FTP clients, run the way people script them.

A `Client` is one program in one mode. Its functions return on success and raise `ClientFailed` with all output if not;
what a program cannot do is None: wget cannot upload, busybox and ncftp delete nothing.
"""

from __future__ import annotations

import ftplib
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import Endpoint

SECONDS = 60.0

Transfer = Callable[[Endpoint, Path, str], None]
Lister = Callable[[Endpoint, str], str]
Remover = Callable[[Endpoint, str], None]
Renamer = Callable[[Endpoint, str, str], None]


class ClientFailed(Exception):
    """The program failed, or said so; the text is its command line and everything it printed."""


@dataclass(frozen=True, slots=True)
class Client:
    """One program in one mode. Local paths are files; remote ones are names in the user's directory.

    ``active``: the server connects to it. ``ipv6``: it can reach an IPv6 address in this mode. ``lists_by``: what it
    says for a listing.
    """

    name: str
    download: Transfer
    upload: Transfer | None = None
    list: Lister | None = None
    delete: Remover | None = None
    rename: Renamer | None = None
    ipv6: bool = True
    lists_by: str = "LIST"

    @property
    def active(self) -> bool:
        return self.name.endswith(("-active", "-eprt", "-port"))


def _run(argv: Sequence[str], *, typed: str | None = None) -> str:
    """Runs a program in a home of its own and returns all it printed; raises if its exit code is not 0."""
    binary = shutil.which(argv[0])
    if binary is None:
        raise ClientFailed(f"{argv[0]} is missing: run tests/peers.sh (or tests/run) as root first")
    with tempfile.TemporaryDirectory(prefix="ftpsproxy-client-") as home:
        # A bare environment: no proxy settings, no colours, no translated messages, no dot files.
        environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "LC_ALL": "C", "TERM": "dumb"}
        try:
            done = subprocess.run(
                [binary, *argv[1:]],
                input=None if typed is None else typed.encode(),
                stdin=subprocess.DEVNULL if typed is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=environ,
                timeout=SECONDS,
                start_new_session=True,  # no controlling terminal to ask for a password on
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            said = (expired.stdout or b"").decode("utf-8", "replace")
            raise ClientFailed(f"{argv} did not end within {SECONDS:g} s\n{typed or ''}\n{said}") from None
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise ClientFailed(f"{argv} ended with {done.returncode}\n{typed or ''}\n{output}")
    return output


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _url(endpoint: Endpoint, path: str) -> str:
    return f"ftp://{_bracketed(endpoint.host)}:{endpoint.port}/{path}"


# curl


def _curl(name: str, *mode: str, ipv6: bool = True) -> Client:
    def run(endpoint: Endpoint, *rest: str) -> str:
        login = f"{endpoint.user}:{endpoint.password}"
        limits = ("--connect-timeout", "30", "--max-time", str(SECONDS - 5))
        return _run(["curl", "--silent", "--show-error", "--globoff", *limits, *mode, "--user", login, *rest])

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, "--upload-file", str(local), _url(endpoint, remote))

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        local.touch()  # curl makes no file when there is nothing in it
        run(endpoint, "--output", str(local), _url(endpoint, remote))

    def listing(endpoint: Endpoint, directory: str) -> str:
        return run(endpoint, _url(endpoint, directory))

    def delete(endpoint: Endpoint, remote: str) -> None:
        run(endpoint, "--output", os.devnull, "--quote", f"DELE {remote}", _url(endpoint, ""))

    def rename(endpoint: Endpoint, old: str, new: str) -> None:
        run(endpoint, "--output", os.devnull, "--quote", f"RNFR {old}", "--quote", f"RNTO {new}", _url(endpoint, ""))

    return Client(name, download, upload, listing, delete, rename, ipv6)


# lftp


def _lftp(name: str, *, passive: bool) -> Client:
    settings = (
        "set cmd:fail-exit yes; set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 30;"
        f" set cmd:interactive no; set xfer:clobber yes; set ftp:passive-mode {'yes' if passive else 'no'};"
    )

    def run(endpoint: Endpoint, command: str) -> str:
        login = f"open -p {endpoint.port} -u {endpoint.user},{endpoint.password} {endpoint.host};"
        return _run(["lftp", "-c", f"{settings} {login} {command}"])

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, f'put "{local}" -o "{remote}"')

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, f'get "{remote}" -o "{local}"')

    def listing(endpoint: Endpoint, directory: str) -> str:
        return run(endpoint, f'ls "{directory}"')

    def delete(endpoint: Endpoint, remote: str) -> None:
        run(endpoint, f'rm "{remote}"')

    def rename(endpoint: Endpoint, old: str, new: str) -> None:
        run(endpoint, f'mv "{old}" "{new}"')

    # Active to ::1 it sends "EPRT |2|::|…", which no server may take.
    return Client(name, download, upload, listing, delete, rename, ipv6=passive)


# The BSD client and its descendants are driven by typed commands; their exit code says little, their replies all.

_FAILURE = re.compile(r"^(?:[45]\d\d[ -]|\?|Not connected|ftp: |Login failed|.*timed out)", re.MULTILINE)


def _typed(name: str, argv: Sequence[str]) -> Client:
    def run(endpoint: Endpoint, *commands: str) -> str:
        lines = [
            f"open {endpoint.host} {endpoint.port}",
            f"user {endpoint.user} {endpoint.password}",
            "binary",
            *commands,
            "quit",
        ]
        typed = "".join(f"{line}\n" for line in lines)
        output = _run(argv, typed=typed)
        done = re.search(r"^2(?:26|50) ", output, re.MULTILINE)
        if _FAILURE.search(output) or "230" not in output or not done:
            raise ClientFailed(f"{argv}\n{typed}\n{output}")
        return output

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, f"put {local} {remote}")

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, f"get {remote} {local}")

    def listing(endpoint: Endpoint, directory: str) -> str:
        return run(endpoint, f"ls {directory or '.'}")

    def delete(endpoint: Endpoint, remote: str) -> None:
        run(endpoint, f"delete {remote}")

    def rename(endpoint: Endpoint, old: str, new: str) -> None:
        run(endpoint, f"rename {old} {new}")

    return Client(name, download, upload, listing, delete, rename)


# ncftp


def _ncftp(name: str, *mode: str) -> Client:
    def login(endpoint: Endpoint) -> list[str]:
        timing = ["-t", "30", "-r", "1"]
        return [*mode, *timing, "-u", endpoint.user, "-p", endpoint.password, "-P", str(endpoint.port)]

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        _run(["ncftpput", "-V", *login(endpoint), "-C", endpoint.host, str(local), remote])

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        _run(["ncftpget", "-V", *login(endpoint), "-C", endpoint.host, remote, str(local)])

    def listing(endpoint: Endpoint, directory: str) -> str:
        return _run(["ncftpls", *login(endpoint), "-l", _url(endpoint, directory)])

    return Client(name, download, upload, listing, ipv6=False)


# busybox


def _busybox() -> Client:
    def login(endpoint: Endpoint) -> list[str]:
        return ["-u", endpoint.user, "-p", endpoint.password, "-P", str(endpoint.port), endpoint.host]

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        _run(["busybox", "ftpput", *login(endpoint), remote, str(local)])

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        _run(["busybox", "ftpget", *login(endpoint), str(local), remote])

    return Client("busybox", download, upload)


# wget


def _wget(name: str, *mode: str) -> Client:
    def run(endpoint: Endpoint, path: str, output: str) -> str:
        login = [f"--ftp-user={endpoint.user}", f"--ftp-password={endpoint.password}"]
        limits = ["--tries=1", "--timeout=30", "--no-proxy", "--no-verbose"]
        return _run(["wget", *limits, *mode, *login, "--output-document", output, _url(endpoint, path)])

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        run(endpoint, remote, str(local))

    def listing(endpoint: Endpoint, directory: str) -> str:
        return run(endpoint, directory + "/", "-")

    return Client(name, download, list=listing, lists_by="LIST -a")


# Python's ftplib


def _ftplib(name: str, *, passive: bool) -> Client:
    def login(endpoint: Endpoint) -> ftplib.FTP:
        ftp = ftplib.FTP(timeout=SECONDS)
        ftp.connect(endpoint.host, endpoint.port)
        ftp.set_pasv(passive)
        try:
            ftp.login(endpoint.user, endpoint.password)
        except BaseException:
            ftp.close()
            raise
        return ftp

    def upload(endpoint: Endpoint, local: Path, remote: str) -> None:
        with login(endpoint) as ftp, local.open("rb") as source:
            ftp.storbinary(f"STOR {remote}", source)

    def download(endpoint: Endpoint, local: Path, remote: str) -> None:
        with login(endpoint) as ftp, local.open("wb") as target:
            ftp.retrbinary(f"RETR {remote}", target.write)

    def listing(endpoint: Endpoint, directory: str) -> str:
        lines = io.StringIO()
        with login(endpoint) as ftp:
            ftp.retrlines(f"LIST {directory}".strip(), lambda line: lines.write(line + "\n"))
        return lines.getvalue()

    def delete(endpoint: Endpoint, remote: str) -> None:
        with login(endpoint) as ftp:
            ftp.delete(remote)

    def rename(endpoint: Endpoint, old: str, new: str) -> None:
        with login(endpoint) as ftp:
            ftp.rename(old, new)

    return Client(name, download, upload, listing, delete, rename)


CLIENTS: tuple[Client, ...] = (
    _curl("curl-epsv"),
    _curl("curl-pasv", "--disable-epsv", ipv6=False),
    _curl("curl-eprt", "--ftp-port", "-"),
    _curl("curl-port", "--ftp-port", "-", "--disable-eprt", ipv6=False),
    _lftp("lftp-passive", passive=True),
    _lftp("lftp-active", passive=False),
    _typed("tnftp-passive", ["tnftp", "-inv", "-p"]),
    _typed("tnftp-active", ["tnftp", "-inv", "-A"]),
    _typed("inetutils-passive", ["inetutils-ftp", "-inv", "-p"]),
    _typed("inetutils-active", ["inetutils-ftp", "-inv", "-A"]),
    _ncftp("ncftp-passive", "-F"),
    _ncftp("ncftp-active", "-E"),
    _busybox(),
    _wget("wget-passive"),
    _wget("wget-active", "--no-passive-ftp"),
    _ftplib("ftplib-passive", passive=True),
    _ftplib("ftplib-active", passive=False),
)

BY_NAME = {client.name: client for client in CLIENTS}
