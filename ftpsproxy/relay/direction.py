"""Which way a transfer goes whose command nobody knows: whoever speaks first sends."""

from ftpsproxy import net
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.net import Socket
from ftpsproxy.reactor import Flag, Reactor, now, readable, turn
from ftpsproxy.relay.contract import Flow, Pace, RelayError
from ftpsproxy.relay.departure import Departure
from ftpsproxy.relay.records import Records
from ftpsproxy.tls import Tls

_CHUNK = 16384
# While nobody speaks, whether the client is still there is looked at this often.
_LOOK_SECONDS = 1.0


async def first_to_speak(
    reactor: Reactor, client: Socket, server: Socket, tls: Tls, records: Records, pace: Pace, departure: Departure
) -> Direction:
    """For a verb nobody knows: a client that sends or ends first uploads, a server that does sends.

    What the server sends beside its data, tickets first of all, is read and is no speech. Raises RelayError when
    neither speaks, a connection breaks, or the client is gone.
    """
    spoken = Flag()
    found: list[Direction] = []
    broke: list[BaseException] = []
    aside = Flow()

    async def watch_client() -> None:
        while not net.has_data(client):
            await readable(client)
        found.append(Direction.UPLOAD)
        spoken.set()

    async def watch_server() -> None:
        while not tls.speaks():
            try:
                data = server.recv(_CHUNK)
            except BlockingIOError:
                await readable(server)
                continue
            if not data:
                break  # the engine finds the end, too
            aside.note_aside(len(data))
            records.feed(memoryview(data))
            tls.feed(data)
            await turn()
        found.append(Direction.DOWNLOAD)
        spoken.set()

    def broken(error: BaseException) -> None:
        broke.append(error)  # the kernel tells it once, so the engine would not find out
        spoken.set()

    watchers = [
        reactor.start(watch_server(), broken),
        reactor.start(watch_client(), broken),
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
    if broke and isinstance(broke[0], RelayError):
        raise broke[0]
    if broke:
        raise RelayError(426, f"the data connection broke: {broke[0]}")
    if found == [Direction.UPLOAD]:
        return Direction.UPLOAD
    departure.end(0)
    return Direction.DOWNLOAD
