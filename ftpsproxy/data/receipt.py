"""Whether a transfer that is to end well has come whole, and its receiver has all of it.

What is in our kernel's buffer, some MiB, is lost when it falls silent or resets: the client must not have heard 226 by
then.
"""

import contextlib

import trio

from ftpsproxy import net
from ftpsproxy.data.relay.flow import Flow, RelayError
from ftpsproxy.data.relay.upload import BROKE_BEFORE_END, Upload
from ftpsproxy.data.service import DataService
from ftpsproxy.ftp.commands import LISTINGS
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.ftp.orders import Transfer
from ftpsproxy.net import Socket

_CLIENT_BROKE = "the client broke the data connection before its end"
# How often is looked whether the client has all.
_LOOK_SECONDS = 0.05
# An acknowledgement is late by some 40 ms at most, where nothing else is to be sent with it.
_ACKNOWLEDGED_SECONDS = 0.01
# An end counts as one byte; its acknowledgement, which clients delay, need not be waited for.
_END = 1


def unproved(flow: Flow, order: Transfer, service: DataService) -> int | None:
    """A download has ended → how many bytes, if it is yet to be proved that these are all.

    A FIN between two records is all that a cut leaves to be seen, and the server's 226 says only what it sent: a
    missing close_notify proves nothing. Raises RelayError where its word is taken (for a listing, or by "reply"), but
    it is known to end such data with close_notify.
    """
    owed, policy = service.quirks.close_notify_behind, service.policy.close_notify
    if flow.at_end:
        return None  # the data has said its end itself, and its connection may stay open
    if flow.close_notify:
        owed.add(order.verb)
    elif policy == "prove" and (order.verb not in LISTINGS or order.verb not in owed):
        return flow.bytes
    elif policy in ("prove", "reply") and order.verb in owed:
        why = "the server's data ended without the close_notify it has said before, so it may be cut"
        raise RelayError(426, why, "server", Cause.CUT)
    return None


async def of_client(client: Socket | None, stall_seconds: float) -> None:
    """End a whole download at the client, with FIN behind its bytes, and wait until its kernel has them all. Raises
    RelayError when that breaks, or takes nothing for so long."""
    if client is None or not net.finish(client):
        raise RelayError(426, _CLIENT_BROKE, "client", Cause.BROKEN)
    stall = _Stall("client", stall_seconds)
    looked = False
    while not net.error_of(client):
        unsent = net.unsent(client)
        if unsent <= _END:
            return
        stall.look(unsent)
        if looked:
            await trio.sleep(_LOOK_SECONDS)
            continue
        looked = True
        with trio.move_on_after(_LOOK_SECONDS), contextlib.suppress(OSError):  # it was closed meanwhile: seen above
            await net.readable(client)  # most close once they have it all
    raise RelayError(426, _CLIENT_BROKE, "client", Cause.BROKEN)


async def of_server(server: Socket | None, upload: Upload, stall_seconds: float) -> None:
    """The same of the server's kernel behind an upload; the end was sent before. The server's 226 may have been read
    before what it said on the data connection: an alert there gives it the lie."""
    stall = _Stall("server", stall_seconds)
    while server is not None:
        upload.hear_behind()
        unsent = net.unsent(server)
        if upload.flow.at_end or unsent <= _END:
            return
        stall.look(unsent)
        await trio.sleep(_ACKNOWLEDGED_SECONDS)
    raise RelayError(426, BROKE_BEFORE_END, "server", Cause.BROKEN)


class _Stall:
    """Whether a receiver, of this side, takes no bytes for too long."""

    __slots__ = ("_left", "_seconds", "_side", "_until")

    def __init__(self, side: Side, seconds: float) -> None:
        self._side = side
        self._seconds = seconds
        self._left = -1
        self._until = 0.0

    def look(self, unsent: int) -> None:
        """So much is unsent now. Raises RelayError."""
        if unsent != self._left:
            self._left, self._until = unsent, net.now() + self._seconds
        if net.now() >= self._until:
            why = f"the {self._side} took no bytes for {self._seconds:g} seconds"
            raise RelayError(426, why, self._side, Cause.STALLED)
