"""What a relay owes (data/relay/flow.py), on real sockets against a blocking stdlib-ssl server in a thread.

A trio server would hold TLS 1.3 tickets back and so hide how uploads get lost.
"""

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.data.relay.download import Download
from ftpsproxy.data.relay.flow import Flow, RelayError, TransferPolicy
from ftpsproxy.data.relay.records import Records
from ftpsproxy.data.relay.relay import Patience
from ftpsproxy.data.relay.upload import Upload
from ftpsproxy.data.relay.upload_end import UploadEnd
from ftpsproxy.tls import Context, Tls
from ftpsproxy.tls.handshake import shake_hands
from tests.ftp.test_lines import cut
from tests.support.certificates import Certificates
from tests.support.control import UnreadControl

POLICY = TransferPolicy(client_stall=20, server_stall=20, handshake=20, data_connect=20, linger=20)
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
Behaviour = Callable[[ssl.SSLSocket], object]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on loopback: ours, non-blocking, and the far one, blocking with a limit."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), timeout=30)
        ours, _ = listener.accept()
    ours.setblocking(False)
    return ours, far


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock: socket.socket) -> bytes:
    """Until the end. Raises OSError for RST, ssl.SSLError for an end without close_notify."""
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


@dataclass
class Stage:
    """Both data connections, TLS up, a behaviour running on the far side of the server's."""

    client: socket.socket
    far_client: socket.socket
    server: socket.socket
    tls: Tls
    outcome: list[object]
    done: trio.Event
    far_control: socket.socket
    end: UploadEnd


@contextlib.asynccontextmanager
async def stage(certificates: Certificates, behaviour: Behaviour, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3):  # type: ignore[no-untyped-def] # the decorator makes the type
    """Set the stage; the server's behaviour runs in a thread after its handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(certificates.server.certificate_file, certificates.server.key_file)
    client, far_client = pair()
    server, far_server = pair()
    control, far_control = pair()
    end = UploadEnd(UnreadControl(control))
    end.watch(client)
    outcome: list[object] = []
    done = trio.Event()

    def serve() -> None:
        try:
            with context.wrap_socket(far_server, server_side=True, suppress_ragged_eofs=False) as secured:
                outcome.append(behaviour(secured))
        except (OSError, ssl.SSLError) as error:
            outcome.append(error)

    async def run() -> None:
        await trio.to_thread.run_sync(serve)
        done.set()

    tls = connect(certificates)
    with contextlib.ExitStack() as stack:
        for each in (client, far_client, server, far_server, control, far_control, end):
            stack.callback(each.close)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await shake_hands(server, tls)
            yield Stage(client, far_client, server, tls, outcome, done, far_control, end)
            server.close()
            client.close()


def connect(certificates: Certificates) -> Tls:
    """Our side of a TLS connection, the tests' authority trusted."""
    context = Context(verify=True, minimum="1.2", maximum="1.3")
    context.trust(certificates.ca_file)
    return context.connect("localhost")


def say_all(data: bytes) -> Behaviour:
    """Send `data` and end properly."""

    def behave(secured: ssl.SSLSocket) -> None:
        secured.sendall(data)
        with contextlib.suppress(OSError):
            secured.unwrap()

    return behave


def bare(secured: ssl.SSLSocket) -> socket.socket:
    """The TCP connection under a TLS one."""
    return socket.socket(fileno=secured.detach())


@VERSIONS
async def test_download(certificates: Certificates, version: ssl.TLSVersion) -> None:
    data = os.urandom(3_000_000)
    async with stage(certificates, say_all(data), version) as on:
        got: list[bytes] = []
        flow = Flow()
        flow.start_digest()
        async with trio.open_nursery() as nursery:

            async def collect() -> None:
                got.append(await trio.to_thread.run_sync(read_all, on.far_client))

            nursery.start_soon(collect)
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, POLICY).run()
            assert flow.bytes == len(data)
            assert flow.close_notify is True
            assert not got, "the end of file is the caller's to give"
            on.client.close()
        assert got == [data]


async def test_a_fast_sender_that_falls_slow_is_heard_at_once(certificates: Certificates) -> None:
    # A server whose bytes are let gather may have only a few more to say, and say no end.
    sizes = (8_000_000, 10, 1, 8_000_000, 1)
    come = threading.Semaphore(0)

    def behave(secured: ssl.SSLSocket) -> bool:
        for size in sizes:
            secured.sendall(b"x" * size)
            if not come.acquire(timeout=10):
                return False
        return True

    def take(far_client: socket.socket) -> None:
        for size in sizes:
            while size:
                size -= len(far_client.recv(min(size, 65536)))
            come.release()

    async with stage(certificates, behave) as on, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, take, on.far_client)
        await Download(on.client, on.server, on.tls, Records.behind(on.tls), Flow(), POLICY).run()
        await on.done.wait()
        assert on.outcome == [True]


