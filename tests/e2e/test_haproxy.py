"""HAProxy before the gateway and behind it: whoever stands at either end is told the client's own address."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.haproxy import haproxy as running
from tests.support.ports import free_range
from tests.support.servers import PASSWORD, USER, DataPorts

CLIENT, BEFORE, SOURCE, GATEWAY, BEHIND = (f"127.0.0.{last}" for last in (50, 20, 21, 30, 40))
STARTS_SECONDS = 20.0


@contextlib.contextmanager
def haproxy(folder: Path, *proxies: str) -> Iterator[Path]:
    """HAProxy with these sections → its log: for each connection the client's address and where it has connected to."""
    config, log = folder / "haproxy.cfg", folder / "haproxy.log"
    common = (
        'defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n log-format "%ci %fi"\n'
    )
    config.write_text("global\n log stdout format raw local0\n" + common + " log global\n" + "\n".join(proxies) + "\n")
    with running(config, log):
        yield log


def listen(host: str, port: int) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + STARTS_SECONDS
    while True:
        try:
            socket.create_connection((host, port), 5).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens on {host}:{port}"
            time.sleep(0.02)  # there is nothing to wait on
        else:
            return


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_between_two_haproxies(certificates: Certificates, tmp_path: Path, version: str) -> None:
    low, high = free_range(20)
    control, first, middle = low, low + 1, low + 10
    send = "send-proxy" if version == "v1" else "send-proxy-v2"
    with (
        servers.pyftpdlib(certificates, data=DataPorts(middle, high, BEHIND)) as server,
        start_gateway(
            f"ftpes://{BEHIND}:{control}",
            certificates.ca_file,
            listen=f"{GATEWAY}:{control}",
            listener={
                "proxy_protocol": [SOURCE],
                "proxy_protocol_data": True,
                "passive_ports": f"{first}-{middle - 1}",
            },
            upstream={"send_proxy_protocol": version, "server_name": "127.0.0.1"},
        ) as gateway,
    ):
        before = (
            f"listen before\n bind {BEFORE}:{control}-{middle - 1}\n server gateway {GATEWAY} source {SOURCE} {send}"
        )
        behind = (
            f"listen behind\n bind {BEHIND}:{control} accept-proxy\n server server {server.host}:{server.port}\n"
            f"listen data\n bind {BEHIND}:{middle}-{high} accept-proxy\n server server {server.host}"
        )
        with haproxy(tmp_path, before, behind) as log:
            listen(BEFORE, control)
            file, back = tmp_path / "file", tmp_path / "back"
            file.write_bytes(bytes(range(256)) * 4000)
            curl = ["curl", "-sS", "--interface", CLIENT, "--disable-epsv", "--no-ftp-skip-pasv-ip", "-m", "60"]
            url = f"ftp://{USER}:{PASSWORD}@{BEFORE}:{control}/{version}"
            subprocess.run([*curl, "-T", str(file), url], check=True, timeout=90)
            subprocess.run([*curl, "-o", str(back), url], check=True, timeout=90)
            assert back.read_bytes() == file.read_bytes()
            gateway.wait_for_sessions()
        assert {one["client"] for one in gateway.events("session.opened")} == {CLIENT}
        lines = log.read_text().splitlines()
        # Control and data connection of the upload and of the download, as each of the two has them.
        assert lines.count(f"{CLIENT} {BEFORE}") == 4, lines
        assert lines.count(f"{CLIENT} {BEHIND}") == 4, lines
