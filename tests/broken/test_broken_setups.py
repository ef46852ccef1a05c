"""Each broken set-up is told to the client, to the log and by probe; and what was printed mends it, in one try."""

from __future__ import annotations

import contextlib
import ftplib
import io
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import pytest

from ftpsproxy.cli.main import main
from tests.broken.setups import BROKEN, Broken, Printed, Settings
from tests.support import servers
from tests.support.bad_client import BadClient
from tests.support.certificates import Certificates
from tests.support.gateway import Event, Gateway, start_gateway
from tests.support.servers import PASSWORD, USER

_SECONDS = 20


def _merged(*settings: Settings) -> dict[str, Any]:
    """The later ones win, key by key."""
    merged: dict[str, Any] = {}
    for one in settings:
        for key, value in one.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, Mapping) else value
    return merged


@contextlib.contextmanager
def _gateway(settings: Mapping[str, Any], certificates: Certificates) -> Any:
    tables = dict(settings)
    upstream = dict(tables.get("upstream", {}))
    if "pins" in upstream:
        upstream["pins"] = [pin.format(self_signed=certificates.self_signed.spki_pin) for pin in upstream["pins"]]
    tables["upstream"] = upstream
    with start_gateway(tables.pop("url"), tables.pop("ca_file"), **tables) as gateway:
        yield gateway


def _sends_a_file(gateway: Gateway) -> str:
    """What a device does, and what it hears if that does not work; "" where the file came back as it was."""
    content = os.urandom(50_000)
    back = io.BytesIO()
    try:
        with ftplib.FTP(timeout=_SECONDS) as client:
            client.connect("127.0.0.1", gateway.endpoint.port)
            client.login(USER, PASSWORD)
            client.storbinary("STOR scan", io.BytesIO(content))
            client.retrbinary("RETR scan", back.write)
    except ftplib.Error as error:
        return str(error)
    assert back.getvalue() == content
    return ""


def _events(gateway: Gateway) -> tuple[Event, ...]:
    gateway.wait_for_event("session.closed")
    return tuple(gateway.events())


@pytest.mark.parametrize("broken", BROKEN, ids=[one.name for one in BROKEN])
def test_it_is_told_and_mended_by_what_was_told(
    broken: Broken, certificates: Certificates, capfd: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    with broken.stands(certificates) as url:
        wrong = _merged({"url": url, "ca_file": certificates.ca_file}, broken.wrong)
        with _gateway(wrong, certificates) as gateway:
            heard = _sends_a_file(gateway)
            logged = _events(gateway)
        assert re.search(broken.heard, heard), heard
        lines = [event for event in logged if event["event"] == broken.event]
        assert lines, logged
        assert broken.logged.items() <= lines[0].items(), lines[0]
        assert PASSWORD not in json.dumps(logged)

        password = tmp_path / "password"
        password.write_text(PASSWORD)
        roots = ["--ca-file", str(wrong["ca_file"])] if wrong["ca_file"] is not None else []
        capfd.readouterr()
        main(["probe", url, *roots, "--user", USER, "--password-file", str(password)])
        probed = "".join(capfd.readouterr())
        assert re.search(broken.probed, probed), probed
        assert PASSWORD not in probed

        if broken.cure is not None:
            cured = _merged(wrong, broken.cure(Printed(heard, logged, probed)))
            with _gateway(cured, certificates) as gateway:
                assert _sends_a_file(gateway) == ""
                outcomes = [event["outcome"] for event in _events(gateway) if event["event"] == "transfer.finished"]
            assert outcomes == ["complete", "complete"]


def test_a_client_whose_data_comes_from_another_address(certificates: Certificates) -> None:
    """A load balancer, a second interface. The remedy is the client's, and is named: one address for both."""
    with servers.vsftpd(certificates) as server, start_gateway(server.url, certificates.ca_file) as gateway:
        with BadClient(gateway.endpoint.port) as client, BadClient(gateway.endpoint.port, local="127.0.0.3") as other:
            client.login()
            address = client.passive_address()
            with contextlib.suppress(ConnectionResetError):  # as early as in connect, on loopback
                assert other.dial(address).read_to_end().ended == "reset"
            assert client.command("STOR scan").code == 150
            heard = client.reply()
        assert (heard.code, "127.0.0.3" in heard.text) == (425, True)
        failed = gateway.wait_for_event("data.failed")
        assert (failed["side"], failed["cause"], failed["came_from"]) == ("client", "foreign_address", "127.0.0.3")
        assert "control and data connection must come from one address" in failed["hint"]
        assert _sends_a_file(gateway) == ""
