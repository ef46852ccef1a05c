"""Many transfers in one session: each data connection must resume the TLS session, however many went before."""

from __future__ import annotations

import ftplib
import io
import time
from pathlib import Path

import pytest

from ftpsproxy.data.passive import SPARE_PORTS
from tests.e2e.flavours import Stage
from tests.e2e.script import content

TRANSFERS = 200


def _open_descriptors(stage: Stage) -> int:
    return len(list(Path(f"/proc/{stage.gateway.pid}/fd").iterdir()))


@pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
@pytest.mark.parametrize("stage", ["vsftpd", "proftpd-standalone", "proftpd-standalone-tls12"], indirect=True)
def test_200_transfers_in_one_session(stage: Stage, passive: bool) -> None:
    since = stage.gateway.mark()
    with ftplib.FTP(timeout=60) as ftp:
        ftp.connect(stage.gateway.endpoint.host, stage.gateway.endpoint.port)
        ftp.login(stage.gateway.endpoint.user, stage.gateway.endpoint.password)
        ftp.set_pasv(passive)
        before = _open_descriptors(stage)
        for number in range(TRANSFERS // 2):
            data = content(number * 97, "many")
            ftp.storbinary("STOR many", io.BytesIO(data))
            assert (stage.server.home / "many").read_bytes() == data
            got: list[bytes] = []
            ftp.retrbinary("RETR many", got.append)
            assert b"".join(got) == data
        # A few passive ports stay open for later; data connections do not, and none of them waits out a time limit.
        deadline = time.monotonic() + 8
        while (after := _open_descriptors(stage)) > before + SPARE_PORTS + 6:
            assert time.monotonic() < deadline, f"{before} descriptors became {after}"
            time.sleep(0.1)
    finished = stage.transfers(TRANSFERS, since=since)
    assert len({event["session"] for event in finished}) == 1
    assert [event["number"] for event in finished] == list(range(1, TRANSFERS + 1))
    assert all(event["resumed"] is True for event in finished)
    closed = stage.gateway.wait_for_event("session.closed", since=since)
    assert (closed["transfers"], closed["torn"]) == (TRANSFERS, 0)
