"""Every device at a real server and at awkward ones: its goal reached, its bytes identical, the log telling so."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

import pytest

from tests.devices.awkward import AWKWARD
from tests.devices.catalogue import DEVICES
from tests.devices.player import Played, Player
from tests.devices.reading import DeviceFails
from tests.devices.script import Device, Redial
from tests.devices.stage import RealStage, ScriptedStages, landed, place
from tests.e2e.script import content
from tests.faults.stage import Stage
from tests.support.gateway import Event
from tests.support.servers import Server

EVERY_DEVICE = pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
_numbers = itertools.count(1)


def unique_name(device: Device) -> str:
    return f"{device.name[:12]}-{os.getpid()}-{next(_numbers)}"


def sessions(device: Device) -> int:
    return 1 + sum(isinstance(step, Redial) for step in device.steps)


def check_log(device: Device, played: Played, events: Iterable[Event]) -> None:
    """Every transfer is complete with its bytes, and the session ended as the device ends it."""
    events = list(events)
    finished = [event for event in events if event["event"] == "transfer.finished"]
    outcomes = [event["outcome"] for event in finished]
    assert outcomes.count("aborted") == device.aborts, finished
    assert outcomes.count("complete") == len(finished) - device.aborts, finished
    uploads = [event["bytes"] for event in finished if event["direction"] == "upload"]
    assert uploads == [len(data) for _, _, data in played.uploads], finished
    assert len(finished) - len(uploads) >= len(played.downloads) + device.aborts, finished
    closed = [event for event in events if event["event"] == "session.closed"]
    # One that is just gone has not read all: then its TCP says RST, and the log so.
    assert [event["cause"] for event in closed] == (["quit"] if device.quits else ["client_gone"]) * len(closed)
    assert sum(event["torn"] for event in closed) == device.aborts, closed


@pytest.mark.parametrize(
    "device", [device for device in DEVICES if "pyftpdlib" not in device.cannot], ids=lambda device: device.name
)
def test_script_is_sound(plaintext_stage: Server, device: Device) -> None:
    """The device alone, at a plaintext server: what fails here is no gateway's fault.

    pyftpdlib knows no lines without CR, connects at the word PORT, rewrites line ends in TYPE A, and keeps nothing of a
    client that left: some devices never worked with it.
    """
    name = unique_name(device)
    whole = content(device.size, name)
    player = Player(device, plaintext_stage.endpoint, name, whole)
    place(plaintext_stage, player, device, whole)
    with player:
        played = player.play()
        found = [landed(plaintext_stage, player.fill(path), whole) for path in device.lands]
    assert found == [whole] * len(found)
    assert all(data == whole for data in played.downloads)


@EVERY_DEVICE
def test_at_a_real_server(real_stage: RealStage, device: Device) -> None:
    name = unique_name(device)
    whole = content(device.size, name)
    since = real_stage.gateway.mark()
    player = Player(device, real_stage.gateway.endpoint, name, whole)
    place(real_stage.server, player, device, whole)
    with player:
        played = player.play()
        events = real_stage.closed(since, sessions(device))
    found = [landed(real_stage.server, player.fill(path), whole) for path in device.lands]
    assert found == [whole] * len(found)
    assert all(data == whole for data in played.downloads)
    check_log(device, played, events)


def check_server(stage: Stage, played: Played) -> None:
    """The server has what was sent, each upload ended by TLS itself."""
    seen = [data for session in stage.server.sessions for data in session.data if data.verb in ("STOR", "APPE")]
    stage.server.wait(lambda: all(data.over for data in seen))
    expected: dict[bytes, bytes] = {}
    for verb, name, data in played.uploads:
        expected[name] = (expected.get(name, b"") if verb.upper() == b"APPE" else b"") + data
    assert {name: stage.server.files.get(name) for name in expected} == expected
    assert [data.ended for data in seen] == ["close_notify"] * len(seen), seen
    assert not any(session.in_clear != b"AUTH TLS\r\n" for session in stage.server.sessions)


@EVERY_DEVICE
@pytest.mark.parametrize("server", AWKWARD)
def test_at_an_awkward_server(scripted_stages: ScriptedStages, device: Device, server: str) -> None:
    stage = scripted_stages(server)
    name = unique_name(device)
    whole = content(device.size, name)
    player = Player(device, stage.gateway.endpoint, name, whole)
    stage.play(AWKWARD[server], {player.fill(device.fetches): whole} if device.fetches else {})
    with player:
        if server in device.cannot:
            with pytest.raises(DeviceFails):
                player.play()
        else:
            player.play()
    played = player.played
    stage.event("session.closed", sessions(device))
    if server in device.cannot:
        finished = [event for event in stage.events("transfer.finished") if event["outcome"] == "complete"]
        assert [event["bytes"] for event in finished] in ([], [len(data) for _, _, data in played.uploads])
        return
    assert all(data == whole for data in played.downloads)
    check_log(device, played, stage.events())
    check_server(stage, played)
