"""What a probe has printed, as the settings of a gateway."""

from __future__ import annotations

import ftplib
import io
import os
from pathlib import Path

from ftpsproxy.cli.main import main
from tests.support.gateway import run_gateway
from tests.support.servers import PASSWORD, USER

SECONDS = 30
_LISTENER = '\n[[listener]]\nlisten = "127.0.0.1:0"\n[log]\nformat = "json"\n'


def accepted(toml: str, folder: Path) -> bool:
    """Whether `ftpsproxy check` takes it as it stands."""
    path = folder / "probed.toml"
    path.write_text(toml)
    return main(["check", "-c", str(path)]) == 0


def carries_a_file(toml: str, folder: str = "") -> None:
    """A gateway by these settings and no others takes a file up and down again."""
    content = os.urandom(200_000)
    with run_gateway(toml + _LISTENER) as gateway, ftplib.FTP(timeout=SECONDS) as client:
        client.connect("127.0.0.1", gateway.endpoint.port)
        client.login(USER, PASSWORD)
        client.storbinary(f"STOR {folder}probed", io.BytesIO(content))
        back = io.BytesIO()
        client.retrbinary(f"RETR {folder}probed", back.write)
        client.delete(f"{folder}probed")
        client.quit()
        gateway.wait_for_event("session.closed")
        outcomes = [event["outcome"] for event in gateway.events("transfer.finished")]
    assert back.getvalue() == content
    assert outcomes == ["complete", "complete"]
