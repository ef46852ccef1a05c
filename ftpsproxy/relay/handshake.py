"""The TLS handshake over a non-blocking socket, for control and data connections alike."""

import contextlib
import ssl

import trio

from ftpsproxy.net import Socket
from ftpsproxy.tls import Tls

_CHUNK = 16384 + 512


async def flush(sock: Socket, tls: Tls) -> None:
    """Send all that `tls` has to say. Raises OSError."""
    if tls.outgoing.pending:
        await send_all(sock, tls.outgoing.read())


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
    """Do the handshake. Raises ssl.SSLError (certificates, alerts, EOF) and OSError; has no limit of its own."""
    while True:
        try:
            tls.engine.do_handshake()
        except ssl.SSLWantReadError:
            await flush(sock, tls)
        except ssl.SSLError:
            # The alert that tells the server why.
            if tls.outgoing.pending:
                with contextlib.suppress(OSError):
                    sock.send(tls.outgoing.read())
            raise
        else:
            await flush(sock, tls)
            return
        await trio.lowlevel.wait_readable(sock)
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            continue
        if data:
            tls.incoming.write(data)
        else:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed in the handshake")
