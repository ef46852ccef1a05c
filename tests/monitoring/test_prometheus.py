"""A real Prometheus beside a real gateway: it finds all that alerts and dashboard ask for, and tells of a torn file."""

import contextlib
import ftplib
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.test_alerts import ALERTS, rules
from tests.support.bad_client import set_to_reset
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, configuration, start_gateway
from tests.support.servers import PASSWORD, ROOT, USER, Endpoint, end_process, free_port, pyftpdlib
from tests.support.servers.common import program

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
HOST = "127.0.0.1"
PATIENCE = 60.0
NOT_AT_THE_START = "ftpsproxy_upstream_certificate_expiry_timestamp_seconds"  # no server has shown a certificate yet
_GRAFANA = {"$instance": ".*", "$upstream": ".*", "$__rate_interval": "1m", "$__range": "1h"}
_SELECTOR = re.compile(r"\b((?:ftpsproxy|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
    return text


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """Until it is there, and not None."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if (found := what()) is not None:
                return found
        assert time.monotonic() < deadline, why
        time.sleep(0.1)  # nothing tells when Prometheus has looked again


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._api = f"http://{HOST}:{port}/api/v1"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that it gives now."""
        answer = json.loads(_page(f"{self._api}/query?{urllib.parse.urlencode({'query': expression})}"))
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Those that are pending or firing, by name."""
        return {one["labels"]["alertname"]: one for one in json.loads(_page(f"{self._api}/alerts"))["data"]["alerts"]}


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """It asks this target every second, and has our alerts."""
    port = free_port(HOST)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "ftpsproxy", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus/usr/bin/prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Prometheus(port)
    finally:
        end_process(process)


def _series(text: str) -> dict[str, list[dict[str, str]]]:
    """The labels of all series on a page of metrics, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def queries() -> dict[str, str]:
    """All of the alerts and of the dashboard, by where they stand."""
    found = {name: rule["expr"] for name, rule in rules().items()}
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for one in dashboard["annotations"]["list"]:
        found[one["name"]] = one["expr"]
    for name, text in found.items():
        for variable, value in _GRAFANA.items():
            text = text.replace(variable, value)
        found[name] = text
    return found


def missing(text: str) -> list[str]:
    """What is asked for somewhere and not on this page: names of metrics, or values of labels."""
    there = _series(text)
    found = []
    for where, query in queries().items():
        for name, matchers in _SELECTOR.findall(query):
            for label, how, value in _MATCHER.findall(matchers):
                for one in value.split("|") if how == "=~" else [value]:
                    if label != "instance" and one != ".*" and one not in [s.get(label) for s in there.get(name, [])]:
                        found.append(f"{where}: {name} has no {label}={one}")
            if name not in there:
                found.append(f"{where}: no {name}")
    return found


def upload_and_break(endpoint: Endpoint) -> None:
    """A client that resets its data connection in mid-upload."""
    with ftplib.FTP(timeout=PATIENCE) as ftp:
        ftp.connect(endpoint.host, endpoint.port)
        ftp.login(USER, PASSWORD)
        data = ftp.transfercmd("STOR torn")
        data.sendall(b"x" * 100_000)
        set_to_reset(data)
        data.close()
        with pytest.raises(ftplib.Error):
            ftp.voidresp()


def _metrics(gateway: Gateway) -> str:
    return _page(f"http://{HOST}:{gateway.admin_port}/metrics")


def test_a_torn_file_raises_its_alert_and_nothing_asked_for_is_unknown(
    certificates: Certificates, tmp_path: Path
) -> None:
    admin = {"listen": f"{HOST}:0"}
    with (
        pyftpdlib(certificates) as server,
        start_gateway(server.url, certificates.ca_file, admin=admin) as gateway,
        prometheus(tmp_path, f"{HOST}:{gateway.admin_port}") as running,
    ):
        assert [one for one in missing(_metrics(gateway)) if NOT_AT_THE_START not in one] == []
        torn = 'ftpsproxy_transfers_total{listener="tests", upstream="server", direction="upload", outcome="torn"}'
        wait_for(lambda: running.query(f"count_over_time({torn}[1m]) >= 2") or None, "no zero was seen twice")
        assert running.query(torn)[0]["value"][1] == "0"
        assert running.alerts() == {}, "nothing is wrong yet"
        renamed = _metrics(gateway).replace("ftpsproxy_starved_", "ftpsproxy_hungry_").replace('"torn"', '"broken"')
        assert "FtpsproxyStarved: no ftpsproxy_starved_total" in missing(renamed)
        assert "FtpsproxyTransfersTorn: ftpsproxy_transfers_total has no outcome=torn" in missing(renamed)

        upload_and_break(gateway.endpoint)
        alert = wait_for(lambda: running.alerts().get("FtpsproxyTransfersTorn"), "a file was torn, and no alert")
        assert alert["state"] == "firing"
        assert alert["labels"].items() >= {"listener": "tests", "upstream": "server", "severity": "ticket"}.items()
        assert alert["annotations"]["summary"].startswith("Transfers between tests and server broke off")

        assert missing(_metrics(gateway)) == []
        for query in queries().values():
            running.query(query)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_settings_make_possible_later_is_there_from_then_on(certificates: Certificates, workers: int) -> None:
    tables: dict[str, Any] = {"admin": {"listen": f"{HOST}:0"}, "process": {"workers": workers}}
    more = f'[[listener]]\nname = "more"\nlisten = "{HOST}:0"\nupstream = "other"\n[upstream.other]\nurl = "ftpes://other"\n'
    with start_gateway("ftpes://localhost", certificates.ca_file, **tables) as gateway:
        began = _series(_metrics(gateway))
        assert {one["listener"] for one in began["ftpsproxy_sessions_total"]} == {"tests"}
        event = gateway.reload(configuration("ftpes://localhost", certificates.ca_file, **tables) + more)
        assert event["event"] == "gateway.reloaded", event
        for _ in range(2 * workers):  # whoever answers
            series = _series(_metrics(gateway))["ftpsproxy_data_failures_total"]
            ways = {(one["listener"], one["upstream"]) for one in series}
            assert ways == {("tests", "server"), ("more", "other")}
        (start,) = re.findall(r"^process_start_time_seconds (\S+)$", _metrics(gateway), re.MULTILINE)
        assert 0 <= time.time() - float(start) < 600


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """By what its schema of a dashboard says (schemaVersion 39); there is no Grafana to be had here."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"} <= dashboard.keys()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"stat", "timeseries", "bargauge"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "bytes", "Bps", "percentunit"}
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= variables, target
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(re.findall(r"\w+", target["expr"])), (
                target
            )
