"""The TLS handshake over a non-blocking socket, for control and data connections alike."""

import contextlib
from collections.abc import Callable

from ftpsproxy.net import Socket, readable, send_all, turn
from ftpsproxy.tls.binding import TlsError
from ftpsproxy.tls.connection import Connection
from ftpsproxy.tls.errors import Refused, broken_off

_CHUNK = 16384 + 512
# Certificates are the most of it, and OpenSSL takes 100 KiB of them.
_MOST = 512 * 1024


class NotBegun(Refused):
    """The server has ended the connection without a byte of TLS."""


async def shake_hands(sock: Socket, tls: Connection, heard: Callable[[], None] | None = None) -> None:
    """Do the handshake, for as long as it takes; `heard` is called when the server has said something.

    Raises TlsError (certificate, alert), Refused (an end), NotBegun, OSError.
    """
    begun = False

    def hear() -> None:
        nonlocal begun
        if heard is not None and not begun:
            heard()
        begun = True

    try:
        await _shake_hands(sock, tls, hear)
    except (OSError, Refused) as error:
        if begun:
            raise
        why = error if isinstance(error, Refused) else broken_off(error)
        raise NotBegun("closed", why.detail) from None


async def _shake_hands(sock: Socket, tls: Connection, heard: Callable[[], None]) -> None:
    more: bool | None = None
    taken = 0
    while True:
        try:
            done = tls.shake_hands()
        except TlsError:
            # The alert that tells the server why.
            if alert := tls.take():
                with contextlib.suppress(OSError):
                    sock.send(alert)
            raise
        data = tls.take()
        await send_all(sock, data)
        if more is None:
            more = not data  # it was said before; the answer may have come, and been noticed, already
        if done:
            return
        if tls.ended:
            raise Refused("closed", "the server ended TLS in the handshake")
        if not more:
            await readable(sock)
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            more = False
            continue
        more = len(data) == _CHUNK
        taken += len(data)
        if taken > _MOST:
            raise Refused("handshake_garbage", f"the server sent {taken} bytes in the TLS handshake, and no end of it")
        if more:
            await turn()
        if not data:
            raise Refused("closed", "the server closed the connection in the TLS handshake")
        heard()
        tls.feed(data)
