"""Which way a transfer goes whose command nobody knows: whoever speaks first sends."""

import contextlib

from ftpsproxy import net
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Flag, Reactor, now, readable
from ftpsproxy.relay.contract import Pace, RelayError
from ftpsproxy.relay.departure import Departure
from ftpsproxy.tls import Tls

# While nobody speaks, whether the client is still there is looked at this often.
_LOOK_SECONDS = 1.0


async def first_to_speak(
    reactor: Reactor, client: Socket, server: Socket, tls: Tls, pace: Pace, departure: Departure
) -> Direction:
    """For a verb nobody knows: a client that sends or ends first uploads, a server that does sends.

    Raises RelayError when neither does, and when the client is gone.
    """
    if tls.unread:
        return Direction.DOWNLOAD
    spoken = Flag()
    found: list[Direction] = []

    async def watch(sock: Socket, direction: Direction) -> None:
        while not net.has_data(sock):
            await readable(sock)
        found.append(direction)
        spoken.set()

    def broken(_error: BaseException) -> None:
        spoken.set()  # the engine will find out how

    watchers = [
        reactor.start(watch(server, Direction.DOWNLOAD), broken),
        reactor.start(watch(client, Direction.UPLOAD), broken),
    ]
    try:
        until = now() + min(pace.client_stall, pace.server_stall)
        while not await spoken.wait(min(until, now() + _LOOK_SECONDS)):
            if now() >= until:
                raise RelayError(426, "neither side sent any data")
            departure.look(0)
    finally:
        for watcher in watchers:
            watcher.cancel()
    with contextlib.suppress(OSError):
        # TLS 1.3 tickets are bytes, too, but no data: a client that speaks as well is the one that means it.
        if net.has_data(client):
            return Direction.UPLOAD
    departure.end(0)
    return found[0] if found else Direction.DOWNLOAD