async def test_much_is_let_gather_and_little_is_not(certificates: Certificates) -> None:
    ours, far = pair()

    def threshold() -> int:
        return ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    with ours, far:
        patience = Patience(ours)
        patience.took(100)
        await trio.sleep(0.003)
        assert not patience.begins()
        patience.ends()
        assert threshold() == 1, "little has come"
        patience.took(1_000_000)
        await trio.sleep(0.003)
        assert patience.begins()
        assert threshold() > 100_000, "much has come"
        patience.took(1)
        assert patience.begins(), "and goes on"
        assert not patience.begins(), "not for long: it would be a stall"
        patience.ends()
        assert threshold() == 1, "nothing more has come"


@pytest.mark.parametrize(("policy", "taken"), [("require", False), ("reply", True), ("ignore", True)])
async def test_download_without_close_notify(certificates: Certificates, policy: str, taken: bool) -> None:
    def behave(secured: ssl.SSLSocket) -> None:
        secured.sendall(b"x" * 5000)
        bare(secured).close()

    async with stage(certificates, behave) as on:
        flow = Flow()
        pace = TransferPolicy(20, 20, 20, 20, 20, close_notify=policy)
        if taken:
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, pace).run()
        else:
            with pytest.raises(RelayError, match="close_notify"):
                await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, pace).run()
        assert flow.close_notify is False
        assert flow.bytes == 5000


@pytest.mark.parametrize(("cut", "taken"), [(0, True), (7, False)])
async def test_data_that_comes_with_the_end_of_the_handshake(certificates: Certificates, cut: int, taken: bool) -> None:
    # A server that resumes nothing has the last word of a TLS 1.2 handshake, and its data may come in the same segment.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.server.certificate_file, certificates.server.key_file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = context.wrap_bio(incoming, outgoing, server_side=True)
    client, far_client = pair()
    server, far_server = pair()

    def serve() -> None:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                secured.do_handshake()
                break
            far_server.sendall(outgoing.read())
            incoming.write(far_server.recv(65536))
        for start in range(0, 50_000, 10_000):
            secured.write(bytes([start // 10_000]) * 10_000)
        data = outgoing.read()
        far_server.sendall(data[: len(data) - cut])
        far_server.shutdown(socket.SHUT_WR)

    tls = connect(certificates)
    flow = Flow()
    with client, far_client, server, far_server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, serve)
            await shake_hands(server, tls)
            assert tls.unread
            if taken:
                await Download(client, server, tls, Records.behind(tls), flow, POLICY).run()
                assert flow.bytes == 50_000
            else:
                with pytest.raises(RelayError, match="middle of a TLS record"):
                    await Download(client, server, tls, Records.behind(tls), flow, POLICY).run()


async def test_download_cut_inside_a_record_is_torn_whatever_the_policy(certificates: Certificates) -> None:
    # A man in the middle cuts the stream some bytes into a record; the FIN is as clean as can be.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate_file, certificates.server.key_file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    far = context.wrap_bio(incoming, outgoing, server_side=True)
    client, far_client = pair()
    server, far_server = pair()
    tls = connect(certificates)

    def serve() -> None:
        while True:
            try:
                far.do_handshake()
                break
            except ssl.SSLWantReadError:
                far_server.sendall(outgoing.read())
                incoming.write(far_server.recv(65536))
        far.write(b"a" * 10000)
        far.write(b"b" * 10000)
        far_server.sendall(outgoing.read()[:-3])
        far_server.shutdown(socket.SHUT_WR)

    with contextlib.closing(client), contextlib.closing(far_client), contextlib.closing(server), far_server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, serve)
            await shake_hands(server, tls)
            flow = Flow()
            pace = TransferPolicy(20, 20, 20, 20, 20, close_notify="ignore")
            with pytest.raises(RelayError, match="middle of a TLS record"):
                await Download(client, server, tls, Records.behind(tls), flow, pace).run()
            assert flow.bytes == 10000


@pytest.mark.parametrize(("policy", "taken"), [("reply", False), ("ignore", True)])
async def test_download_reset(certificates: Certificates, policy: str, taken: bool) -> None:
    async with stage(certificates, lambda secured: reset(bare(secured))) as on:
        flow = Flow()
        pace = TransferPolicy(20, 20, 20, 20, 20, close_notify=policy)
        if taken:
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, pace).run()
            assert flow.close_notify is False
        else:
            with pytest.raises(RelayError, match="server broke"):
                await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, pace).run()


async def test_download_to_a_client_that_resets(certificates: Certificates) -> None:
    async with stage(certificates, say_all(b"x" * 8_000_000)) as on:
        reset(on.far_client)
        with pytest.raises(RelayError, match="client broke"):
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), Flow(), POLICY).run()


