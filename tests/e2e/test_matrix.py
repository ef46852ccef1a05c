"""Every client on every server, through the gateway; every client script once on a plaintext server, to prove it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.flavours import NAMES, Stage
from tests.e2e.script import play
from tests.support.clients import CLIENTS, Client
from tests.support.servers import Server

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


@EVERY_CLIENT
def test_script_is_sound(client: Client, plaintext_server: Server, tmp_path: Path) -> None:
    play(client, plaintext_server.endpoint, plaintext_server, tmp_path, client.name)


@EVERY_CLIENT
@pytest.mark.parametrize("stage", NAMES, indirect=True)
def test_client_on_server(stage: Stage, client: Client, tmp_path: Path) -> None:
    since = stage.gateway.mark()
    transfers = play(client, stage.gateway.endpoint, stage.server, tmp_path, client.name, stage.flavour.lacks)
    # curl lists before it quits, so that a rename or delete may add transfers of its own.
    stage.gateway.wait_for_event("transfer.finished", count=transfers, since=since)
    finished = stage.gateway.events("transfer.finished", since=since)
    stage.transfers(len(finished), since=since)
    modes = {event["client_mode"] for event in finished}
    assert modes == {"active" if client.active else "passive"}, finished
