"""The near and the far network: what is started while this process is in one of them, stays there."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.peers import REPOSITORY, Ground
from tests.bench.process import BenchError, Process
from tests.support.network import enter_own_network

NEAR, FAR = "10.77.0.1", "10.77.0.2"

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _SIOCSIFADDR, _SIOCSIFDSTADDR, _SIOCSIFFLAGS = 0x400454CA, 0x8916, 0x8918, 0x8914
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 1, 0x1000, 1


@dataclass(frozen=True, slots=True)
class Way:
    """How long it is, and how bad: of each direction packets lost (percent) and megabits a second (0: no limit)."""

    rtt_ms: float
    loss_percent: float = 0.0
    rate_mbit: float = 0.0


class Networks:
    """Two of them, joined; this process is in the near one."""

    def __init__(self, far: int, near: int) -> None:
        self._far, self._near = far, near

    @contextlib.contextmanager
    def far(self) -> Iterator[None]:
        """What is started here is on the far side."""
        _enter(self._far)
        try:
            yield
        finally:
            _enter(self._near)


def _enter(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, _CLONE_NEWNET) != 0:
        raise BenchError(f"no other network can be entered: {os.strerror(ctypes.get_errno())}")


def _tun(own: str, other: str) -> int:
    """A tun device of this network, up, with these addresses at its ends → its descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"wan", _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for request, address in ((_SIOCSIFADDR, own), (_SIOCSIFDSTADDR, other)):
            fcntl.ioctl(sock, request, struct.pack("16sH2x4s8x", b"wan", socket.AF_INET, socket.inet_aton(address)))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"wan", _IFF_UP))
    return device


@contextlib.contextmanager
def joined(made: Ground, way: Way) -> Iterator[Networks]:
    """This process is in the near network from here on, and never again in its own. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        found = []
        try:
            for own, other in ((FAR, NEAR), (NEAR, FAR)):
                enter_own_network()
                network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
                stack.callback(os.close, network)
                found.append((network, _tun(own, other)))
                stack.callback(os.close, found[-1][1])
        except OSError as error:
            raise BenchError(f"two networks with tun devices need root and /dev/net/tun: {error}") from None
        (far, far_device), (near, near_device) = found
        words = (near_device, far_device, way.rtt_ms / 2, way.loss_percent, way.rate_mbit)
        arguments = (sys.executable, "-m", "tests.bench.wan.carry", *(str(word) for word in words))
        environment = {"PYTHONPATH": str(REPOSITORY)}
        devices = near_device, far_device
        stack.enter_context(Process("carry", arguments, made.path("carry.log"), environment, devices))
        yield Networks(far, near)
