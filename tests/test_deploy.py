"""The files in deploy/ say what they should, as far as a tool or a schema can tell."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ftpsproxy.config import load
from ftpsproxy.serve.heartbeat import SILENT_SECONDS

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


def _complaints(tool: str, stderr: str) -> list[str]:
    told = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    version = int(told.split()[1])
    lines = [line for line in stderr.splitlines() if "ftpsproxy.service:" in line or "ftpsproxy.socket:" in line]
    return [line for line in lines if version >= 253 or not any(words in line for words in _OLDER)]


_VERIFY = ["verify", "--man=no"]
_EXPOSURE = ["security", "--offline=true", "--no-pager", "--threshold=20"]


@pytest.mark.parametrize("check", [_VERIFY, _EXPOSURE], ids=["verify", "security"])
def test_unit_satisfies_systemd(tmp_path: Path, check: list[str]) -> None:
    """Where systemd-analyze is installed, it finds no mistake and an exposure of at most 2.0 of 10."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        assert _unit().sections() == ["Unit", "Service", "Install"]
        return
    shutil.copy(DEPLOY / "ftpsproxy.socket", tmp_path)
    unit = tmp_path / "ftpsproxy.service"
    text = (DEPLOY / "ftpsproxy.service").read_text()
    unit.write_text(text.replace("/opt/ftpsproxy/bin/ftpsproxy", sys.executable))
    units = [str(unit), *([str(tmp_path / "ftpsproxy.socket")] if check is _VERIFY else [])]
    done = subprocess.run([tool, *check, *units], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not _complaints(tool, done.stderr)


_NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63}
_PROBE = {
    "type": "object",
    "required": ["httpGet"],
    "properties": {
        "httpGet": {
            "type": "object",
            "required": ["path", "port"],
            "properties": {"path": {"enum": ["/healthz", "/readyz"]}, "port": {"const": "admin"}},
            "additionalProperties": False,
        },
        "periodSeconds": {"type": "integer", "minimum": 1},
        "timeoutSeconds": {"type": "integer", "minimum": 1},
        "failureThreshold": {"type": "integer", "minimum": 1},
    },
    "additionalProperties": False,
}
_CONTAINER = {
    "type": "object",
    "required": ["name", "image"],
    "properties": {
        "name": _NAME,
        "image": {"type": "string", "pattern": "^[a-z0-9./-]+:[A-Za-z0-9._-]+$"},
        "args": {"type": "array", "items": {"type": "string"}},
        "env": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "properties": {"name": {"pattern": "^[A-Z][A-Z0-9_]*$"}, "value": {"type": "string"}},
                "additionalProperties": False,
            },
        },
        "ports": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["containerPort"],
                "properties": {
                    "name": {**_NAME, "maxLength": 15},
                    "containerPort": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "protocol": {"enum": ["TCP"]},
                },
                "additionalProperties": False,
            },
        },
        "restartPolicy": {"const": "Always"},
        "startupProbe": _PROBE,
        "readinessProbe": _PROBE,
        "livenessProbe": _PROBE,
        "resources": {"type": "object"},
        "securityContext": {"type": "object"},
        "volumeMounts": {"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}},
    },
    "additionalProperties": False,
}
_DEPLOYMENT = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "apps/v1"},
        "spec": {
            "type": "object",
            "required": ["selector", "template"],
            "properties": {
                "replicas": {"type": "integer"},
                "selector": {"type": "object", "required": ["matchLabels"]},
                "template": {
                    "type": "object",
                    "required": ["metadata", "spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["initContainers", "containers", "volumes"],
                            "properties": {
                                "initContainers": {"type": "array", "items": _CONTAINER, "minItems": 1},
                                "containers": {"type": "array", "items": _CONTAINER, "minItems": 1},
                                "volumes": {"type": "array"},
                                "automountServiceAccountToken": {"const": False},
                                "terminationGracePeriodSeconds": {"type": "integer", "minimum": 31},
                            },
                            "additionalProperties": False,
                        }
                    },
                },
            },
            "additionalProperties": False,
        },
    },
}


def _pod() -> tuple[dict[str, Any], dict[str, Any]]:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes-sidecar.yaml").read_text()))
    config_map, deployment = documents
    assert (config_map["kind"], config_map["apiVersion"]) == ("ConfigMap", "v1")
    assert "ca.pem" in config_map["data"]
    jsonschema.validate(deployment, _DEPLOYMENT)
    spec = deployment["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert config_map["metadata"]["name"] in [v["configMap"]["name"] for v in spec["template"]["spec"]["volumes"]]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod, pod["initContainers"][0]


def test_manifest_is_a_native_sidecar_without_rights() -> None:
    pod, sidecar = _pod()
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert sidecar["startupProbe"]["httpGet"] == sidecar["readinessProbe"]["httpGet"]
    assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz"
    context = sidecar["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


def test_manifest_holds_settings_that_load(tmp_path: Path) -> None:
    pod, sidecar = _pod()
    environ = {entry["name"]: entry["value"] for entry in sidecar["env"]}
    roots = tmp_path / "ca.pem"
    roots.touch()
    assert environ["FTPSPROXY_CA_FILE"].startswith(sidecar["volumeMounts"][0]["mountPath"])
    settings = load(None, flags={}, environ={**environ, "FTPSPROXY_CA_FILE": str(roots)})
    assert settings.listeners[0].host == "127.0.0.1"
    assert (settings.admin.host, settings.admin.port) == ("0.0.0.0", sidecar["ports"][0]["containerPort"])
    assert settings.upstreams["default"].ca_file == roots
    assert pod["terminationGracePeriodSeconds"] > settings.timeouts.drain
    app = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert app["FTP_PORT"] == str(settings.listeners[0].port)


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
