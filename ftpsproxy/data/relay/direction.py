"""Which way a transfer goes whose command nobody knows: whoever speaks first sends."""

from collections.abc import Awaitable, Callable

import trio

from ftpsproxy import net
from ftpsproxy.data.relay.flow import Flow, RelayError, TransferPolicy
from ftpsproxy.data.relay.records import Records
from ftpsproxy.data.relay.upload_end import UploadEnd
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.net import Socket
from ftpsproxy.tls import Tls, TlsError

_CHUNK = 16384
# While nobody speaks, whether the client is still there is looked at this often.
_LOOK_SECONDS = 1.0


class FirstToSpeak:
    """For a verb nobody knows: a client that sends or ends first uploads, a server that does sends.

    What the server sends beside its data, tickets first of all, is read and is no speech.
    """

    def __init__(self, client: Socket, server: Socket, tls: Tls, records: Records, end: UploadEnd) -> None:
        self._client = client
        self._server = server
        self._tls = tls
        self._records = records
        self._end = end
        self._spoke: Direction | None = None
        self._broke: Exception | None = None
        self._broke_side: Side = "server"
        self._aside = Flow()

    async def found(self, policy: TransferPolicy) -> Direction:
        """Raises RelayError when neither speaks, a connection breaks, or the client is gone."""
        with trio.move_on_after(min(policy.client_stall, policy.server_stall)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, "server", self._hear_server, nursery.cancel_scope)
                nursery.start_soon(self._listen, "client", self._hear_client, nursery.cancel_scope)
                while True:
                    await trio.sleep(_LOOK_SECONDS)
                    self._look()
                    if self._broke is not None:
                        nursery.cancel_scope.cancel()
        if isinstance(self._broke, RelayError):
            raise self._broke
        if self._broke is not None:  # the kernel tells it once, so the relay would not find out
            raise RelayError(426, f"the data connection broke: {self._broke}", self._broke_side, Cause.BROKEN)
        if self._spoke is None:
            raise RelayError(426, "neither side sent any data", "client", Cause.STALLED)
        if self._spoke is Direction.DOWNLOAD:
            self._end.end(0)
        return self._spoke

    def _look(self) -> None:
        try:
            self._end.look(0)
        except RelayError as error:
            self._broke = error

    async def _listen(self, side: Side, hear: Callable[[], Awaitable[Direction]], scope: trio.CancelScope) -> None:
        try:
            spoke = await hear()
            if self._spoke is None or spoke is Direction.DOWNLOAD:
                self._spoke = spoke
        except (OSError, TlsError, RelayError) as error:
            self._broke, self._broke_side = error, side
        scope.cancel()

    async def _hear_client(self) -> Direction:
        while not net.has_data(self._client):
            await net.readable(self._client)
        return Direction.UPLOAD

    async def _hear_server(self) -> Direction:
        while not self._tls.speaks():
            try:
                data = self._server.recv(_CHUNK)
            except BlockingIOError:
                await net.readable(self._server)
                continue
            if not data:
                break  # the relay finds the end, too
            self._aside.note_aside(len(data))
            self._records.feed(memoryview(data))
            self._tls.feed(data)
            await net.turn()
        return Direction.DOWNLOAD
