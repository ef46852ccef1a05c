"""Connections of load balancers that have not said yet for whom they are: so many at most, and not for long."""

from collections.abc import Callable

import trio

from ftpsproxy import errors
from ftpsproxy.net.proxy_protocol import HeaderError, HeaderReader, Origin
from ftpsproxy.net.waits import Socket, readable

HEADER_SECONDS = 5.0
"""A balancer sends its header with the connection."""
_MOST = 1000


class NoHeader(Exception):
    """It cannot be told for whom this connection is; `str()` is one plain line, empty where it left without a word."""


Known = Callable[[Origin | None], object]
Failed = Callable[[NoHeader], object]


class Introductions:
    """Those of one process, each a task that `start` starts."""

    def __init__(self, start: Callable[..., object]) -> None:
        self._start = start
        self.waiting = 0

    def introduce(self, sock: Socket, known: Known, failed: Failed) -> None:
        """Call `known` with whom this connection is for, None for the balancer itself, or `failed`: at once where the
        header is there. The socket is theirs from then on."""
        reader = HeaderReader(sock)
        try:
            there = reader.read_nowait()
        except (HeaderError, OSError) as error:
            failed(_why(error, reader))
            return
        if there:
            known(reader.origin)
        elif self.waiting >= _MOST:
            failed(NoHeader(f"{_MOST} connections of balancers wait for their PROXY header already"))
        else:
            self.waiting += 1
            self._start(self._read, sock, reader, known, failed)

    async def _read(self, sock: Socket, reader: HeaderReader, known: Known, failed: Failed) -> None:
        try:
            with trio.fail_after(HEADER_SECONDS):
                while not reader.read_nowait():
                    await readable(sock)
        except trio.TooSlowError:
            failed(NoHeader(f"no PROXY header came within {HEADER_SECONDS:g} s"))
        except (HeaderError, OSError) as error:
            failed(_why(error, reader))
        except trio.Cancelled:
            failed(NoHeader(""))
            raise
        else:
            known(reader.origin)
        finally:
            self.waiting -= 1


def _why(error: HeaderError | OSError, reader: HeaderReader) -> NoHeader:
    if not reader.begun:
        return NoHeader("")  # it has left without a word, as health checks do
    return NoHeader(str(error) if isinstance(error, HeaderError) else errors.words(error))
