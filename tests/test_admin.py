"""Probes and metrics over HTTP: what they are told, and that nobody can do harm there."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import h11
import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from ftpsproxy import __version__
from ftpsproxy.config import Admin as Settings
from ftpsproxy.observe import metrics
from ftpsproxy.observe.labels import Names
from ftpsproxy.observe.metrics import Table
from ftpsproxy.serve.admin import Admin
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.status import Status


@dataclass
class Site:
    """A running one."""

    admin: Admin
    port: int
    table: Table
    ready: bool = True

    async def ask(self, request: str, body: bytes = b"") -> tuple[int, str, str]:
        """Status, content type, body."""
        return _read(await self.say(request.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body))

    async def get(self, path: str, *headers: str) -> tuple[int, str, str]:
        """The same, of a page."""
        return await self.ask("\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers]))

    async def say(self, data: bytes) -> bytes:
        """All that comes for these bytes until the end."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(data)
            await stream.send_eof()
            return b"".join([part async for part in stream])


def _read(said: bytes, method: str = "GET") -> tuple[int, str, str]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(said)
    connection.receive_data(b"")
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    headers = dict(response.headers)
    assert headers[b"connection"] == b"close"
    return response.status_code, headers[b"content-type"].decode(), body.decode()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """For one test."""
    table = Table(2)
    metrics.count_in(table, 0)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        admin = Admin(table, Status(table, Board(2), list, lambda: running.ready))
        running = Site(admin, sock.getsockname()[1], table)
        admin.open(sock, Settings())
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(admin.run)
                yield running
                nursery.cancel_scope.cancel()


async def test_probes() -> None:
    async with site() as running:
        assert await running.get("/healthz") == (200, "text/plain; charset=utf-8", "alive\n")
        assert await running.get("/readyz?verbose") == (200, "text/plain; charset=utf-8", "ready\n")
        running.ready = False
        assert await running.get("/readyz") == (503, "text/plain; charset=utf-8", "stopping\n")
        assert (await running.get("/healthz"))[0] == 200
        assert (await running.get("/nothing"))[0] == 404


async def test_metrics_can_be_parsed_in_both_forms() -> None:
    async with site() as running:
        metrics.SESSIONS.add("a", "u", by=3)
        metrics.TRANSFER_SECONDS.observe("a", "u", "upload", value=0.02)
        metrics.TRANSFER_SECONDS.observe("a", "u", "upload", value=9000)
        metrics.count_in(running.table, 1)
        metrics.SESSIONS.add("a", "u", by=4)
        status, kind, text = await running.get("/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        status, kind, open_text = await running.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0")
        assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    for families in (list(parse(text)), list(parse_open(open_text))):  # type: ignore[no-untyped-call]
        samples = {(one.name, one.labels.get("le", "")): one for family in families for one in family.samples}
        assert samples["ftpsproxy_sessions_total", ""].value == 7
        assert samples["ftpsproxy_sessions_total", ""].labels == {"listener": "a", "upstream": "u"}
        assert samples["ftpsproxy_build_info", ""].labels == {"version": __version__}
        assert samples["ftpsproxy_transfer_seconds_bucket", "0.05"].value == 1
        assert samples["ftpsproxy_transfer_seconds_bucket", "+Inf"].value == 2
        assert samples["ftpsproxy_transfer_seconds_sum", ""].value == 9000.02
        assert samples["process_resident_memory_bytes", ""].value > 1e6
        assert samples["process_cpu_seconds_total", ""].value > 0
        assert samples["ftpsproxy_processes", ""].value == 2  # two rows of one process, here


