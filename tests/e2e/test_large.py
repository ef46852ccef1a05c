"""Files larger than every buffer on the way: the tail of an upload is what gateways lose."""

from __future__ import annotations

import ftplib
import io
from pathlib import Path

import pytest

from tests.e2e.flavours import NAMES, Stage
from tests.e2e.script import content, sha256
from tests.e2e.sessions import logged_in
from tests.support.clients import BY_NAME

SIZE = 3 * 1024 * 1024


@pytest.mark.parametrize("client", ["curl-epsv", "lftp-active"])
@pytest.mark.parametrize("stage", NAMES, indirect=True)
def test_large_file(stage: Stage, client: str, tmp_path: Path) -> None:
    since = stage.gateway.mark()
    data = content(SIZE, "large")
    program, endpoint = BY_NAME[client], stage.gateway.endpoint
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    assert program.upload is not None
    program.upload(endpoint, source, f"large-{client}")
    assert sha256(stage.server.home / f"large-{client}") == sha256(data)
    program.download(endpoint, target, f"large-{client}")
    assert sha256(target) == sha256(data)
    up, down = stage.transfers(2, since=since)
    assert (up["bytes"], down["bytes"]) == (SIZE, SIZE)
    (stage.server.home / f"large-{client}").unlink()


@pytest.mark.parametrize("stage", NAMES, indirect=True)
def test_resume_and_append(stage: Stage) -> None:
    data = content(100_000, "resume")
    if stage.flavour.lacks & {"REST", "APPE"}:
        _refused(stage)
        return
    stage.server.put("resume-down", data)
    with ftplib.FTP(timeout=60) as ftp:
        ftp.connect(stage.gateway.endpoint.host, stage.gateway.endpoint.port)
        ftp.login(stage.gateway.endpoint.user, stage.gateway.endpoint.password)
        got: list[bytes] = []
        ftp.retrbinary("RETR resume-down", got.append, rest=60_000)
        assert b"".join(got) == data[60_000:]
        for part in (data[:30_000], data[30_000:]):
            with ftp.transfercmd("APPE resume-up") as channel:
                channel.sendall(part)
            ftp.voidresp()
    assert sha256(stage.server.home / "resume-up") == sha256(data)
    (stage.server.home / "resume-up").unlink()


def _refused(stage: Stage) -> None:
    """A server that knows neither says so, and nothing passes for a part or for the whole."""
    stage.server.put("resume-down", b"x")
    with logged_in(stage.gateway.endpoint) as ftp:
        with pytest.raises(ftplib.error_perm, match="502"):
            ftp.retrbinary("RETR resume-down", lambda part: None, rest=1)
        with pytest.raises(ftplib.error_perm, match="502"):
            ftp.storbinary("APPE resume-up", io.BytesIO(b"x"))
        got: list[bytes] = []
        ftp.retrbinary("RETR resume-down", got.append)
        assert got == [b"x"]
    assert not (stage.server.home / "resume-up").exists()
