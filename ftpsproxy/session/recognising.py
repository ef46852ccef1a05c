"""What a server is that says nothing where its greeting belongs: TLS is spoken to it, over a connection of its own.
Nothing else is, and whatever it shows is believed for no more than the words about it."""

import contextlib

import trio

from ftpsproxy import net
from ftpsproxy.ftp.foreign import protocol_of
from ftpsproxy.tls import Tls

# For each of two words.
_SECONDS = 2.0
_BYTES = 16


async def protocol_at(address: str, port: int, tls: Tls) -> str:
    """The protocol by which the server at this address answers the beginning of `tls`, or an empty line; "" for none
    that can be told."""
    tls.shake_hands()
    said = b""
    with contextlib.suppress(OSError):
        family, sockaddr = net.numeric(address, port)
        sock = net.start_connecting(family, sockaddr)
        try:
            # A server of lines waits for the end of one; HTTP's have their say behind an empty one.
            for word in (tls.take(), b"\r\n\r\n"):
                with trio.move_on_after(_SECONDS):
                    await net.finish_connecting(sock)
                    await net.send_all(sock, word)
                    said = await net.receive(sock, _BYTES)
                    break
        finally:
            net.close(sock)
    return protocol_of(said)
