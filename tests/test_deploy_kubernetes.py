"""The manifests in deploy/kubernetes: by the schemas that Kubernetes publishes, and of one mind with the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from ftpsproxy.config import Settings, load
from tests.support.servers.common import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
Document = dict[str, Any]

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
# Written by hand: what is used here of the Prometheus operator's definition, fields and types as it publishes them.
_POD_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["selector", "podMetricsEndpoints"],
            "properties": {
                "selector": {
                    "type": "object",
                    "properties": {"matchLabels": _TEXTS},
                    "additionalProperties": False,
                },
                "podMetricsEndpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": r"^(0|([0-9]+ms|[0-9]+s|[0-9]+m|[0-9]+h)+)$"},
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


def _documents(name: str) -> dict[str, Document]:
    """What the file holds, by kind."""
    documents = list(yaml.safe_load_all((KUBERNETES / name).read_text()))
    found = {one["kind"]: one for one in documents}
    assert len(found) == len(documents)
    return found


def _validate(document: Document, version: str) -> None:
    if document["kind"] == "PodMonitor":
        jsonschema.validate(document, _POD_MONITOR)
    else:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", [path.name for path in sorted(KUBERNETES.iterdir())])
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_manifest_is_as_the_schema_says(name: str, version: str) -> None:
    """Of the oldest version it is for, and the newest there is; no field that is unknown there."""
    for document in _documents(name).values():
        _validate(document, version)


def test_the_schemas_find_what_is_wrong() -> None:
    documents = _documents("gateway.yaml")
    documents["Service"]["spec"]["externalTrafficPolicies"] = "Local"
    documents["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] = "6"
    documents["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["prot"] = "admin"
    for kind in ("Service", "HorizontalPodAutoscaler", "PodMonitor"):
        with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
            _validate(documents[kind], "1.30")


def _is_hardened(container: Document, pod: Document) -> None:
    context = pod.get("securityContext", {}) | container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"] == container["readinessProbe"]["httpGet"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_sidecar_is_a_native_one_without_rights() -> None:
    pod = _documents("sidecar.yaml")["Deployment"]["spec"]["template"]["spec"]
    sidecar = pod["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always"
    _is_hardened(sidecar, pod)


def test_sidecar_holds_settings_that_load(tmp_path: Path) -> None:
    documents = _documents("sidecar.yaml")
    deployment = documents["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    sidecar = pod["initContainers"][0]
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert documents["ConfigMap"]["metadata"]["name"] in [one["configMap"]["name"] for one in pod["volumes"]]
    environ = {entry["name"]: entry["value"] for entry in sidecar["env"]}
    roots = tmp_path / "ca.pem"
    roots.touch()
    assert environ["FTPSPROXY_CA_FILE"] == sidecar["volumeMounts"][0]["mountPath"] + "/ca.pem"
    assert "ca.pem" in documents["ConfigMap"]["data"]
    settings = load(None, flags={}, environ={**environ, "FTPSPROXY_CA_FILE": str(roots)})
    assert settings.listeners[0].host == "127.0.0.1"
    assert (settings.admin.host, settings.admin.port) == ("0.0.0.0", sidecar["ports"][0]["containerPort"])
    assert settings.upstreams["default"].ca_file == roots
    assert pod["terminationGracePeriodSeconds"] > settings.timeouts.drain
    app = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert app["FTP_PORT"] == str(settings.listeners[0].port)


def _gateway(tmp_path: Path) -> tuple[dict[str, Document], Document, Settings]:
    """The documents, the container, and its settings."""
    documents = _documents("gateway.yaml")
    container = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    for name, text in documents["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text.replace("/etc/ftpsproxy", str(tmp_path)))
    environ = {one["name"]: one.get("value", "198.51.100.7") for one in container["env"]}
    assert environ.pop("FTPSPROXY_CONFIG") == container["volumeMounts"][0]["mountPath"] + "/ftpsproxy.toml"
    return documents, container, load(tmp_path / "ftpsproxy.toml", flags={}, environ=environ)


def test_gateway_holds_settings_that_load(tmp_path: Path) -> None:
    documents, container, settings = _gateway(tmp_path)
    spec = documents["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    _is_hardened(container, pod)
    listener, ports = settings.listeners[0], {one.get("name"): one["containerPort"] for one in container["ports"]}
    assert (ports["ftp"], ports["admin"]) == (listener.port, settings.admin.port)
    assert listener.passive_address == "198.51.100.7"  # that of the node
    assert pod["volumes"][0]["configMap"]["name"] == documents["ConfigMap"]["metadata"]["name"]
    waits = settings.timeouts.drain + container["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.timeouts.linger
    assert pod["terminationGracePeriodSeconds"] > waits


def test_a_passive_port_leads_to_one_pod(tmp_path: Path) -> None:
    """Each is a port of the node, and a node has at most one pod; Service and NetworkPolicy have the same ones."""
    documents, container, settings = _gateway(tmp_path)
    low, high = settings.listeners[0].passive_ports or (0, 0)
    expected = list(range(low, high + 1))
    assert [
        one["containerPort"] for one in container["ports"] if one.get("hostPort") == one["containerPort"]
    ] == expected
    service = documents["Service"]["spec"]
    assert [one["targetPort"] for one in service["ports"] if one["port"] != 21] == expected
    assert (service["ports"][0]["port"], service["ports"][0]["targetPort"]) == (21, "ftp")
    assert (service["externalTrafficPolicy"], service["sessionAffinity"]) == ("Local", "ClientIP")
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    [apart] = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    [devices, prometheus] = documents["NetworkPolicy"]["spec"]["ingress"]
    assert [str(one) for one in settings.listeners[0].clients] == [one["ipBlock"]["cidr"] for one in devices["from"]]
    assert [(one["port"], one.get("endPort")) for one in devices["ports"]] == [
        (settings.listeners[0].port, None),
        (low, high),
    ]
    assert [one["port"] for one in prometheus["ports"]] == [settings.admin.port]


def test_all_selectors_are_of_the_pods(tmp_path: Path) -> None:
    documents, container, settings = _gateway(tmp_path)
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        documents["Deployment"]["spec"]["selector"]["matchLabels"],
        documents["Service"]["spec"]["selector"],
        documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        documents["PodMonitor"]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    scaled = documents["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == documents["Deployment"]["metadata"]["name"]
    assert scaled["minReplicas"] > documents["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert "replicas" not in documents["Deployment"]["spec"]
    [endpoint] = documents["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [one.get("name") for one in container["ports"]]
    assert settings.admin.host
