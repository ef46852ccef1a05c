"""The network of deploy/haproxy/haproxy.cfg: devices, the balancer, gateways and the server, each a namespace."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.support.network import enter_own_network, in_thread
from tests.support.servers.common import program

_CLONE_NEWNET = 0x40000000
GATEWAYS = 3
CLIENTS = 100
SERVER = "10.2.0.20"
VIP = ("10.1.0.10", "fd00:0:1::10")
"""What the devices connect to: the balancer."""

T = TypeVar("T")


def own(gateway: int) -> str:
    """The IPv4 address of the first gateway (0), the second, the third."""
    return f"10.2.0.{11 + gateway}"


def client_address(number: int) -> str:
    """Half of the clients have IPv4, half IPv6, each in a /64 of its own: the balancer tells them apart by that."""
    return f"10.1.1.{number}" if number % 2 else f"fd00:0:1:{number:x}::1"


class Namespace:
    """One machine's network."""

    def __init__(self) -> None:
        self._fd = -1
        in_thread(self._make)

    def _make(self) -> None:
        enter_own_network()
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self) -> str:
        """For `ip`, by which name it goes."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def call(self, what: Callable[[], T]) -> T:
        """Call it there: sockets, threads and processes it makes are in this network."""

        def there() -> T:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(self._fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return what()

        return in_thread(there)

    def ip(self, *commands: str) -> None:
        """Have `ip` do these."""
        self.call(lambda: _run(["ip", "-batch", "-"], "".join(f"{one}\n" for one in commands)))

    def set(self, name: str, value: str) -> None:
        """A setting of its kernel."""
        self.call(lambda: Path("/proc/sys/net", name).write_text(value))

    def close(self) -> None:
        """It ends with the last process there."""
        os.close(self._fd)


class Network:
    """All of it. Where no namespace can be made: OSError."""

    def __init__(self) -> None:
        self.balancer, self.clients, self.server = Namespace(), Namespace(), Namespace()
        self.gateways = [Namespace() for _ in range(GATEWAYS)]
        self.all = [self.balancer, self.clients, self.server, *self.gateways]
        self._connect_clients()
        self._connect_gateways()
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.balancer.set(name, "1")

    def close(self) -> None:
        for one in self.all:
            one.close()

    def _connect_clients(self) -> None:
        self.balancer.ip(
            f"link add devices type veth peer name eth0 netns {self.clients.path}",
            f"address add {VIP[0]}/16 dev devices",
            f"address add {VIP[1]}/48 dev devices nodad",
            "link set devices up",
        )
        addresses = [client_address(number) for number in range(1, CLIENTS + 1)]
        self.clients.ip(
            *(f"address add {one}/48 dev eth0 nodad" for one in addresses if ":" in one),
            *(f"address add {one}/16 dev eth0" for one in addresses if ":" not in one),
            "link set eth0 up",
            f"route add default via {VIP[0]}",
            f"route add ::/0 via {VIP[1]}",
        )

    def _connect_gateways(self) -> None:
        self.balancer.ip(
            "link add gateways type bridge",
            "address add 10.2.0.10/24 dev gateways",
            "address add fd00:0:0:2::10/64 dev gateways nodad",
            "link set gateways up",
        )
        hosts = [(self.server, "10.2.0.20", "fd00:0:0:2::20")]
        hosts += [(one, own(n), f"fd00:0:0:2::{11 + n}") for n, one in enumerate(self.gateways)]
        for number, (one, ipv4, ipv6) in enumerate(hosts):
            self.balancer.ip(
                f"link add port{number} type veth peer name eth0 netns {one.path}",
                f"link set port{number} master gateways",
                f"link set port{number} up",
            )
            one.ip(
                f"address add {ipv4}/24 dev eth0",
                f"address add {ipv6}/64 dev eth0 nodad",
                "link set eth0 up",
                "route add default via 10.2.0.10",
                "route add ::/0 via fd00:0:0:2::10",
            )


def nft(file: Path) -> None:
    """Load these rules into the network of this thread."""
    _run([program("usr/sbin/nft"), "-f", str(file)])


def _run(argv: Sequence[str], said: str = "") -> None:
    done = subprocess.run(argv, input=said, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}\n{said}"
