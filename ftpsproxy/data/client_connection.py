"""How a transfer comes to its connection with the client: one that comes to a passive port, or one that we make."""

import errno
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ftpsproxy import errors, net
from ftpsproxy.data.pending import Contested, PendingConnection, Unreachable
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.ftp import data_failure
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.net import Socket
from ftpsproxy.observe import log


@dataclass(frozen=True, slots=True)
class Source:
    """Where our connections to the client come from: an address, and its port, 0 for any."""

    address: str | None = None
    port: int = 0


ANYWHERE = Source()


async def that_comes(end: PendingConnection, seconds: float) -> Socket:
    """The connection that is expected. Raises RelayError where it does not come in so long, or not alone."""
    try:
        with trio.move_on_after(seconds):
            return await end.wait()
    except Contested as error:
        raise RelayError(425, str(error), "client", Cause.CONTESTED) from None
    except Unreachable:
        pass  # nobody can come any more
    why = f"the client opened no data connection in time{end.who_came_instead}"
    stranger = end.take_stranger()
    raise RelayError(425, why, "client", Cause.FOREIGN_ADDRESS if stranger else Cause.NEVER_CAME, stranger)


async def that_is_made(end: Endpoint, source: Source, seconds: float, begun: Callable[[Socket], None]) -> Socket:
    """A connection to the client, from the address it knows; `begun` hears of it before it is up: its far side may end
    it, and leave, before we have had our turn. Raises RelayError."""
    try:
        with trio.move_on_after(seconds):
            client = begin(end, source)
            begun(client)
            await net.finish_connecting(client)
            return client
    except OSError as error:
        why = f"no connection to the client's data port: {errors.words(error)}"
        raise RelayError(425, why, "client", data_failure.of_connect(error)) from None
    raise RelayError(425, "no answer from the client's data port", "client", Cause.NO_ANSWER)


def begin(end: Endpoint, source: Source) -> Socket:
    """A connection to the client that is on its way. Raises OSError.

    A client that takes the same port for each transfer finds that pair of ports in use for a minute behind its last
    one (TIME_WAIT, on the side that ends first, which is ours in a download). Then any port of ours must do: a firewall
    that wants the other stops it, but without it the transfer had failed for sure.
    """
    family, sockaddr = net.numeric(end.host, end.port)
    try:
        return net.start_connecting(family, sockaddr, source.address, source_port=source.port)
    except OSError as error:
        if not source.port or error.errno != errno.EADDRNOTAVAIL:
            raise
        sock = net.start_connecting(family, sockaddr, source.address)
        log.data_source_port_taken(address=net.unzoned(end.host), port=end.port)
        return sock
