"""Whether a client that leaves in mid-upload was done: the one thing that FTP leaves to be guessed.

A camera that is done ends its data, then its control connection, and never waits for 226. A program that breaks off may
end both as well, so what counts is the order: what ends behind the control connection was cut (RFC 959 section 4.1.1,
QUIT). But an end waits behind bytes that are still on their way, and the other connection's end overtakes it: so an
upload is whole, too, if bytes came behind the moment when control was last seen to stand and no more were there, and
its end follows them without a pause.
"""

import select

from ftpsproxy.net import Socket
from ftpsproxy.reactor import now
from ftpsproxy.relay.contract import RelayError

# What a client that is gone had sent already comes without a pause longer than this, which a packet that is lost again
# and again may take.
_PAUSE_SECONDS = 3.0


class Departure:
    """What is known of it; `data` and `control` are the client's. Asked by the engine of an upload.

    An epoll set keeps what became ready in the order in which it did, whenever it is asked: so it knows which of the
    two was ended first, by FIN or RST.
    """

    __slots__ = ("_control", "_ends", "_first", "_seen", "_settled", "_since")

    def __init__(self, data: Socket, control: Socket) -> None:
        self._ends = select.epoll(2)
        for sock in (data, control):
            self._ends.register(sock.fileno(), select.EPOLLRDHUP)
        self._control = control.fileno()
        self._first: int | None = None
        self._settled = 0
        self._seen = -1
        self._since = 0.0

    def look(self, count: int) -> None:
        """Nothing more is there behind `count` bytes. Raises RelayError when the client is gone, and this lasts."""
        first = self._first_end()
        if first is None:
            self._settled = count
        elif first == self._control:
            if count != self._seen:
                self._seen, self._since = count, now()
            elif now() - self._since >= _PAUSE_SECONDS:
                raise RelayError(426, "the client's control connection was lost")

    def end(self, count: int) -> None:
        """The data has ended behind `count` bytes. Raises RelayError when that was a cut."""
        if self._first_end() == self._control and count <= self._settled:
            raise RelayError(426, "the client's control connection ended before its data")

    def _first_end(self) -> int | None:
        if self._first is None and (ended := self._ends.poll(0)):
            self._first = ended[0][0]
        return self._first

    def close(self) -> None:
        """Ask no more."""
        self._ends.close()
