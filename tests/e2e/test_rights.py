"""What a device may do, tried by a real client at a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.clients import CLIENTS, ClientFailed
from tests.support.gateway import start_gateway
from tests.support.servers import Server

CURL = next(client for client in CLIENTS if client.name == "curl-epsv")
CONTENT = b"of a till\n" * 1000
LFTP = (
    "set cmd:fail-exit yes; set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 30; set cmd:interactive no;"
    "set xfer:clobber yes;"
)


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    with servers.proftpd(certificates) as running:
        for name in ("in", "in/sub", "other"):
            (running.home / name).mkdir()
            os.chown(running.home / name, running.home.stat().st_uid, running.home.stat().st_gid)
        running.put("other/secret.txt", b"secret")
        running.put("in/there.txt", b"there")
        (running.home / "in/link").symlink_to("../other")
        yield running


def lftp(
    server: Server, certificates: Certificates, settings: dict[str, object], commands: str
) -> tuple[bool, str, list[str]]:
    """lftp's commands through a gateway of these rights → whether all went well, what it said, what was refused."""
    with start_gateway(server.url, certificates.ca_file, listener=settings) as gateway:
        at = gateway.endpoint
        login = f"open -p {at.port} -u {at.user},{at.password} {at.host};"
        done = subprocess.run(["lftp", "-c", f"{LFTP} {login} {commands}"], capture_output=True, text=True, timeout=60)
        gateway.wait_for_sessions()
        refused = [f"{one['verb']} {one.get('argument', '')}" for one in gateway.events("command.refused")]
    return done.returncode == 0, done.stdout + done.stderr, refused


def test_a_dropbox(server: Server, certificates: Certificates, tmp_path: Path) -> None:
    """Files go up, also by another name first, and nothing comes down or goes away."""
    local = tmp_path / "till.txt"
    local.write_bytes(CONTENT)
    rights: dict[str, object] = {"allow": "upload", "paths": ["/in/**"]}
    steps = f"cd in; put {local} -o till.tmp; mv till.tmp till.txt; mkdir day; put {local} -o day/x; ls; ls -la sub"
    ok, said, _ = lftp(server, certificates, rights, steps)
    assert ok, said
    assert "till.txt" in said
    assert (server.home / "in/till.txt").read_bytes() == (server.home / "in/day/x").read_bytes() == CONTENT
    before = snapshot(server)
    for commands in (
        "get /in/there.txt -o /dev/null",
        "rm /in/there.txt",
        "mv /in/there.txt /in/x",
        "rmdir /in/sub",
        "chmod 777 /in/there.txt",
        f"put {local} -o /other/x",
        f"cd other; put {local} -o x",
        f"cd in/link; put {local} -o x",
        "cd in/link; ls",
        "ls /other",
        "mv /in/day/x /other/x",
        "site exec ls",
        "cd in; mkdir /day",
    ):
        ok, said, refused = lftp(server, certificates, rights, commands)
        assert refused, commands
        assert not ok or commands.startswith("site"), commands  # lftp shows what it hears to SITE, and goes on
        assert "secret.txt" not in said
    assert snapshot(server) == before


def test_a_window(server: Server, certificates: Certificates, tmp_path: Path) -> None:
    """Listings only."""
    local = tmp_path / "till.txt"
    local.write_bytes(CONTENT)
    before = snapshot(server)
    ok, said, _ = lftp(server, certificates, {"allow": "read"}, "ls; nlist in; cd in; ls -la; find /other")
    assert ok, said
    assert "secret.txt" in said
    for commands in (f"put {local} -o x", "get in/there.txt -o /dev/null", "mkdir x", "rm in/there.txt"):
        assert not lftp(server, certificates, {"allow": "read"}, commands)[0], commands
    assert snapshot(server) == before


def test_a_file_that_is_too_large_is_not_kept_as_whole(
    server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    local = tmp_path / "large"
    local.write_bytes(CONTENT)
    settings: dict[str, object] = {"max_file_bytes": len(CONTENT) - 1}
    with start_gateway(server.url, certificates.ca_file, listener=settings) as gateway:
        with pytest.raises(ClientFailed):
            CURL.upload(gateway.endpoint, local, "in/large")  # type: ignore[misc] # it can
        finished = gateway.wait_for_event("transfer.finished")
    kept = server.home / "in/large"
    assert not kept.exists() or kept.stat().st_size < len(CONTENT)
    assert (finished["outcome"], finished["cause"]) == ("torn", "too_large")


def snapshot(server: Server) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(server.home)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(server.home.rglob("*"))
    }
