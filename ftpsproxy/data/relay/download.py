"""Server to client."""

from ftpsproxy import net
from ftpsproxy.data.relay import buffers
from ftpsproxy.data.relay.flow import Flow, RelayError, TransferPolicy
from ftpsproxy.data.relay.records import Records
from ftpsproxy.data.relay.relay import SMALL_TURN_BYTES, TURN_BYTES, MustWait, Receiver, Relay, broke, read
from ftpsproxy.ftp.charsets import Listing, Untranslatable
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.net import Socket
from ftpsproxy.tls import Tls

# What is read at a time of a server that sends hardly any data in its TLS: OpenSSL takes it all in one go.
_SMALL = 8 * 1024


class Download(Relay):
    """`run` ends with the server's end; the client's end of file is left to the caller. `records` has been fed all that
    has come."""

    def __init__(
        self, client: Socket, server: Socket, tls: Tls, records: Records, flow: Flow, policy: TransferPolicy
    ) -> None:
        super().__init__(server, server, tls, flow, policy)
        self._to_client = Receiver(client, "client", policy.client_stall)
        self._to_server = Receiver(server, "server", policy.server_stall)  # what TLS itself has to say to it
        self._records = records
        self._raw, self._clear = buffers.take(), buffers.take()
        self._got = 0  # ciphertext that TLS has not looked at yet
        self._most = buffers.SIZE
        self._starved = False  # whether TLS needs more from the server

    async def run(self) -> None:
        """Raises RelayError: for a reset, a stall, a broken record, and an end without close_notify where the policy or
        the place of the cut forbids it. `flow.close_notify` tells how it ended."""
        try:
            if not await self._moved_at_once():
                await self._run(self._move)
        finally:
            self._tls.take_back()
            buffers.give(self._raw, self._clear)

    async def _moved_at_once(self) -> bool:
        """Whether all is there by now, as a small file is: then there is no wait, and no need of a limit."""
        try:
            await self._move()
        except MustWait:
            return False
        return True

    def _look(self) -> None:
        if self._blocked is not self._to_client and net.is_broken(self._to_client.sock):
            raise RelayError(426, "the client broke the data connection", "client", Cause.BROKEN)

    async def _move(self) -> None:
        tls = self._tls
        while True:
            if self._to_server.unsent:
                await self._send(self._to_server)
            if self._to_client.unsent:
                await self._send(self._to_client)
            if tls.ended:
                self.flow.close_notify = True
                self._answer_close_notify()
                return
            if self._starved and not await self._receive():
                return
            self._unseal()

    def _unseal(self) -> None:
        """What has come, as cleartext."""
        tls, got, self._got = self._tls, self._got, 0
        filled = read(tls, self._clear)
        if tls.outgoing:
            self._to_server.unsent = tls.take()  # a new handshake (TLS 1.2), new keys (1.3)
        small = filled * 4 < got
        self._most = _SMALL if small else buffers.SIZE
        self._turn += got * (TURN_BYTES // SMALL_TURN_BYTES) if small else got
        self._starved = filled < buffers.SIZE
        if filled:
            self.flow.asides = 0
            data = self._to_client.unsent = self._clear.view[:filled]
            self.flow.count(data)
        else:
            self.flow.note_aside(got)

    async def _receive(self) -> bool:
        """Ciphertext for TLS → False at the server's end. Raises RelayError."""
        if self._turn >= TURN_BYTES:
            self._turn = 0
            await net.turn()
        while True:
            try:
                got = self._server.recv_into(self._raw.view[: self._most])
            except BlockingIOError:
                await self._more(self._policy.server_stall, "server")
                continue
            except OSError as error:
                self._broken(error)
                return False
            if not got:
                self._ended()
                return False
            self._got = got
            self._moved()
            self._patience.took(got)
            self._records.feed(self._raw.view[:got])
            self._tls.lend(self._raw, got)
            return True

    def _broken(self, error: OSError) -> None:
        """Raises RelayError unless the data has ended all the same."""
        if not self.flow.at_end and not (self._policy.close_notify == "ignore" and self._records.whole):
            raise broke("server", error) from None
        self.flow.close_notify = False

    def _ended(self) -> None:
        """FIN without close_notify. Raises RelayError where that is no end."""
        self.flow.close_notify = False
        if not self._records.whole:
            raise RelayError(426, "the server's data ended in the middle of a TLS record", "server", Cause.CUT)
        if self._policy.close_notify == "require":
            why = "the server's data ended without close_notify, so it may be cut"
            raise RelayError(426, why, "server", Cause.CUT)
        self._answer_close_notify()  # a server that lingers in its close waits for ours

    def _answer_close_notify(self) -> None:
        """At once, whatever the client does: some servers wait for it before they say 226."""
        try:
            self._server.send(self._tls.close_notify(), net.MSG_MORE)
            self._server.shutdown(net.SHUT_WR)
        except OSError:
            pass  # it has closed already; its data was whole


class ListingDownload(Download):
    """A listing whose names are translated on their way; what is counted is as the server has sent it."""

    def __init__(
        self, client: Socket, server: Socket, tls: Tls, records: Records, flow: Flow, policy: TransferPolicy
    ) -> None:
        super().__init__(client, server, tls, records, flow, policy)
        self._listing = Listing(policy.charsets)
        self._ended_here = False

    def _unseal(self) -> None:
        super()._unseal()
        if self._to_client.unsent:
            try:
                self._to_client.unsent = self._listing.feed(bytes(self._to_client.unsent))
            except Untranslatable as error:
                raise RelayError(451, str(error), "server", Cause.CUT) from None

    async def _move(self) -> None:
        if not self._ended_here:
            await super()._move()
            self._ended_here = True
            self._to_client.unsent = self._listing.end()
            self.flow.left_out = self._listing.left_out
        if self._to_client.unsent:
            await self._send(self._to_client)
