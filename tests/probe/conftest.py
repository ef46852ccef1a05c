"""The command, run in this process, and what it said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy.cli.main import main
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.servers import PASSWORD, USER

Probe = Callable[..., "Said"]


class Said:
    """What the command has said, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def told(self) -> dict[str, Any]:
        """With --json."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def toml(self) -> str:
        """The settings, from the text for people."""
        return self.out[self.out.index("\n[upstream.") + 1 :]

    @property
    def enabled(self) -> str:
        """The settings with those taken in that were only offered."""
        return re.sub(r"(?m)^#(?=[a-z_]+ = )", "", self.toml)

    def printed(self, pattern: str) -> str:
        """What was printed there."""
        found = re.search(pattern, self.out)
        assert found is not None, self.out
        return found[1]

    def refusal(self) -> str:
        """The one line that says why there is no way."""
        assert self.code == 1, (self.code, self.out, self.err)
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("ftpsproxy: no way found: ")


@pytest.fixture
def probe(capfd: pytest.CaptureFixture[str]) -> Probe:
    """Run it with these arguments."""

    def run(*arguments: str | Path) -> Said:
        try:
            code = main(["probe", *map(str, arguments)])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert PASSWORD not in out + err
        return Said(code, out, err)

    return run


@pytest.fixture
def login(tmp_path: Path) -> list[str]:
    """The flags of a login."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return ["--user", USER, "--password-file", str(file)]


@pytest.fixture
def bad_server(certificates: Certificates) -> Iterator[BadServer]:
    """One that the authority of these tests vouches for."""
    with BadServer(certificates.server.certificate_file, certificates.server.key_file) as server:
        yield server
