"""The servers' programs, built once: what was built stays in ``.peers/stacks/``, under a hash of its origin."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import PEERS, ServerFailed

SOURCES = Path(__file__).parent / "servers"
_BUILD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Program:
    """How a server is built, from what, and how it is started; `{out}` is the folder of what was built.

    Paths are below `servers/`. One that needs no building has no `build`.
    """

    command: tuple[str, ...]
    build: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def ready(program: Program) -> tuple[str, ...]:
    """The command that starts it, built first if need be. Raises ServerFailed: one line that says what is missing."""
    if not program.build:
        return program.command
    compiler = shutil.which(program.build[0])
    if compiler is None:
        raise ServerFailed(f"{program.build[0]} is missing: run tests/peers.sh (or tests/run) as root first")
    origin = hashlib.sha256(repr((program.build, os.path.realpath(compiler))).encode())
    for source in program.sources:
        origin.update((SOURCES / source).read_bytes())
    kept = PEERS / "stacks" / origin.hexdigest()[:16]
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever else wants it waits, and finds it
        if not kept.exists():
            making = kept.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)  # of one that was broken off
            making.mkdir()
            _build(program, making)
            making.rename(kept)
    return tuple(part.format(out=kept) for part in program.command)


def _build(program: Program, out: Path) -> None:
    done = subprocess.run(
        [part.format(out=out) for part in program.build],
        cwd=SOURCES,
        env={**os.environ, **{key: value.format(out=out) for key, value in program.environment.items()}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        first = next((line for line in said if "error" in line), said[0] if said else "it says nothing")
        raise ServerFailed(f"{' '.join(program.build)} failed (tests/peers.sh installs what it needs): {first}")
