"""What is timed: real clients that go the long way by themselves, by FTPS, or by a gateway beside them."""

from __future__ import annotations

import ftplib
import io
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers import PASSWORD, USER
from tests.bench.process import BenchError

SMALL_BYTES, SMALL_FILES = 10 << 10, 100
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client logs in; with an `authority` by FTPS, whose certificate it verifies."""

    host: str
    port: int
    authority: Path | None = None

    @property
    def url(self) -> str:
        """Of its root."""
        return f"ftp://{USER}:{PASSWORD}@{self.host}:{self.port}/"


@dataclass(frozen=True, slots=True)
class Files:
    """What is moved: a folder with `SMALL_FILES` files f0, f1, … of `SMALL_BYTES`, which the server has below down/."""

    folder: Path
    bulk: Path
    bulk_bytes: int

    def small(self, number: int) -> Path:
        """One of them."""
        return self.folder / f"f{number}"


Client = Callable[[Target, Files, str, int], float]
"""Seconds that a session takes which does `count` times what is named: up, down, list; big-up, big-down; nothing."""


def _timed(what: str, arguments: list[str], said: str = "") -> float:
    started = time.perf_counter()
    done = subprocess.run(
        arguments, input=said, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=_SECONDS
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise BenchError(f"{what} ended with {done.returncode}: {done.stderr[-500:]}")
    return seconds


def curl(target: Target, files: Files, what: str, count: int) -> float:
    """Says EPSV and TYPE, and what it knows already not again."""
    arguments = ["curl", "-sS", "--fail"]
    if target.authority is not None:
        arguments += ["--ssl-reqd", "--cacert", str(target.authority)]
    for number in range(count):
        if what == "up":
            arguments += ["-T", str(files.small(number)), f"{target.url}up/f{number}"]
        elif what == "down":
            arguments += ["-o", "/dev/null", f"{target.url}down/f{number}"]
        elif what == "list":
            arguments += [f"{target.url}down/"]
        elif what == "big-up":
            arguments += ["-T", str(files.bulk), f"{target.url}up/bulk"]
        else:
            arguments += ["-o", "/dev/null", f"{target.url}bulk"]
    if not count:
        arguments += ["--head", target.url]
    return _timed("curl", arguments)


def lftp(target: Target, files: Files, what: str, count: int) -> float:
    """A session by its own ways: FEAT, OPTS and what else it likes to know."""
    secure = "true" if target.authority is not None else "false"
    said = [
        f"set ftp:ssl-force {secure}; set ftp:ssl-allow {secure}; set ftp:ssl-protect-data true",
        *([f"set ssl:ca-file {target.authority}"] if target.authority is not None else []),
        "set net:max-retries 1; set xfer:clobber true; set cmd:fail-exit true; set cmd:interactive false",
        f"open -u {USER},{PASSWORD} -p {target.port} {target.host}",
    ]
    line = {
        "up": "put -O up " + str(files.folder) + "/f{}",
        "down": "get down/f{} -o /dev/null",
        "list": "rels down",  # "ls" remembers
        "big-up": f"put -O up {files.bulk}",
        "big-down": "get bulk -o /dev/null",
    }
    said += [line[what].format(number) for number in range(count)] or ["pwd", "cd up"]
    return _timed("lftp", ["lftp", "-f", "/dev/stdin"], "\n".join(said) + "\n")


def python(target: Target, files: Files, what: str, count: int) -> float:
    """ftplib."""
    started = time.perf_counter()
    try:
        with _connected(target) as ftp:
            for number in range(count):
                _one(ftp, files, what, number)
            ftp.quit()
    except ftplib.all_errors as error:
        raise BenchError(f"ftplib: {error}") from None
    return time.perf_counter() - started


def _connected(target: Target) -> ftplib.FTP:
    ftp = ftplib.FTP(timeout=60)
    if target.authority is not None:
        ftp = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=str(target.authority)), timeout=60)
    ftp.connect(target.host, target.port)
    ftp.login(USER, PASSWORD)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.prot_p()
    return ftp


def _one(ftp: ftplib.FTP, files: Files, what: str, number: int) -> None:
    match what:
        case "up":
            ftp.storbinary(f"STOR up/f{number}", io.BytesIO(files.small(number).read_bytes()))
        case "down":
            ftp.retrbinary(f"RETR down/f{number}", lambda _: None)
        case "list":
            ftp.retrlines("LIST down", lambda _: None)
        case "big-up":
            with files.bulk.open("rb") as file:
                ftp.storbinary("STOR up/bulk", file, 1 << 16)
        case _:
            ftp.retrbinary("RETR bulk", lambda _: None, 1 << 16)


CLIENTS: dict[str, Client] = {"curl": curl, "lftp": lftp, "ftplib": python}
