"""Link-local addresses: socket addresses with their zone, and a network of one's own that has such addresses."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.network import add_address, enter_own_network, in_thread

_LINK = 0x20
_TENTATIVE = 0x40
"""The scope of such an address in /proc/net/if_inet6, and the flag of one that can't be used yet."""


def sockaddr(host: str, port: int) -> tuple[Any, ...]:
    """The socket address of a numeric host; with a zone, Python's own `bind` and `connect` want it as a number."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]


def zoned(name: tuple[Any, ...]) -> str:
    """The host of a socket address, zone included."""
    return f"{name[0]}%{name[3]}" if len(name) > 3 and name[3] else str(name[0])


def with_link_local(count: int, play: Callable[[list[str]], None]) -> None:
    """Call `play` with link-local addresses, zone included, in a thread that has a network of its own.

    Threads and processes it starts are in that network, too. Where none can be made, the addresses are all the one that
    an interface of this machine has.
    """
    in_thread(lambda: play(_own_network(count) or _found(count)))


def with_addresses(addresses: list[str], play: Callable[[], None]) -> None:
    """Call `play` in a thread that has a network of its own, whose loopback interface has these IPv6 addresses, too."""

    def run() -> None:
        assert _have(addresses), "no network namespace can be made here"
        play()

    in_thread(run)


def _have(addresses: list[str]) -> bool:
    """A network namespace for this thread alone, with these on its loopback interface. It ends with its last thread."""
    with contextlib.suppress(OSError):
        enter_own_network()
        for address in addresses:
            add_address(address)
        return True
    return False


def _own_network(count: int) -> list[str]:
    """The loopback interface of a network of one's own is the link."""
    if not _have([f"fe80::{number}" for number in range(1, count + 1)]):
        return []
    for _ in range(500):
        if len(found := _link_local()) == count:
            return sorted(found)
        time.sleep(0.01)  # the kernel takes a moment to be sure that nobody else has them
    return []


def _link_local() -> list[str]:
    """All that may be used now."""
    found = []
    for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines():
        address, _, _, scope, flags, name = line.split()
        if int(scope, 16) == _LINK and not int(flags, 16) & _TENTATIVE:
            found.append(f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address))}%{name}")
    return found


def _found(count: int) -> list[str]:
    found = _link_local()
    if not found:
        pytest.skip("no network namespace can be made here, and no interface has a link-local address")
    return [found[0]] * count