async def test_download_to_a_client_that_resets_while_the_server_is_silent(certificates: Certificates) -> None:
    def behave(secured: ssl.SSLSocket) -> object:
        with contextlib.suppress(OSError, ssl.SSLError):
            return secured.recv(1)
        return None

    async with stage(certificates, behave) as on:
        reset(on.far_client)
        with pytest.raises(RelayError, match="client broke"):
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), Flow(), POLICY).run()


async def test_a_client_that_takes_nothing_stalls_the_download(certificates: Certificates) -> None:
    async with stage(certificates, say_all(b"x" * 30_000_000)) as on:
        flow = Flow()
        policy = TransferPolicy(0.3, 20, 20, 20, 20)
        with pytest.raises(RelayError, match="client took no bytes"):
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), flow, policy).run()
        assert flow.bytes < 30_000_000, "what nobody takes must not be gathered here"
        on.far_client.close()


async def test_a_silent_server_stalls_the_download(certificates: Certificates) -> None:
    def behave(secured: ssl.SSLSocket) -> object:
        with contextlib.suppress(OSError, ssl.SSLError):
            return secured.recv(1)
        return None

    async with stage(certificates, behave) as on:
        policy = TransferPolicy(20, 0.3, 20, 20, 20)
        with pytest.raises(RelayError, match="server sent no data"):
            await Download(on.client, on.server, on.tls, Records.behind(on.tls), Flow(), policy).run()


@VERSIONS
async def test_upload_to_a_slow_reader_with_a_small_window(certificates: Certificates, version: ssl.TLSVersion) -> None:
    data = os.urandom(8 * 1024 * 1024)

    def behave(secured: ssl.SSLSocket) -> bytes:
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        parts = []
        slow = 0
        while got := secured.recv(16384):  # raises unless the end is close_notify
            parts.append(got)
            if (slow := slow + 1) % 64 == 0:
                time.sleep(0.01)  # a slow disk
        return b"".join(parts)

    async with stage(certificates, behave, version) as on:
        async with trio.open_nursery() as nursery:

            def send() -> None:
                on.far_client.sendall(data)
                on.far_client.close()

            nursery.start_soon(trio.to_thread.run_sync, send)
            flow = Flow()
            upload = Upload(on.client, on.server, on.tls, on.end, flow, POLICY)
            await upload.run()
            assert flow.bytes == len(data)
            await upload.drain()
        await on.done.wait()
        assert on.outcome == [data]


async def test_a_server_that_is_slow_but_moves_has_not_stalled(certificates: Certificates) -> None:
    """A third of the send buffer must be free before the kernel lets us send again, here for several seconds."""

    def behave(secured: ssl.SSLSocket) -> int:
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        total = 0
        while got := secured.recv(16384):
            total += len(got)
            time.sleep(0.05)
        return total

    async with stage(certificates, behave) as on:
        on.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 150_000)
        on.far_client.sendall(b"x" * 350_000)
        on.far_client.close()
        flow = Flow()
        upload = Upload(on.client, on.server, on.tls, on.end, flow, TransferPolicy(20, 0.8, 20, 20, 20))
        await upload.run()
        await upload.drain()
        await on.done.wait()
        assert on.outcome == [350_000]


async def test_an_empty_upload_ends_properly(certificates: Certificates) -> None:
    async with stage(certificates, read_all) as on:
        on.far_client.close()
        upload = Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY)
        await upload.run()
        await upload.drain()
        await on.done.wait()
        assert on.outcome == [b""]


def receive_all_of(size: int, reached: threading.Event) -> Behaviour:
    """Read to the end, and tell when `size` bytes have come."""

    def behave(secured: ssl.SSLSocket) -> bytes:
        parts, total = [], 0
        while data := secured.recv(65536):
            parts.append(data)
            total += len(data)
            if total == size:
                reached.set()
        return b"".join(parts)

    return behave


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_client_that_ends_control_first_with_bytes_on_their_way_is_done(
    certificates: Certificates, how: str
) -> None:
    """A camera behind a slow line: its control connection's end overtakes the last bytes and the end of its data."""
    reached = threading.Event()

    async with stage(certificates, receive_all_of(1000, reached)) as on:

        def leave() -> None:
            on.far_client.sendall(b"x" * 1000)
            assert reached.wait(20)
            time.sleep(0.1)  # the relay waits for the client
            on.far_control.close() if how == "fin" else reset(on.far_control)
            for _ in range(4):
                time.sleep(0.3)  # a slow line, but without a pause that counts
                on.far_client.sendall(b"y" * 1000)
            on.far_client.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, leave)
            await Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY).run()
        await on.done.wait()
        assert on.outcome == [b"x" * 1000 + b"y" * 4000]


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("sent", [0, 1000])
async def test_a_client_that_ends_control_first_with_nothing_on_its_way_breaks_off(
    certificates: Certificates, sent: int, end: bool
) -> None:
    """Whether it then ends its data properly, as its kernel does when it is killed, or leaves it open."""
    reached = threading.Event()

    async with stage(certificates, receive_all_of(1000, reached)) as on:

        def leave() -> None:
            if sent:
                on.far_client.sendall(b"x" * 1000)
                assert reached.wait(20)
            time.sleep(0.1)  # the relay waits for the client
            on.far_control.close()
            if end:
                time.sleep(0.01)  # a kernel that ends one after the other
                on.far_client.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, leave)
            with pytest.raises(RelayError, match="control connection"):
                await Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY).run()
        reset(on.server)
        await on.done.wait()
        assert isinstance(on.outcome[0], OSError)


