"""The alerts: that Prometheus takes them, when each fires and when not, and what it says then."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.stories import STORIES, Series, Story
from tests.support.servers import ROOT
from tests.support.servers.common import program

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
_PLACE = {"instance": "gateway:9121", "job": "ftpsproxy"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Prometheus' own tool."""
    command = [program("prometheus/usr/bin/promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rules() -> dict[str, dict[str, Any]]:
    """Each alert."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_prometheus_takes_them() -> None:
    done = promtool("check", "rules", "--lint-fatal", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_says_what_is_wrong_and_what_to_do() -> None:
    for name, rule in rules().items():
        assert set(rule["annotations"]) == {"summary", "action"}, name
        assert set(rule["labels"]) == {"severity"}, name
        assert all(len(text) > 20 and text.endswith(".") for text in rule["annotations"].values()), name


def test_each_has_its_story() -> None:
    assert {story.alert for story in STORIES} == set(rules())


def _test_of(story: Story, series: Series, *, firing: bool) -> dict[str, Any]:
    """In the form of promtool's unit tests; `also` names an alert that is known to fire beside."""
    inputs = [{"series": name, "values": values} for name, values in series.items() if name != "also"]
    annotations = {
        "summary": story.summary,
        "action": re.sub(
            r"{{ \$labels\.(\w+) }}",
            lambda found: {**story.labels, **_PLACE}[found[1]],
            rules()[story.alert]["annotations"]["action"],
        ),
    }
    expected = {
        "exp_labels": {"severity": story.severity, **_PLACE, **story.labels},
        "exp_annotations": annotations,
    }
    tests = [
        {
            "eval_time": f"{story.minute}m",
            "alertname": name,
            "exp_alerts": [expected] if firing and name == story.alert else [],
        }
        for name in rules()
        if name != series.get("also")
    ]
    return {"interval": "1m", "input_series": inputs, "alert_rule_test": tests}


CASES = [(story, "fires", story.fires) for story in STORIES] + [
    (story, why, series) for story in STORIES for why, series in story.quiet.items()
]


@pytest.mark.parametrize(
    ("story", "why", "series"), CASES, ids=[f"{story.alert[9:]}-{why.replace(' ', '-')}" for story, why, _ in CASES]
)
def test_it_fires_when_it_should_and_only_then(tmp_path: Path, story: Story, why: str, series: Series) -> None:
    file = tmp_path / "test.yaml"
    test = _test_of(story, series, firing=why == "fires")
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
