"""The addresses the gateway listens on, for FTP clients and for probes: opened, kept over a change of the
configuration, shown in the log."""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ftpsproxy import errors, net
from ftpsproxy.config import Listener, Settings, endpoint
from ftpsproxy.net import Socket
from ftpsproxy.observe import log
from ftpsproxy.serve.activation import ListenError, Passed, WrongSocketsError, describe, matches

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it is configured; `only` tells those with port 0, any free one, apart."""

    host: str
    port: int
    only: str = ""

    def __str__(self) -> str:
        return endpoint(self.host, self.port)


Sockets = dict[Address, tuple[Socket, ...]]
"""The listening sockets of each address: one for each worker, or fewer that several share."""
Open = Callable[[str, Address], tuple[Socket, ...]]
"""Opens those of one address, for whom it is. Raises OSError."""


def own(_who: str, address: Address) -> tuple[Socket, ...]:
    """For a single process."""
    return (net.listen(address.host, address.port),)


@dataclass(slots=True)
class Source:
    """Where listening sockets come from: those the service manager has `passed`, those of the process before this one,
    else `open`."""

    open: Open = own
    passed: tuple[Passed, ...] = ()
    inherited: Sockets = field(default_factory=dict)

    def get(self, who: str, address: Address) -> tuple[Socket, ...]:
        """The sockets of this address. Raises OSError."""
        found = self.inherited.get(address) or tuple(one.sock for one in self.passed if _is_at(one.sock, address))
        return found or self.open(who, address)

    def check(self, addresses: Mapping[str, Address]) -> None:
        """Each that was passed is somebody's: nobody would hear its clients else. Raises WrongSocketsError."""
        lost = [one for one in self.passed if not any(_is_at(one.sock, address) for address in addresses.values())]
        if lost:
            have = ", ".join(f"{who}: {address}" for who, address in addresses.items())
            raise WrongSocketsError(
                f"passed by the service manager, and no listener's: {', '.join(map(describe, lost))}; there are {have}"
            )


def _is_at(sock: Socket, address: Address) -> bool:
    return matches(sock, address.host, address.port)


def of_listener(name: str) -> str:
    """The name under which `addresses` has a listener."""
    return f"listener {name}"


def addresses(settings: Settings) -> dict[str, Address]:
    """All addresses, by who listens there: `listener NAME`, and `admin` where there is one."""
    found = {of_listener(one.name): (one.host, one.port) for one in settings.listeners}
    if settings.admin.host:
        found[ADMIN] = (settings.admin.host, settings.admin.port)
    return {who: Address(host, port, "" if port else who) for who, (host, port) in found.items()}


def shared(workers: int) -> Open:
    """For several processes: a socket for each, among which the kernel shares the clients (SO_REUSEPORT). They are the
    parent's, so that no client is lost with a worker. For probes one is enough: whoever is free answers."""

    def open(who: str, address: Address) -> tuple[Socket, ...]:
        # First without sharing: another program there, even one that shares, is an error and not a partner.
        net.listen(address.host, address.port).close()
        with contextlib.ExitStack() as undo:
            port, found = address.port, []
            for _ in range(1 if who == ADMIN else workers):
                found.append(undo.enter_context(net.listen(address.host, port, share_port=True)))
                port = found[0].getsockname()[1]
            undo.pop_all()
        return tuple(found)

    return open


def part(sockets: tuple[Socket, ...], worker: int, workers: int) -> tuple[Socket, ...]:
    """Those of an address that are for this worker: each is somebody's, and nobody has none."""
    return sockets[worker::workers] or (sockets[worker % len(sockets)],)


def renew(sockets: Sockets, addresses: Mapping[str, Address], source: Source) -> Sockets:
    """The sockets for these addresses: those there are, and new ones. Raises ListenError, with nothing changed."""
    source.check(addresses)
    found: Sockets = {}
    with contextlib.ExitStack() as undo:
        for who, address in addresses.items():
            if address in sockets:
                found[address] = sockets[address]
                continue
            try:
                found[address] = source.get(who, address)
            except OSError as error:
                raise ListenError(
                    f"{who}: can't listen on {address}: {_why(error, address, source.inherited | sockets | found)}"
                ) from None
            for sock in found[address]:
                undo.callback(net.close, sock)
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
    if any(sock.getsockname()[1] == address.port for those in sockets.values() for sock in those):
        return f"{why}; this gateway itself has that port, at another address; to move it, start the gateway anew"
    return f"{why}; another program has it"


def drop(sockets: Sockets, kept: Sockets) -> None:
    """Close those that are not kept. One that was passed may be kept by the same address, written otherwise."""
    stay = {sock for those in kept.values() for sock in those}
    for those in sockets.values():
        for sock in those:
            if sock not in stay:
                net.close(sock)


def of_admin(settings: Settings, sockets: Sockets) -> Sockets:
    """Those for probes alone, which are answered until the last session is over."""
    address = addresses(settings).get(ADMIN)
    return {address: sockets[address]} if address in sockets else {}


def real(settings: Settings, sockets: Sockets) -> Settings:
    """The same, with the port that was given where any free one was asked for."""
    ports = {who: sockets[address][0].getsockname()[1] for who, address in addresses(settings).items()}
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
