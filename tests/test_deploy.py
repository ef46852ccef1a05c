"""The files in deploy/ say what they should, as far as a tool or a schema can tell."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftpsproxy.config import load
from ftpsproxy.serve.heartbeat import SILENT_SECONDS
from tests.support import systemd

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


_SWITCHES = [
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RemoveIPC",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
]


class _Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _unit() -> _Unit:
    unit = _Unit(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.read(DEPLOY / "ftpsproxy.service")
    return unit


def test_unit_is_hardened_and_gives_transfers_time_to_end() -> None:
    service = dict(_unit()["Service"])
    assert service["ExecStart"].endswith("/ftpsproxy run -c /etc/ftpsproxy/ftpsproxy.toml")
    for key in _SWITCHES:
        assert service[key] == "yes", key
    assert service["ProtectSystem"] == "strict"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert service["RestrictAddressFamilies"].split() == ["AF_INET", "AF_INET6", "AF_UNIX"]
    assert service["RestartPreventExitStatus"] == "2"
    drain = load(None, flags={"upstream": "ftpes://h"}, environ={}).timeouts.drain
    assert float(service["TimeoutStopSec"]) > drain
    assert _unit()["Install"]["WantedBy"] == "multi-user.target"


def test_unit_says_what_goes_on_and_reloads_by_a_command_that_can_fail() -> None:
    service = dict(_unit()["Service"])  # the last of two Type=, which systemd before 253 does not know, and so ignores
    assert "\nType=notify\nType=notify-reload\n" in (DEPLOY / "ftpsproxy.service").read_text()
    assert service["ExecReload"].endswith("/ftpsproxy reload $MAINPID")
    assert service["ReloadSignal"] == "SIGCONT"
    assert float(service["WatchdogSec"]) >= 2 * SILENT_SECONDS


# What systemd before 253 says of a unit that is for later ones, too. It does what it did before.
_OLDER = ("Failed to parse service type, ignoring: notify-reload", "Unknown key 'ReloadSignal' in section [Service]")


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command, environment = [systemd.tool(systemd.ANALYZE), *arguments], systemd.environment()
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def _complaints(stderr: str) -> list[str]:
    version = int(_analyze("--version").stdout.split()[1])
    lines = [line for line in stderr.splitlines() if "ftpsproxy.service:" in line or "ftpsproxy.socket:" in line]
    return [line for line in lines if version >= 253 or not any(words in line for words in _OLDER)]


_VERIFY = ["verify", "--man=no"]
_EXPOSURE = ["security", "--offline=true", "--no-pager", "--threshold=20"]


@pytest.mark.parametrize("check", [_VERIFY, _EXPOSURE], ids=["verify", "security"])
def test_unit_satisfies_systemd(tmp_path: Path, check: list[str]) -> None:
    """It finds no mistake, and an exposure of at most 2.0 of 10."""
    shutil.copy(DEPLOY / "ftpsproxy.socket", tmp_path)
    unit = tmp_path / "ftpsproxy.service"
    text = (DEPLOY / "ftpsproxy.service").read_text()
    unit.write_text(text.replace("/opt/ftpsproxy/bin/ftpsproxy", sys.executable))
    units = [str(unit), *([str(tmp_path / "ftpsproxy.socket")] if check is _VERIFY else [])]
    done = _analyze(*check, *units)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not _complaints(done.stderr)


_HARDENED = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, since Linux 6.3: what MemoryDenyWriteExecute asks for
    sys.exit(77)
from ftpsproxy.cli.main import main
main(["check", "--listen", "127.0.0.1:2121", "--upstream", "ftpes://localhost"])
"""


def test_the_gateway_needs_no_memory_that_is_written_and_executed() -> None:
    done = subprocess.run([sys.executable, "-c", _HARDENED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_containerfile_runs_the_gateway_without_root() -> None:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    last = {line[0]: line[1] for line in lines}
    assert re.fullmatch(r"(ARG|FROM|WORKDIR|COPY|RUN|ENV|USER|EXPOSE|STOPSIGNAL|ENTRYPOINT|CMD| )+", " ".join(last))
    assert last["USER"] == "65532:65532"
    assert last["ENTRYPOINT"] == '["ftpsproxy"]'
    assert last["CMD"] == '["run"]'
    for word, rest in lines:
        if word == "COPY" and "--from" not in rest:
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
    assert str(load(None, flags={"upstream": "ftpes://h"}, environ={}).listeners[0].port) == last["EXPOSE"]


def test_readme_names_every_file() -> None:
    text = (DEPLOY / "README.md").read_text()
    files = [str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()]
    assert [name for name in files if f"`{name}`" not in text] == ["README.md"]
