"""Devices that lose their power, or start anew, in mid-upload: what they had sent never looks like a file."""

from __future__ import annotations

import pytest

from tests.devices.catalogue import DEVICES
from tests.devices.player import Player
from tests.devices.stage import ScriptedStages
from tests.devices.test_devices import unique_name
from tests.e2e.script import content
from tests.support.bad_server import Quirks

# Of each family one that connects and one that listens, where there are both. Silence takes its second: fewer of it.
SILENT = (
    *("dotnet-ftpwebrequest", "commons-net-2.2", "lwip-lwftp", "vxworks-ftplib-active"),
    *("siemens-cp-ftp-cmd", "xerox", "hikvision"),
)
RESTARTED = (
    *(*SILENT, "windows-ftp-exe", "indy-active", "zos-batch", "esp32-ftpclient", "wiznet-iolibrary-active"),
    *("beckhoff-openex-active", "kyocera", "camera-that-leaves"),
)
SIZE = 400_003
LYING = Quirks(final_torn=b"226 all fine\r\n")
"""A server that calls everything complete: the gateway must know better."""


@pytest.mark.parametrize(
    ("how", "name"), [*(("silent", name) for name in SILENT), *(("restarted", name) for name in RESTARTED)]
)
def test_in_mid_upload(scripted_stages: ScriptedStages, how: str, name: str) -> None:
    """Silent: nothing comes any more (`timeouts.client_stall`, here a second). Restarted: its TCP answers with RST."""
    device = next(device for device in DEVICES if device.name == name)
    stage = scripted_stages("hasty")
    stage.play(LYING)
    whole = content(SIZE, name)
    with Player(device, stage.gateway.endpoint, unique_name(device), whole) as player:
        sent = player.play_until_half_sent()
        stage.server.wait(lambda: stage.server.last.data[-1].received == sent)
        if how == "restarted":
            player.reset()
        event = stage.event("transfer.finished")
    stage.server.wait(lambda: stage.server.last.data[-1].over)
    assert (event["outcome"], event["bytes"]) == ("torn", sent), event
    assert stage.server.last.data[-1].ended == "reset"
    assert stage.event("session.closed")["torn"] == 1
    assert not [reply for reply in player.played.replies if reply.startswith(b"226")]
