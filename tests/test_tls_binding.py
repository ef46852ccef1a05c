"""OpenSSL by way of cryptography: what is used of it is listed, looked for at once, and let go of when it is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftpsproxy.tls import Buffer, Context, binding

ROOT = Path(__file__).parent.parent


def test_the_list_holds_what_is_used_and_nothing_else() -> None:
    used = {
        name
        for file in (ROOT / "ftpsproxy" / "tls").glob("*.py")
        for name in re.findall(r"\blib\.([A-Za-z]\w+)", file.read_text())
    }
    assert sorted(used) == sorted(binding.NAMES)
    assert len(set(binding.NAMES)) == len(binding.NAMES)


def test_the_versions_named_are_those_required() -> None:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"cryptography{binding.SUPPORTED}" in requirements


@pytest.mark.parametrize("name", binding.NAMES)
def test_a_name_that_is_missing_is_named_with_the_remedy(name: str) -> None:
    lib = SimpleNamespace(**dict.fromkeys(binding.NAMES, 0))
    delattr(lib, name)
    with pytest.raises(binding.BindingError) as caught:
        binding.check(lib)
    assert re.fullmatch(
        rf"cryptography [\d.]+ does not show OpenSSL's {name}, which is used here: install 'cryptography>=[\d.]+,<\d+'",
        str(caught.value),
    )


WITHOUT = """
import sys
from cryptography.hazmat.bindings.openssl.binding import Binding
class Less:
    def __init__(self, lib): self._lib = lib
    def __getattr__(self, name):
        if name == "SSL_get0_param": raise AttributeError(name)
        return getattr(self._lib, name)
whole = Binding.__init__
def less(self):
    whole(self)
    self.lib = Less(self.lib)
Binding.__init__ = less
from ftpsproxy.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_command_says_it_in_one_line(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, command, "--upstream", "ftpes://server.test"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"ftpsproxy: cryptography \S+ does not show OpenSSL's SSL_get0_param, .*\n", done.stderr)


def test_a_buffer_that_was_lent_is_looked_at_no_more() -> None:
    connection = Context(verify=False, minimum="1.2", maximum="1.3").connect("server.test")
    buffer = Buffer(16)
    buffer.view[:5] = b"bytes"
    connection.lend(buffer, 5)
    assert connection.peek() == b"bytes"
    connection.take_back()
    assert (connection.unread, connection.peek()) == (0, b"")
    connection.feed(b"others")
    assert connection.peek() == b"others"


def test_the_oldest_version_allowed_does_all_that_the_newest_does() -> None:
    """The other tests run on the newest: pip takes that. Here those of TLS and of the relay run once more."""
    oldest = re.search(r">=([\d.]+)", binding.SUPPORTED)
    assert oldest is not None
    place = ROOT / ".peers" / f"cryptography-{oldest[1]}"
    assert place.is_dir(), "tests/peers.sh fetches it"
    tests = ["tests/test_tls.py", "tests/test_control.py", "tests/relay"]
    run = "import sys, cryptography, pytest; print(cryptography.__version__); sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", run, "-p", "no:cacheprovider", *tests],
        env={**os.environ, "PYTHONPATH": str(place)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, oldest[1]), done.stdout[-3000:] + done.stderr[-3000:]
