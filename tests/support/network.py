"""A network of one's own: a namespace with a loopback interface and nothing else, where nobody else has any port."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_IFF_UP = 1
# Programs that ask getaddrinfo(3) for what is configured (AI_ADDRCONFIG; lftp, Netkit's server) don't count 127.0.0.1
# and ::1: without others they believe in no address at all.
_ADDRESS, _ADDRESS_6 = "192.0.2.1", "2001:db8::1"


def enter_own_network() -> None:
    """Put this thread, and threads and processes it starts from now on, into one. It ends with the last of them.

    Raises OSError where the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        packed = socket.inet_aton(_ADDRESS)
        fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, packed))
    add_address(_ADDRESS_6)


def in_thread(what: Callable[[], T]) -> T:
    """What `what` gives or raises in a thread of its own: the network it enters is not to be this one's from then
    on."""
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            result.append(what())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="network")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


def add_address(address: str) -> None:
    """Give its loopback interface this IPv6 address, too."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        packed = socket.inet_pton(socket.AF_INET6, address)
        fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("=16sIi", packed, 64, socket.if_nametoindex("lo")))
