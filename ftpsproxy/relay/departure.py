"""Whether a client that leaves in mid-upload was done: the one thing that FTP leaves to be guessed.

A camera that is done ends its data, then its control connection, and never waits for 226. A program that breaks off may
end both as well, so what counts is the order: what ends behind the control connection was cut (RFC 959 section 4.1.1,
QUIT). But an end waits behind bytes that are still on their way, and the other connection's end overtakes it: so an
upload is whole, too, if bytes came behind the moment when control was last seen to stand and no more were there, and
its end follows them without a pause.
"""

import select
from typing import Protocol

from ftpsproxy import errors, net
from ftpsproxy.net import Socket
from ftpsproxy.reactor import now
from ftpsproxy.relay.contract import RelayError

# What a client that is gone had sent already comes without a pause longer than this, which a packet that is lost again
# and again may take.
_PAUSE_SECONDS = 3.0


class ClientConnection(Protocol):
    """The client's control connection, as its owner shows it."""

    @property
    def sock(self) -> Socket:
        """Its socket, to be looked at only."""

    @property
    def unheard(self) -> bool:
        """Whether the client has said something that its session has not heard yet."""


class Departure:
    """What is known of it, from the upload's command on. The engine asks; `control` is the client's.

    An epoll set keeps what became ready in the order in which it did, whenever it is asked: so it knows which of the
    two was ended first, by FIN or RST. Where both had ended before it was made, that is taken to be the data.
    """

    __slots__ = ("_client", "_control", "_data", "_ends", "_failed", "_first", "_lost", "_seen", "_settled", "_since")

    def __init__(self, control: ClientConnection) -> None:
        self._client = control
        self._control = control.sock
        self._data: Socket | None = None
        self._ends: select.epoll | None = None
        self._failed = ""
        self._first: int | None = None
        self._lost = False
        self._settled = 0
        self._seen = -1
        self._since = 0.0

    def watch(self, data: Socket) -> None:
        """The client's data connection is there, or on its way; a new one is begun with anew."""
        if data is self._data:
            return
        self.close()
        self._data = data
        self._first, self._settled = None, 0
        try:
            self._ends = select.epoll(2)
            for sock in (data, self._control):
                self._ends.register(sock.fileno(), select.EPOLLRDHUP)
        except OSError as error:
            self._failed = f"the ends of the client's connections can't be watched: {errors.words(error)}"
        else:
            if self._first_end() is None:
                self._settled = net.unread(data)

    def control_lost(self, read: int) -> None:
        """That of the client's control connection was heard; `read` bytes of data had been read.

        Where the data has not ended as well, more must come before it does: its end would have come with the rest.
        """
        if not self._lost and self._data is not None and not net.has_ended(self._data):
            self._first = self._control.fileno()
            self._settled = read + net.unread(self._data)
            self._seen, self._since = self._settled, now()
        self._lost = True

    def look(self, count: int) -> None:
        """Nothing more is there behind `count` bytes. Raises RelayError when the client is gone, and this lasts."""
        first = self._first_end()
        if first is None:
            self._settled = count
        elif first == self._control.fileno():
            if count != self._seen:
                self._seen, self._since = count, now()
            elif now() - self._since >= _PAUSE_SECONDS:
                raise RelayError(426, "the client's control connection was lost")

    def end(self, count: int) -> None:
        """The data has ended behind `count` bytes. Raises RelayError when that was a cut."""
        if self._first_end() == self._control.fileno() and count <= self._settled:
            raise RelayError(426, "the client's control connection ended before its data")

    @property
    def unheard(self) -> bool:
        """Whether the client has said something that its session has not heard yet: it may be ABOR."""
        return self._client.unheard

    def _first_end(self) -> int | None:
        if self._failed:
            raise RelayError(426, self._failed)
        if self._first is None and self._ends is not None and (ended := self._ends.poll(0)):
            self._first = ended[0][0]
        return self._first

    def close(self) -> None:
        """Ask no more."""
        if self._ends is not None:
            self._ends.close()
            self._ends = None
