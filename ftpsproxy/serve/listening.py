"""The addresses the gateway listens on, for FTP clients and for probes: opened, kept over a change of the
configuration, shown in the log."""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ftpsproxy import errors, net
from ftpsproxy.config import Listener, Settings, endpoint
from ftpsproxy.net import Socket
from ftpsproxy.observe import log

ADMIN = "admin"


class ListenError(Exception):
    """An address can't be listened on; `str()` is one plain line."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it is configured; `only` tells those with port 0, any free one, apart."""

    host: str
    port: int
    only: str = ""

    def __str__(self) -> str:
        return endpoint(self.host, self.port)


Sockets = dict[Address, Socket]
Open = Callable[[Address], Socket]


def of_listener(name: str) -> str:
    """The name under which `addresses` has a listener."""
    return f"listener {name}"


def addresses(settings: Settings) -> dict[str, Address]:
    """All addresses, by who listens there: `listener NAME`, and `admin` where there is one."""
    found = {of_listener(one.name): (one.host, one.port) for one in settings.listeners}
    if settings.admin.host:
        found[ADMIN] = (settings.admin.host, settings.admin.port)
    return {who: Address(host, port, "" if port else who) for who, (host, port) in found.items()}


def reserve(address: Address) -> Socket:
    """Hold the address for worker processes, without listening. Raises OSError.

    First without sharing: another program there, even one that shares, is an error and not a partner.
    """
    net.listen(address.host, address.port).close()
    return net.listen(address.host, address.port, share_port=True, hold_only=True)


def renew(sockets: Sockets, addresses: Mapping[str, Address], open: Open) -> Sockets:
    """The sockets for these addresses: those there are, and new ones. Raises ListenError, with nothing changed."""
    found: Sockets = {}
    with contextlib.ExitStack() as undo:
        for who, address in addresses.items():
            if address in sockets:
                found[address] = sockets[address]
                continue
            try:
                found[address] = undo.enter_context(open(address))
            except OSError as error:
                raise ListenError(
                    f"{who}: can't listen on {address}: {_why(error, address, sockets | found)}"
                ) from None
        undo.pop_all()
    return found


def try_source_ports(settings: Settings) -> None:
    """Whether connections can be made from the ports that active clients are to see. Raises ListenError."""
    for one in settings.listeners:
        if why := source_port_fault(one):
            raise ListenError(why)


def source_port_fault(listener: Listener) -> str:
    """What is wrong with its `active_source_port`, in a line; "" where nothing is."""
    port = listener.active_source_port
    if port is None:
        return ""
    try:
        net.try_source_port(listener.host, port)
    except OSError as error:
        where = Address(listener.host, port)
        return f"listener '{listener.name}': no connections from active_source_port {port}: {_why(error, where, {})}"
    return ""


def _why(error: OSError, address: Address, sockets: Sockets) -> str:
    why = errors.words(error)
    if error.errno == errno.EACCES:
        return f"{why}; ports below 1024 need CAP_NET_BIND_SERVICE, or take a higher one"
    if error.errno != errno.EADDRINUSE:
        return why
    if any(sock.getsockname()[1] == address.port for sock in sockets.values()):
        return f"{why}; this gateway itself has that port, at another address; to move it, start the gateway anew"
    return f"{why}; another program has it"


def drop(sockets: Sockets, kept: Sockets) -> None:
    """Close those that are not kept."""
    for address, sock in sockets.items():
        if address not in kept:
            net.close(sock)


def real(settings: Settings, sockets: Sockets) -> Settings:
    """The same, with the port that was given where any free one was asked for."""
    ports = {who: sockets[address].getsockname()[1] for who, address in addresses(settings).items()}
    listeners = [dataclasses.replace(one, port=ports[of_listener(one.name)]) for one in settings.listeners]
    admin = dataclasses.replace(settings.admin, port=ports.get(ADMIN, 0))
    return dataclasses.replace(settings, listeners=tuple(listeners), admin=admin)


def shown(settings: Settings) -> tuple[list[log.Endpoint], str | None]:
    """For the log: the listeners, and where metrics are to be had."""
    listening: list[log.Endpoint] = []
    for one in settings.listeners:
        upstream = settings.upstreams[one.upstream]
        url = f"{'ftps' if upstream.implicit else 'ftpes'}://{upstream.endpoint}"
        listening.append(
            {"listener": one.name, "address": one.host, "port": one.port, "upstream": upstream.name, "url": url}
        )
    return listening, settings.admin.endpoint if settings.admin.host else None