async def test_a_client_is_done_whose_last_bytes_and_ends_come_at_once(certificates: Certificates) -> None:
    """The relay reads bytes and end in one go before it can know that control ended a moment before the data."""
    async with stage(certificates, read_all) as on:
        on.far_client.sendall(b"x" * 100_000)
        on.far_control.close()
        on.far_client.close()
        await Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY).run()
        await on.done.wait()
        assert on.outcome == [b"x" * 100_000]


async def test_an_upload_whose_client_resets_never_ends_properly(certificates: Certificates) -> None:
    async with stage(certificates, read_all) as on:
        on.far_client.sendall(b"x" * 100_000)
        reset(on.far_client)
        with pytest.raises(RelayError, match="client broke"):
            await Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY).run()
        reset(on.server)
        await on.done.wait()
        assert isinstance(on.outcome[0], OSError)


@pytest.mark.parametrize("how", ["close_notify", "fin", "rst"])
async def test_a_server_that_ends_the_upload_early(certificates: Certificates, how: str) -> None:
    def behave(secured: ssl.SSLSocket) -> None:
        secured.recv(1)
        if how == "close_notify":
            with contextlib.suppress(OSError, ssl.SSLError):
                secured.unwrap()
        elif how == "fin":
            bare(secured).close()
        else:
            reset(bare(secured))

    async with stage(certificates, behave) as on:
        on.far_client.sendall(b"x" * 100)
        with pytest.raises(RelayError, match="server"):
            await Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY).run()


async def test_a_silent_client_stalls_the_upload(certificates: Certificates) -> None:
    async with stage(certificates, read_all) as on:
        with pytest.raises(RelayError, match="client sent no data"):
            await Upload(on.client, on.server, on.tls, on.end, Flow(), TransferPolicy(0.3, 20, 20, 20, 20)).run()
        reset(on.server)


async def test_a_reset_that_loses_the_uploads_tail_is_torn(certificates: Certificates) -> None:
    """The bytes are with the kernels, the server resets without having taken them: its 226 would be a lie."""

    def behave(secured: ssl.SSLSocket) -> None:
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        secured.recv(1)
        time.sleep(0.5)  # the upload ends meanwhile, most of it in the gateway's kernel
        reset(bare(secured))

    async with stage(certificates, behave) as on:
        on.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
        on.far_client.sendall(b"x" * 1_000_000)
        on.far_client.close()

        async def upload_and_drain() -> None:
            upload = Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY)
            await upload.run()
            await upload.drain()

        with pytest.raises(RelayError, match="server broke"):
            await upload_and_drain()


async def test_what_a_server_says_behind_broken_tls_is_not_kept(certificates: Certificates) -> None:
    """Behind an upload the server is heard until its end: all the while, if it goes on."""
    garbage = b"\x17\x03\x03\x00\x20" + b"no TLS at all" * 5000

    def behave(secured: ssl.SSLSocket) -> None:
        read_all(secured)
        sock = bare(secured)
        sock.settimeout(30)
        with sock:
            for _ in range(100):
                sock.sendall(garbage)

    async with stage(certificates, behave) as on:
        on.far_client.close()
        upload = Upload(on.client, on.server, on.tls, on.end, Flow(), POLICY)
        await upload.run()
        with pytest.raises(RelayError, match="behind the upload"):
            await upload.drain()
        assert on.tls.unread < 200_000
        reset(on.server)


def _records(chunks: Iterator[bytes]) -> bool:
    records = Records()
    for chunk in chunks:
        records.feed(memoryview(chunk))
    return records.whole


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(0, 400), st.lists(st.integers(0, 3000), max_size=9))
def test_record_ends_are_found_in_any_chunks(lengths: list[int], more: int, places: list[int]) -> None:
    stream = b"".join(b"\x17\x03\x03" + struct.pack(">H", length) + b"\xaa" * length for length in lengths)
    assert _records(iter(cut(stream, places)))
    torn = (b"\x17\x03\x03" + struct.pack(">H", 500) + b"\xbb" * more)[: more + 1]
    assert not _records(iter(cut(stream + torn, places)))
