"""The log by the names of the Elastic Common Schema: names that it has, values of the types it gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from ftpsproxy.observe.events import EVENTS
from tests.test_log import EVENTS as CALLS
from tests.test_log import in_a_session, logged

KEYWORD, WHOLE, YES_OR_NO = str, int, bool
PUBLISHED: dict[str, type | str] = {
    # as in the published list of fields, those of ours
    **dict.fromkeys(("@timestamp", "tls.server.not_before", "tls.server.not_after"), "date"),
    **dict.fromkeys(("client.ip", "server.ip"), "ip"),
    **dict.fromkeys(("server.port", "network.bytes", "event.duration", "process.pid"), WHOLE),
    **dict.fromkeys(("tls.resumed", "tls.established"), YES_OR_NO),
    **dict.fromkeys(("event.category", "tls.server.x509.alternative_names"), "keywords"),
    **dict.fromkeys(("ecs.version", "log.level", "message", "service.name", "service.version"), KEYWORD),
    **dict.fromkeys(("event.action", "event.module", "event.dataset", "event.kind", "event.reason"), KEYWORD),
    **dict.fromkeys(("event.outcome", "client.address", "server.address", "user.name", "host.hostname"), KEYWORD),
    **dict.fromkeys(("tls.version", "tls.version_protocol", "tls.cipher", "tls.server.hash.sha256"), KEYWORD),
    **dict.fromkeys(("tls.server.subject", "tls.server.issuer", "tls.server.x509.serial_number"), KEYWORD),
    **dict.fromkeys(("file.path", "file.directory", "file.target_path", "file.hash.sha256"), KEYWORD),
    **dict.fromkeys(("network.protocol", "error.type", "error.stack_trace"), KEYWORD),
}
CATEGORIES = {"authentication", "file", "network", "process", "session"}


@pytest.fixture(autouse=True)
def _in_a_session() -> Iterator[None]:
    with in_a_session():
        yield


def said(event: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(logged("ecs", CALLS[event][1]))
    return found


@pytest.mark.parametrize("event", CALLS)
def test_each_name_is_of_the_schema_or_our_own(event: str) -> None:
    line = said(event)
    assert line["event.action"] == event
    assert line["event.outcome"] in ("success", "failure", "unknown")
    assert set(line["event.category"]) <= CATEGORIES
    for name, value in line.items():
        if name.startswith("ftpsproxy."):
            assert name.removeprefix("ftpsproxy.") not in EVENTS[event].old
            continue
        kind = PUBLISHED[name]
        if kind == "ip":
            ip_address(value)
        elif kind == "date":
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value)
        elif kind == "keywords":
            assert all(type(one) is str for one in value)
        else:
            assert type(value) is kind, name


def test_a_transfer() -> None:
    line = said("transfer.finished")
    json_line = json.loads(logged("json", CALLS["transfer.finished"][1]))
    assert line["event.duration"] == round(json_line["seconds"] * 1e9)
    assert line["network.bytes"] == json_line["bytes"]
    assert line["tls.server.hash.sha256"] == json_line["certificate_sha256"].upper()
    assert line["tls.version"] == json_line["tls_version"].removeprefix("TLSv")
    assert f"{line['server.address']}:{line['server.port']}" == json_line["server"]
    assert line["client.ip"] == "10.0.0.1"
