"""A small FTPS server that holds thousands of sessions in one process: the upstream for the growth works.

``python -m tests.bench.light_server PORT CERTIFICATE KEY``. Explicit TLS, passive mode only. RETR of any path gives
1 KiB; STOR takes what comes. ProFTPD and vsftpd would need a process a session.
"""

from __future__ import annotations

import contextlib
import resource
import ssl
import sys
from collections.abc import AsyncIterator

import trio

CONTENT = b"0123456789abcdef" * 64
SIMPLE = {
    b"USER": b"331 Password, please",
    b"PASS": b"230 Logged in",
    b"PBSZ": b"200 PBSZ=0",
    b"PROT": b"200 Protection level P",
    b"TYPE": b"200 Type set",
    b"NOOP": b"200 Done",
    b"SYST": b"215 UNIX Type: L8",
    b"OPTS": b"200 Done",
    b"PWD": b'257 "/" is the current directory',
}


class Session:
    """One control connection and at most one passive listener."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._stream: trio.abc.Stream = stream
        self._context = context
        self._passive: trio.SocketListener | None = None
        self._buffer = bytearray()

    async def serve(self) -> None:
        """Answer until QUIT or the end of the connection."""
        try:
            await self._say(b"220 light")
            async for line in self._lines():
                verb = line.partition(b" ")[0].upper()
                if verb == b"QUIT":
                    await self._say(b"221 Bye")
                    break
                await self._answer(verb)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ssl.SSLError):
            pass
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await self._close_passive()
            await trio.aclose_forcefully(self._stream)

    async def _lines(self) -> AsyncIterator[bytes]:
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if end:
                self._buffer = rest
                yield bytes(line)
                continue
            more = await self._stream.receive_some(4096)
            if not more:
                return
            self._buffer += more

    async def _say(self, line: bytes) -> None:
        await self._stream.send_all(line + b"\r\n")

    async def _answer(self, verb: bytes) -> None:
        if verb in SIMPLE:
            await self._say(SIMPLE[verb])
        elif verb == b"AUTH":
            await self._say(b"234 Go ahead")
            self._stream = trio.SSLStream(self._stream, self._context, server_side=True, https_compatible=True)
        elif verb == b"FEAT":
            await self._say(b"211-Features\r\n AUTH TLS\r\n EPSV\r\n PBSZ\r\n PROT\r\n UTF8\r\n211 End")
        elif verb in (b"PASV", b"EPSV"):
            await self._listen(verb)
        elif verb in (b"RETR", b"STOR"):
            await self._transfer(verb)
        else:
            await self._say(b"502 Not here")

    async def _listen(self, verb: bytes) -> None:
        await self._close_passive()
        (self._passive,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1)
        port = self._passive.socket.getsockname()[1]
        if verb == b"EPSV":
            await self._say(b"229 Extended passive (|||%d|)" % port)
        else:
            await self._say(b"227 Passive (127,0,0,1,%d,%d)" % divmod(port, 256))

    async def _close_passive(self) -> None:
        if self._passive is not None:
            await self._passive.aclose()
            self._passive = None

    async def _transfer(self, verb: bytes) -> None:
        if self._passive is None:
            await self._say(b"425 PASV first")
            return
        await self._say(b"150 Here it comes")
        with trio.fail_after(30):
            plain = await self._passive.accept()
        await self._close_passive()
        data = trio.SSLStream(plain, self._context, server_side=True)
        try:
            if verb == b"RETR":
                await data.send_all(CONTENT)
            else:
                while await data.receive_some(1 << 16):
                    pass
            await data.aclose()
        except trio.BrokenResourceError:
            await self._say(b"426 Data connection broken")
            return
        finally:
            await trio.aclose_forcefully(plain)
        await self._say(b"226 Done")


async def main(port: int, certificate: str, key: str) -> None:
    """Serve on 127.0.0.1:port until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def session(stream: trio.SocketStream) -> None:
        await Session(stream, context).serve()

    await trio.serve_tcp(session, port, host="127.0.0.1", backlog=4096)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
