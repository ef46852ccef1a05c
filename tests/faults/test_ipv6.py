"""IPv6 on one side or on both."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Fault, Quirks


def _assert_transfers_work(stage: Stage, mode: str, **options: Any) -> None:
    with stage.logged_in(**options) as client:
        downloaded, replies = client.download(mode=mode)
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
        assert client.upload(FILE, "up", mode=mode)[-1].code == 226
    assert stage.server.files[b"up"] == FILE


@pytest.mark.parametrize("mode", ["EPSV", "EPRT"])
def test_both_sides(stages: Stages, mode: str) -> None:
    _assert_transfers_work(stages("ipv6"), mode, host="::1")


@pytest.mark.parametrize("mode", ["EPSV", "PASV", "PORT", "EPRT"])
def test_the_server_alone(stages: Stages, mode: str) -> None:
    """The client's mode and family are its own affair."""
    stage = stages("ipv6_only_upstream")
    _assert_transfers_work(stage, mode)
    assert "PASV" not in stage.server.last.verbs()


def test_torn(stages: Stages) -> None:
    stage = stages("ipv6")
    stage.play(Quirks(fault=Fault.RESET, fault_at=50_000))
    with stage.logged_in(host="::1") as client:
        downloaded, replies = client.download()
        assert downloaded.ended == "reset"
        assert replies[-1].code >= 400


@pytest.mark.parametrize(
    "command", ["PORT 127,0,0,1,200,1", "PASV", "EPSV 1", "EPRT |1|127.0.0.1|50000|", "EPRT |2|::2|50000|"]
)
def test_ipv4_commands_of_an_ipv6_client(stages: Stages, command: str) -> None:
    with stages("ipv6").logged_in(host="::1") as client:
        assert client.command(command).code in (425, 500, 501, 522)
        assert client.download()[0].data == FILE


def test_no_pasv_after_epsv_failed(fresh_stages: Stages) -> None:
    """U16: PASV knows IPv4 only, so there is nothing to fall back to."""
    stage = fresh_stages("ipv6")
    stage.play(Quirks(replies={"EPSV": b"500 what?\r\n"}))
    with stage.logged_in(host="::1") as client:
        assert client.command("EPSV").code == 500
        assert client.command("PWD").code == 257
    assert "PASV" not in stage.server.last.verbs()
