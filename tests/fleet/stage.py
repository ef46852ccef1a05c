"""The files of deploy/haproxy at work: HAProxy, three gateways, and a real server behind them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.network import GATEWAYS, SERVER, Network, nft, own
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, run_gateway
from tests.support.haproxy import haproxy
from tests.support.servers import ROOT, Server

SHIPPED = ROOT / "deploy" / "haproxy"
CONFIG = (SHIPPED / "gateway.toml").read_text()
_SECONDS = 30.0


def haproxy_config(folder: Path) -> str:
    """As shipped, but for the user and the folder, which Debian's package makes, and for fewer descriptors."""
    text = (SHIPPED / "haproxy.cfg").read_text()
    for line, here in (
        ("user haproxy\n", "user nobody\n"),
        ("group haproxy\n", "group nogroup\n"),
        ("maxconn 20000\n", "maxconn 2000\n"),
        (" /run/haproxy/admin.sock ", f" {folder}/admin.sock "),
    ):
        assert line in text
        text = text.replace(line, here)
    return text


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs. `gateways` are as in haproxy.cfg, from the first on."""

    network: Network
    server: Server
    gateways: tuple[Gateway, ...]
    balancer: subprocess.Popen[bytes]
    balancer_log: Path

    def restart_balancer(self) -> None:
        """`systemctl reload haproxy`: the old process goes on with its connections."""
        before = self.balancer_log.read_text().count("Loading success")
        self.balancer.send_signal(signal.SIGUSR2)
        self.wait_for_balancer("Loading success", before + 1)

    def wait_for_balancer(self, said: str, count: int = 1) -> None:
        """Until it has said so in its log."""
        deadline = time.monotonic() + _SECONDS
        while self.balancer_log.read_text().count(said) < count:
            going_on = time.monotonic() < deadline and self.balancer.poll() is None
            assert going_on, f"no {said!r} in\n{self.balancer_log.read_text()}"
            time.sleep(0.05)  # a file that grows


def _environment(number: int, server: Server, certificates: Certificates) -> dict[str, str]:
    first = 50000 + 100 * number
    settings = {
        "UPSTREAM__PARTNER__URL": server.url,
        "UPSTREAM__PARTNER__SERVER_NAME": "127.0.0.1",
        "UPSTREAM__PARTNER__CA_FILE": str(certificates.ca_file),
        "LISTENER__IPV4__LISTEN": f"{own(number)}:21",
        "LISTENER__IPV6__LISTEN": f"[fd00:0:0:2::{11 + number}]:21",
        "ADMIN__LISTEN": f"{own(number)}:9121",
        "LISTENER__IPV4__PASSIVE_PORTS": f"{first}-{first + 99}",
        "LISTENER__IPV6__PASSIVE_PORTS": f"{first}-{first + 99}",
        "LOG__LEVEL": "debug",
        "LOG__FORMAT": "json",
    }
    if number == GATEWAYS - 1:  # the other way: clients go by the address in the 227
        settings["LISTENER__IPV4__PASSIVE_ADDRESS"] = own(number)
    return {f"FTPSPROXY_{name}": value for name, value in settings.items()}


@contextlib.contextmanager
def fleet(certificates: Certificates, folder: Path) -> Iterator[Fleet]:
    """All of it, each in its place; ended in the end."""
    with contextlib.ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        network.balancer.call(lambda: nft(SHIPPED / "passive-ports.nft"))
        server = network.server.call(lambda: stack.enter_context(servers.vsftpd(certificates, host=SERVER)))
        gateways = []
        for number, place in enumerate(network.gateways):
            running = run_gateway(CONFIG, env=_environment(number, server, certificates))
            gateways.append(place.call(lambda running=running: stack.enter_context(running)))  # type: ignore[misc]
        config, log = folder / "haproxy.cfg", folder / "haproxy.log"
        config.write_text(haproxy_config(folder))
        balancer = network.balancer.call(lambda: stack.enter_context(haproxy(config, log, "-W")))
        found = Fleet(network, server, tuple(gateways), balancer, log)
        found.wait_for_balancer("Loading success")
        yield found
