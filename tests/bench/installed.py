"""Gateways installed for one run: the present code, and the same gateway at another commit of this repository.

Each has a virtual environment of its own with what it asks for and no more. In the environment of the developers ours
would need more memory than the other (structlog loads rich where it finds it), or seem to need less, as other processes
share its libraries.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bench.peers import OUR_ENVIRONMENT, REPOSITORY, Ground, Installation
from tests.bench.process import BenchError


def commit(revision: str) -> str:
    """The full name of the commit; raises BenchError when there is none."""
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    found = subprocess.run(("git", "-C", str(REPOSITORY), *arguments), capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise BenchError(f"--against {revision}: there is no such commit in {REPOSITORY}")
    return found.stdout.strip()


def present(made: Ground, name: str) -> Installation:
    """The code that stands here, whether committed or not."""
    return _install(made, name, REPOSITORY, OUR_ENVIRONMENT)


def past(made: Ground, name: str, revision: str) -> Installation:
    """The code of a commit."""
    archive, source = made.path(f"{name}.tar"), made.path(f"{name}-source")
    source.mkdir()
    _run(made, "git", "-C", REPOSITORY, "archive", "--output", archive, revision)
    _run(made, "tar", "-xf", archive, "-C", source)
    return _install(made, name, source, _raised_limits(source))


def _raised_limits(source: Path) -> dict[str, str]:
    """Of the limits raised for ours those that the commit has: a setting it does not know would be an error."""
    settings = (source / "config" / "ftpsproxy.toml").read_text()  # it has every setting, the defaults behind a "#"

    def known(variable: str) -> bool:
        table, key = variable.removeprefix("FTPSPROXY_").lower().split("__")
        return re.search(rf"^\[{table}\]\n(?:(?!\[).*\n)*#?{key} = ", settings, re.MULTILINE) is not None

    return {variable: value for variable, value in OUR_ENVIRONMENT.items() if known(variable)}


def _install(made: Ground, name: str, source: Path, environment: Mapping[str, str]) -> Installation:
    home = made.path(f"{name}-venv")
    python = home / "bin" / "python"
    _run(made, sys.executable, "-m", "venv", home)
    _run(made, python, "-m", "pip", "install", "--quiet", source)
    # Safe path: without it, -m would find the ftpsproxy of the working directory first.
    return Installation(name, (str(python),), {**environment, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"})


def _run(made: Ground, *arguments: str | Path) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": ""}
    done = subprocess.run(arguments, cwd=made.directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = " ".join(str(argument) for argument in arguments)
        raise BenchError(f"{words} failed:\n{done.stderr.strip()[-2000:]}")