async def test_metrics_of_many_servers_come_in_parts_and_hold_up_nobody() -> None:
    pairs = [(f'listener "{number}" at 50%', f"server\\{number}") for number in range(300)]
    async with site() as running:
        running.table.names = Names(tuple(pairs))
        metrics.SESSIONS.add(*pairs[17])
        async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            said = await stream.receive_some(100)
            assert (await running.get("/healthz"))[0] == 200
            said += b"".join([part async for part in stream])
        assert b"transfer-encoding: chunked" in said[:300].lower()
        samples = [one for family in parse(_read(said)[2]) for one in family.samples]
    sessions = {one.labels["listener"]: one for one in samples if one.name == "ftpsproxy_sessions_total"}
    assert {(one.labels["listener"], one.labels["upstream"]): one.value for one in sessions.values()} == {
        pair: float(number == 17) for number, pair in enumerate(pairs)
    }
    buckets = [one for one in samples if one.name == "ftpsproxy_transfer_seconds_bucket"]
    assert {(one.labels["listener"], one.labels["upstream"]) for one in buckets} == set(pairs)


async def test_only_who_may_and_only_to_read() -> None:
    async with site() as running:
        status, _, text = await running.ask("POST /metrics HTTP/1.1\nHost: a\nContent-Length: 200000", b"x" * 200_000)
        assert (status, text) == (405, "GET or HEAD only.\n")


async def test_strangers_are_not_even_heard() -> None:
    async with site() as running:
        running.admin.open(running.admin._sock, Settings(clients=(ip_network("10.0.0.0/8"), ip_network("::1/128"))))
        assert await running.say(b"") == b""
        with pytest.raises((trio.BrokenResourceError, ExceptionGroup)):
            assert await running.get("/metrics")
        running.admin.open(running.admin._sock, Settings(clients=(ip_network("127.0.0.1/32"),)))
        assert (await running.get("/healthz"))[0] == 200


async def test_head_has_no_body() -> None:
    async with site() as running:
        said = await running.say(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert said.endswith(b"\r\n\r\n")
        assert b"Content-Length: 6\r\n" in said


async def test_what_is_no_request_hears_so() -> None:
    async with site() as running:
        assert await running.say(b"") == b""
        assert _read(await running.say(b"GET /met"))[0] == 400
        assert _read(await running.say(b"USER anna\r\n\r\n"))[0] == 400
        assert _read(await running.say(b"\x16\x03\x01\x02\x00" * 10 + b"\r\n\r\n"))[0] == 400
        assert _read(await running.say(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000))[0] == 431
        assert (await running.get("/healthz"))[0] == 200


async def test_many_that_say_nothing_do_not_keep_probes_waiting(mock_clock: trio.testing.MockClock) -> None:
    """Time stands still here: it is not for the ten seconds a request has that the probe is answered."""
    async with site() as running:
        idle = [await trio.open_tcp_stream("127.0.0.1", running.port) for _ in range(40)]
        assert (await running.get("/healthz"))[0] == 200
        for stream in idle[:9]:
            assert await stream.receive_some() == b""
        mock_clock.jump(10)
        for stream in idle[9:]:
            assert await stream.receive_some() == b""
        for stream in idle:
            await stream.aclose()


@pytest.mark.parametrize("version", ["abc", "1..0", "1.0.0=3", "2.\xe9", "", "9" * 30, "2.0.0;escaping=allow-utf-8"])
async def test_whatever_version_is_asked_for_there_are_metrics(version: str) -> None:
    async with site() as running:
        for kind in ("text/plain", "application/openmetrics-text"):
            request = f"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {kind};version={version}\r\n\r\n"
            status, answered, text = _read(await running.say(request.encode("latin-1")))
            assert (status, answered.partition("/")[0]) in [(200, "text"), (200, "application")]
            assert "ftpsproxy_build_info" in text


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EPERM, errno.EINVAL])
async def test_what_befalls_its_listener_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, code: int
) -> None:
    left = 3
    accept = socket.socket.accept

    def failing_accept(sock: socket.socket) -> tuple[socket.socket, object]:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(code, "")
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", failing_accept)
    async with site() as running:
        assert (await running.get("/healthz"))[0] == 200
    assert left < 0


async def test_it_moves_to_another_address() -> None:
    async with site() as running:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            running.port = sock.getsockname()[1]
            running.admin.open(sock, Settings())
            assert (await running.get("/healthz"))[0] == 200
            running.admin.open(None, Settings())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="connect"):
            await running.get("/healthz")
