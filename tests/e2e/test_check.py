"""`ftpsproxy check --connect`: every upstream is tried, side by side, and a line says how it went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import servers
from tests.support.certificates import Certificates

PATIENCE_SECONDS = 60
CHECK = [sys.executable, "-m", "ftpsproxy", "check", "--connect"]


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHECK, *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def test_each_upstream_is_tried(certificates: Certificates, tmp_path: Path) -> None:
    """A good one, one with another certificate, one that is not there; nobody logs in."""
    with (
        servers.vsftpd(certificates) as good,
        servers.proftpd(certificates, certificate=certificates.self_signed) as stranger,
    ):
        config = tmp_path / "gateway.toml"
        config.write_text(
            "\n".join(
                f'[upstream.{name}]\nurl = "{url}"\nca_file = "{certificates.ca_file}"\n'
                for name, url in (("good", good.url), ("stranger", stranger.url), ("gone", "ftpes://127.0.0.1:9"))
            )
            + '[[listener]]\nlisten = "127.0.0.1:2121"\nupstream = "good"\n'
            + "[limits]\nsessions = 1\nsessions_per_client = 1\n"  # of clients, not of this
        )
        said = subprocess.run([*CHECK, "-c", config], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        told = subprocess.run(
            [*CHECK, "--json", "-c", config], capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        logs = good.log() + stranger.log()
    assert (said.returncode, told.returncode) == (1, 1)
    assert "\nupstream good: ok: TLSv1." in said.stdout
    assert certificates.server.spki_pin in said.stdout
    refused = {line.split(": ", 2)[1]: line for line in said.stderr.splitlines()}
    assert refused.keys() == {"upstream stranger", "upstream gone"}
    assert certificates.self_signed.spki_pin in refused["upstream stranger"]
    assert "connection refused" in refused["upstream gone"]
    connect = json.loads(told.stdout)["connect"]
    assert {name: one["ok"] for name, one in connect.items()} == {"good": True, "stranger": False, "gone": False}
    assert connect["stranger"]["facts"]["cause"] == "self_signed"
    assert "USER" not in logs
