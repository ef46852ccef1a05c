"""The files in deploy/haproxy: taken by the programs they are for, and of one mind. What they do: tests/fleet."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ftpsproxy.config import load
from tests.fleet.stage import SHIPPED, haproxy_config
from tests.support.servers.common import program

HAPROXY, NFT = (SHIPPED / name for name in ("haproxy.cfg", "passive-ports.nft"))


def test_haproxy_takes_it_without_a_warning(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(haproxy_config(tmp_path))
    argv = [program("usr/sbin/haproxy"), "-c", "-dW", "-f", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nft_takes_it() -> None:
    argv = [program("usr/sbin/nft"), "-c", "-f", str(NFT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_they_are_of_one_mind() -> None:
    """Addresses, ports, who is who."""
    haproxy, nft = HAPROXY.read_text(), NFT.read_text()
    servers4 = re.findall(r"server gateway\d (10\.[\d.]+):21$", haproxy, re.MULTILINE)
    servers6 = re.findall(r"server gateway\d \[([\w:]+)\]:21 ", haproxy)
    assert re.findall(r"\]:21 addr (\S+)", haproxy) == servers4  # checked at the same admin port
    binds = re.findall(r"bind \[?(10\.[\d.]+|fd[\w:]+?)\]?:21$", haproxy, re.MULTILINE)
    assert len(servers4) == len(servers6) == 3
    assert binds == re.findall(r"define balancer[46] = (\S+)", nft)
    for defined, elements in (
        (servers4, re.findall(r"(\d+-\d+) : (10[\d.]+)", nft)),
        (servers6, re.findall(r"(\d+-\d+) : (fd[\w:]+)", nft)),
    ):
        assert f"{{ {', '.join(defined)} }}" in nft
        assert elements == list(zip(("50000-50099", "50100-50199", "50200-50299"), defined, strict=True))
    settings = load(SHIPPED / "gateway.toml", flags={}, environ={})
    ipv4, ipv6 = settings.listeners
    assert (ipv4.host, ipv6.host) == (servers4[0], servers6[0])
    assert ipv4.passive_ports == ipv6.passive_ports == (50000, 50099)
    assert (ipv4.passive_address, ipv6.passive_address) == (binds[0], None)
    for listener, networks in zip(settings.listeners, re.findall(r"define clients[46] = { (\S+) }", nft), strict=True):
        assert [str(one) for one in listener.clients] == [networks]
    assert f"check port {settings.admin.port} " in haproxy


def test_silence_is_the_gateways_to_end() -> None:
    """HAProxy does not know of a transfer, during which the control connection is silent for as long as it takes."""
    text = HAPROXY.read_text()
    settings = load(SHIPPED / "gateway.toml", flags={}, environ={})
    hours = int(re.findall(r"timeout tunnel (\d+)h", text)[0])
    assert hours * 3600 > 10 * max(settings.timeouts.idle, settings.timeouts.final_reply)
    words = "\n".join(line.split("#")[0] for line in text.splitlines())
    for unwanted in ("nolinger", "shutdown-sessions", "hard-stop-after", "on-marked-down"):
        assert unwanted not in words
