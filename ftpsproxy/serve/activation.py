"""Listening sockets that the service manager has opened for us (sd_listen_fds(3)): systemd, or one that does so.

They are those from descriptor 3 on, as many as LISTEN_FDS says, for the process LISTEN_PID, and called as
LISTEN_FDNAMES says. Which listener's one is tells its address. So a gateway without any capability has ports below
1024, and clients that come while it is started anew wait instead of being refused.
"""

import ipaddress
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from ftpsproxy import errors, net
from ftpsproxy.config import endpoint
from ftpsproxy.net import Socket

_FIRST = 3
_MOST = 100_000  # a number beyond is none of the service manager's


class ListenError(Exception):
    """An address can't be listened on; `str()` is one plain line."""


class WrongSocketsError(ListenError):
    """What was passed and what is configured do not fit: trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A listening socket, and what the service manager calls it: by default its socket unit."""

    sock: Socket
    name: str


def passed(environ: MutableMapping[str, str]) -> tuple[Passed, ...]:
    """What was passed to this process; taken out of the environment, as it is for nobody else. Raises
    WrongSocketsError."""
    whose, count, names = (environ.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if whose != str(os.getpid()):
        return ()
    if not count.isdecimal() or int(count) > _MOST:
        raise WrongSocketsError(f"LISTEN_FDS={count}: no number of sockets")
    called = names.split(":")
    found = []
    for index in range(int(count)):
        name = called[index] if index < len(called) and called[index] else "unknown"
        found.append(_passed(_FIRST + index, name))
    return tuple(found)


def _passed(number: int, name: str) -> Passed:
    try:
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise WrongSocketsError(f"passed by the service manager: {number} ({name}): {errors.words(error)}") from None
    if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6) or not listens:
        sock.detach()
        raise WrongSocketsError(
            f"passed by the service manager: {number} ({name}): no TCP socket that listens (ListenStream=, Accept=no)"
        )
    sock.setblocking(False)
    net.tune(sock, None)
    return Passed(sock, name)


def describe(one: Passed) -> str:
    """For whoever has to find it."""
    host, port = one.sock.getsockname()[:2]
    alone = " for IPv6 alone" if host == "::" and _is_v6_alone(one.sock) else ""
    return f"{endpoint(host, port)}{alone} ({one.name})"


def _is_v6_alone(sock: Socket) -> bool:
    return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def matches(sock: Socket, host: str, port: int) -> bool:
    """Whether the socket is what `net.listen` would have made of this address, "::" for IPv4 clients, too."""
    try:
        family, (wanted, _, *more) = net.numeric(host, port)
    except OSError:
        return False
    where, has, *others = sock.getsockname()
    if (sock.family, has) != (family, port) or ipaddress.ip_address(net.unzoned(where)) != ipaddress.ip_address(
        str(wanted)
    ):
        return False
    if more and more[1] != others[1]:  # the zone
        return False
    return host != "::" or not _is_v6_alone(sock)
