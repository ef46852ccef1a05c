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
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.net import Socket, now

# What a client that is gone had sent already comes without a pause longer than this, which a packet that is lost again
# and again may take.
_PAUSE_SECONDS = 3.0


class FirstEnd:
    """Which of a client's two connections was ended first, by FIN or RST.

    An epoll set keeps what became ready in the order in which it did, whenever it is asked; trio's tells no order.
    Where both had ended before this was made, that is taken to be the data.
    """

    __slots__ = ("_data", "_ends", "_first")

    def __init__(self, control: Socket, data: Socket) -> None:
        """Raises OSError."""
        self._data = data.fileno()
        self._first: int | None = None
        self._ends: select.epoll | None = select.epoll(2)
        try:
            for sock in (data, control):
                self._ends.register(sock.fileno(), select.EPOLLRDHUP)
        except OSError:
            self._ends.close()
            raise

    @property
    def of_control(self) -> bool | None:
        """Whether it was the control connection; None while both stand."""
        if self._first is None and self._ends is not None and (ended := self._ends.poll(0)):
            self._first = ended[0][0]
        return None if self._first is None else self._first != self._data

    def close(self) -> None:
        """Ask no more."""
        if self._ends is not None:
            self._ends.close()
            self._ends = None


class ClientConnection(Protocol):
    """The client's control connection, as its owner lets others ask."""

    def first_end(self, data: Socket) -> FirstEnd:
        """From now on, which of the two ends first: this, or this data connection. Raises OSError."""

    async def heard_out(self) -> None:
        """Until its session has heard what the client has said by now, if it listens."""


class UploadEnd:
    """What is known of it, from the upload's command on. The relay asks; `control` is the client's."""

    __slots__ = ("_control", "_control_first", "_data", "_failed", "_first", "_lost", "_seen", "_settled", "_since")

    def __init__(self, control: ClientConnection) -> None:
        self._control = control
        self._data: Socket | None = None
        self._first: FirstEnd | None = None
        self._failed = ""
        self._control_first = False
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
        self._control_first, self._settled = False, 0
        try:
            self._first = self._control.first_end(data)
        except OSError as error:
            self._failed = f"the ends of the client's connections can't be watched: {errors.words(error)}"
        else:
            if self._of_control() is None:
                self._settled = net.unread(data)

    def control_lost(self, read: int) -> None:
        """That of the client's control connection was heard; `read` bytes of data had been read.

        Where the data has not ended as well, more must come before it does: its end would have come with the rest.
        """
        if not self._lost and self._data is not None and not net.has_ended(self._data):
            self._control_first = True
            self._settled = read + net.unread(self._data)
            self._seen, self._since = self._settled, now()
        self._lost = True

    def look(self, count: int) -> None:
        """Nothing more is there behind `count` bytes. Raises RelayError when the client is gone, and this lasts."""
        of_control = self._of_control()
        if of_control is None:
            self._settled = count
        elif of_control:
            if count != self._seen:
                self._seen, self._since = count, now()
            elif now() - self._since >= _PAUSE_SECONDS:
                raise RelayError(426, "the client's control connection was lost", "client", Cause.CONTROL_LOST)

    def end(self, count: int) -> None:
        """The data has ended behind `count` bytes. Raises RelayError when that was a cut."""
        if self._of_control() and count <= self._settled:
            raise RelayError(426, "the client's control connection ended before its data", "client", Cause.CONTROL_LOST)

    async def heard_out(self) -> None:
        """Until the session has heard what the client has said by now: it may be ABOR."""
        await self._control.heard_out()

    def _of_control(self) -> bool | None:
        """Whether control ended first; None while both stand."""
        if self._failed:
            raise RelayError(426, self._failed, "client", Cause.CONTROL_LOST)
        if self._control_first:
            return True
        return self._first.of_control if self._first is not None else None

    def close(self) -> None:
        """Ask no more."""
        if self._first is not None:
            self._first.close()
            self._first = None
