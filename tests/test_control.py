"""The server's control connection under TLS, against an OpenSSL server that is driven step by step."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from OpenSSL import SSL

from ftpsproxy.session.server import ServerControl
from ftpsproxy.tls import Context, TlsError
from tests.support.certificates import Certificates


class Server:
    """The far side, which moves only when told to."""

    def __init__(self, sock: socket.socket, certificates: Certificates, version: int) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(version)
        context.use_certificate_chain_file(str(certificates.server.certificate_file))
        context.use_privatekey_file(str(certificates.server.key_file))
        context.set_session_id(b"control")
        self.sock = sock
        self.tls = SSL.Connection(context, None)
        self.tls.set_accept_state()

    def go_on(self, act: Callable[[], Any]) -> Any:
        """Do this, with what it needs from the other side."""
        while True:
            try:
                result = act()
            except SSL.WantReadError:
                self.flush()
                self.tls.bio_write(self.sock.recv(65536))
            else:
                self.flush()
                return result

    def flush(self) -> None:
        """Send what TLS has to say."""
        with contextlib.suppress(SSL.WantReadError):
            self.sock.sendall(self.tls.bio_read(65536))


@contextlib.asynccontextmanager
async def secured(
    certificates: Certificates, version: int, greeting: bytes = b""
) -> AsyncIterator[tuple[ServerControl, Server]]:
    """A control connection with TLS up, and the server. `greeting` comes in one piece with its end of
    the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), timeout=20)
        ours, _ = listener.accept()
    ours.setblocking(False)
    context = Context(verify=True, minimum="1.2", maximum="1.3")
    context.trust(certificates.ca_file)
    server = Server(far, certificates, version)

    def shake_hands() -> None:
        server.tls.do_handshake()
        if greeting:
            server.tls.send(greeting)

    with ours, far:
        with trio.fail_after(60):
            async with trio.open_nursery() as tasks:
                control = ServerControl(ours, tasks.start_soon, line_bytes=8192, reply_bytes=65536, reply_lines=100)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, server.go_on, shake_hands)
                    await control.start_tls(context.connect("localhost"))
                yield control, server
                tasks.cancel_scope.cancel()


async def test_a_command_in_the_middle_of_a_renegotiation_is_not_lost(certificates: Certificates) -> None:
    async with secured(certificates, SSL.TLS1_2_VERSION) as (control, server):
        server.tls.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            server.tls.do_handshake()
        server.flush()
        assert await control.receive()  # HelloRequest: a new handshake has begun
        control.send(b"MKD one\r\n")

        async def hear() -> None:
            while True:
                await control.receive()

        heard: list[bytes] = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear)
                heard.append(await trio.to_thread.run_sync(server.go_on, lambda: server.tls.recv(100)))
                nursery.cancel_scope.cancel()
        assert heard == [b"MKD one\r\n"]


async def test_a_greeting_that_comes_with_the_end_of_the_handshake_is_heard(certificates: Certificates) -> None:
    """Implicit TLS 1.2: Finished is the server's, and its greeting right behind it."""
    async with secured(certificates, SSL.TLS1_2_VERSION, b"220 hello\r\n") as (control, _):
        assert await control.receive()
        reply = control.pop()
        assert reply is not None
        assert reply.code == 220


async def test_bytes_of_tls_alone_do_not_bring_an_old_limit_back(certificates: Certificates) -> None:
    async with secured(certificates, SSL.TLS1_3_VERSION) as (control, server):
        while control.tls is not None and control.tls.session is None:  # tickets
            assert await control.receive()
        server.tls.send(b"200 a reply that stops in the middle of its record\r\n")
        server.sock.sendall(server.tls.bio_read(65536)[:20])
        with trio.fail_after(10):
            assert await control.receive()
        assert control.pop() is None
        with trio.move_on_after(0.1) as limit:
            await control.receive()
        assert limit.cancelled_caught


async def test_nothing_more_is_waited_for_behind_close_notify(certificates: Certificates) -> None:
    async with secured(certificates, SSL.TLS1_2_VERSION) as (control, server):
        server.tls.send(b"226 done\r\n")
        server.tls.shutdown()
        server.flush()
        with trio.fail_after(10):
            assert await control.receive()
            reply = control.pop()
            assert reply is not None
            assert reply.code == 226
            assert not await control.receive()


async def test_a_reply_in_one_piece_with_an_alert_is_heard_first(certificates: Certificates) -> None:
    """What came whole was said, whatever broke behind it."""
    async with secured(certificates, SSL.TLS1_2_VERSION) as (control, server):
        server.tls.send(b"226 done\r\n")
        server.tls.bio_write(b"\x17\x03\x03\x00\x20" + bytes(32))  # which it can't read: it says so by an alert
        with contextlib.suppress(SSL.Error):
            server.tls.recv(1)
        server.flush()
        assert await control.receive()
        reply = control.pop()
        assert reply is not None
        assert reply.code == 226
        with pytest.raises(TlsError):
            await control.receive()


async def test_close_notify_waits_for_the_end_of_a_new_handshake(certificates: Certificates) -> None:
    """Said in its middle it would not be said at all, and FIN alone be a cut."""
    async with secured(certificates, SSL.TLS1_2_VERSION) as (control, server):
        assert control.tls is not None
        server.tls.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            server.tls.do_handshake()
        server.flush()
        assert await control.receive()
        assert not control.tls.end()

        async def finish() -> None:
            while control.tls is not None and not control.tls.end():
                await control.receive()
            await control.say_goodbye(hear_end=False)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(finish)
                with pytest.raises(SSL.ZeroReturnError):
                    await trio.to_thread.run_sync(server.go_on, lambda: server.tls.recv(100))
