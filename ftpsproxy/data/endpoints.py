"""The prepared endpoints of a session's next transfer: the way to its connections with the client and the server."""

import contextlib
from dataclasses import dataclass

import trio

from ftpsproxy import net
from ftpsproxy.data import client_connection
from ftpsproxy.data.client_connection import ANYWHERE, Source
from ftpsproxy.data.pending import PendingConnection
from ftpsproxy.data.relay.upload_end import ClientConnection, UploadEnd
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.data_failure import Cause, DataFailure, Side
from ftpsproxy.net import Socket
from ftpsproxy.observe import log

# To connect to a client only to reset that.
_TURN_AWAY_SECONDS = 5.0


@dataclass(slots=True)
class Endpoints:
    """The endpoints; for the log also by which command each side came to its own, and where they are: the address and
    port that one side was told, and the other connects to.

    A connection to the client comes from `client_source`: the address the client knows. `upload_end` is for an upload.
    `unmet`: an active client that waits for its connection, and will get none.
    """

    client: PendingConnection | Endpoint | None = None
    server: PendingConnection | Socket | None = None
    client_source: Source = ANYWHERE
    client_mode: str = ""
    server_mode: str = ""
    client_at: Endpoint | None = None
    server_at: Endpoint | None = None
    upload_end: UploadEnd | None = None
    unmet: Endpoint | None = None

    def watch_client(self, control: ClientConnection) -> UploadEnd:
        """From now on, which of the client's two connections ends first."""
        if self.upload_end is None:
            self.upload_end = UploadEnd(control)
            if isinstance(self.client, PendingConnection):
                self.client.tell(self.upload_end.watch)
        return self.upload_end

    def control_lost(self, control: ClientConnection) -> bool:
        """The client's control connection is gone → whether its data connection is there, to tell what it was about."""
        if not isinstance(self.client, PendingConnection) or not self.client.has_come():
            return False
        self.watch_client(control).control_lost(0)
        return True

    def failure(self, side: Side, cause: Cause, why: str, came_from: str = "") -> DataFailure:
        """What the log says of a data connection that has failed."""
        mode, at = (self.client_mode, self.client_at) if side == "client" else (self.server_mode, self.server_at)
        address, port = (at.host, at.port) if at is not None else ("", None)
        return DataFailure(side, cause, why, mode, address, port, came_from)

    def drop(self) -> None:
        """Forget both; what is open is reset."""
        self.drop_client()
        self.drop_server()

    def drop_client(self) -> None:
        """Forget the client's; an active one that has begun to wait is `unmet`."""
        if isinstance(self.client, PendingConnection):
            self._note_stranger(self.client)
            self.client.cancel()
        elif self.client is not None:
            self.unmet = self.client
        self.client = None
        if self.upload_end is not None:
            self.upload_end.close()
            self.upload_end = None

    def _note_stranger(self, client: PendingConnection) -> None:
        """A client that is reset at once may leave, and never wait for what its transfer would have been answered."""
        why = f"the client's data connection did not come{client.who_came_instead}"
        if client.sock is None and (stranger := client.take_stranger()):
            log.data_failed(self.failure("client", Cause.FOREIGN_ADDRESS, why, stranger))

    def drop_server(self) -> None:
        """Forget the server's."""
        if isinstance(self.server, PendingConnection):
            self.server.cancel()
        elif self.server is not None:
            net.reset(self.server)
        self.server = None

    async def turn_away(self) -> None:
        """An active client that waits for its connection, and hears nothing else meanwhile, gets one that is reset."""
        unmet, self.unmet = self.unmet, None
        if unmet is not None:
            with contextlib.suppress(OSError), trio.move_on_after(_TURN_AWAY_SECONDS):
                sock = client_connection.begin(unmet, self.client_source)
                await net.finish_connecting(sock)
                net.reset(sock)
