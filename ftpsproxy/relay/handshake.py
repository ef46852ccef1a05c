"""The TLS handshake over a non-blocking socket, for control and data connections alike."""

import contextlib

import trio

from ftpsproxy.net import Socket
from ftpsproxy.tls import Tls, TlsError, TlsRefused

_CHUNK = 16384 + 512


async def flush(sock: Socket, tls: Tls) -> None:
    """Send all that `tls` has to say. Raises OSError."""
    if data := tls.take():
        await send_all(sock, data)


async def send_all(sock: Socket, data: bytes) -> None:
    """Send `data`, however long it takes. Raises OSError."""
    sent = 0
    while True:
        try:
            sent += sock.send(data[sent:] if sent else data)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        if sent == len(data):
            return


async def shake_hands(sock: Socket, tls: Tls) -> None:
    """Do the handshake. Raises TlsError (certificate, alert), TlsRefused (an end), OSError; has no limit of its own."""
    while True:
        try:
            done = tls.shake_hands()
        except TlsError:
            # The alert that tells the server why.
            if alert := tls.take():
                with contextlib.suppress(OSError):
                    sock.send(alert)
            raise
        await flush(sock, tls)
        if done:
            return
        await trio.lowlevel.wait_readable(sock)
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            continue
        if not data:
            raise TlsRefused("closed", "the server closed the connection in the TLS handshake")
        tls.feed(data)
