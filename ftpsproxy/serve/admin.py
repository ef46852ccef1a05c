"""What probes and scrapers ask by HTTP: is the process alive, does it take clients, what has it counted.

    /healthz   200 while the process does its work: a probe that gets no answer should have it started anew
    /readyz    200 while new clients are let in, 503 from the moment it is told to stop
    /metrics   what all workers have counted (metrics.py), for Prometheus, or as OpenMetrics where that is asked for

Any worker answers for all, as they count in shared memory. Nothing here can be changed, and nothing of what clients say
is shown. A request has a few seconds and one answer; there is no second on the same connection. This is the only file
that knows prometheus_client and h11; it is imported only where it is wanted.
"""

import os
from collections.abc import Callable, Iterable

import h11
import trio
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from ftpsproxy import __version__, errors, net
from ftpsproxy.clients import is_allowed
from ftpsproxy.config import Network
from ftpsproxy.net import Socket
from ftpsproxy.observe import log, metrics
from ftpsproxy.observe.metrics import Family, Kind, Labels, Table

_REQUEST_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_CONNECTIONS = 32
_HEAD_BYTES = 16_384
_READ_BYTES = 4096
_TEXT = "text/plain; charset=utf-8"
_OPEN_METRICS = "application/openmetrics-text"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Page = tuple[int, str, bytes]
"""Status, content type, body."""


class Admin:
    """The HTTP server of one process. `open` has it listen; `ready` is asked whether clients are let in."""

    def __init__(self, table: Table, ready: Callable[[], bool]) -> None:
        self._table = table
        self._ready = ready
        self._sock: Socket | None = None
        self._clients: tuple[Network, ...] = ()
        self._changed = trio.Event()
        self._connections: dict[trio.CancelScope, None] = {}
        self._room = trio.Event()

    def open(self, sock: Socket | None, clients: tuple[Network, ...]) -> None:
        """Listen on this socket and no other, on none for None; closing it is for the caller."""
        self._clients = clients
        if sock is not self._sock:
            self._sock = sock
            self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._changed = trio.Event()
                async with trio.open_nursery() as listening:
                    if self._sock is not None:
                        listening.start_soon(self._listen, self._sock, nursery)
                    await changed.wait()
                    listening.cancel_scope.cancel()

    async def _listen(self, sock: Socket, nursery: trio.Nursery) -> None:
        """Take connections until cancelled. No error of the listener gets out: it would end all sessions."""
        while sock.fileno() >= 0:
            try:
                await self._have_room()
                connection, peer = await net.accepted(sock)
                scope = trio.CancelScope()
                self._connections[scope] = None  # from here on it counts
                nursery.start_soon(self._serve, connection, peer, scope)
            except OSError as error:
                if sock.fileno() < 0:
                    return  # it was closed in favour of another
                log.gateway_starved(detail=f"for probes: {errors.words(error)}")
                await trio.sleep(_AGAIN_SECONDS)

    async def _have_room(self) -> None:
        """Until one more connection may be taken. The oldest makes room: it has said nothing yet, as what is asked is
        answered at once."""
        while len(self._connections) >= _CONNECTIONS:
            next(iter(self._connections)).cancel()
            self._room = trio.Event()
            await self._room.wait()

    async def _serve(self, sock: Socket, peer: str, scope: trio.CancelScope) -> None:
        """One connection; a defect here must not end sessions."""
        scope.deadline = trio.current_time() + _REQUEST_SECONDS
        try:
            with scope:
                if is_allowed(peer, self._clients):  # a stranger is not even heard
                    await self._converse(sock)
        except OSError:
            pass  # it is gone
        except Exception as error:
            log.gateway_crashed(error=error)
        finally:
            net.close(sock)
            del self._connections[scope]
            self._room.set()

    async def _converse(self, sock: Socket) -> None:
        """One request, its answer, and the end. Nothing that is there is waited for: beside busy transfers each wait is
        a turn of all of theirs."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        event: object = None
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await net.receive(sock, _READ_BYTES))
            if not isinstance(event, h11.Request):
                return  # closed without a word
            page = self._page(event)
        except h11.RemoteProtocolError as error:
            page = error.error_status_hint, _TEXT, b"This is no HTTP request.\n"
        status, kind, body = page
        head = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        answer = connection.send(h11.Response(status_code=status, headers=head)) or b""
        if not isinstance(event, h11.Request) or event.method != b"HEAD":
            answer += connection.send(h11.Data(body)) or b""
        answer += connection.send(h11.EndOfMessage()) or b""
        await net.send_all(sock, answer)
        # What was not read, such as a body, would reset the connection before the answer is.
        sock.shutdown(net.SHUT_WR)
        with trio.move_on_after(_GOODBYE_SECONDS):
            while await net.receive(sock, _READ_BYTES):
                await net.turn()

    def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return 405, _TEXT, b"GET or HEAD only.\n"
        path = request.target.partition(b"?")[0]
        if path == b"/healthz":
            return 200, _TEXT, b"alive\n"
        if path == b"/readyz":
            return (200, _TEXT, b"ready\n") if self._ready() else (503, _TEXT, b"stopping\n")
        if path == b"/metrics":
            accept = b",".join(value for name, value in request.headers if name == b"accept")
            # Not all that it says: prometheus_client fails on, and repeats, whatever stands there as a version.
            encode, kind = choose_encoder(_OPEN_METRICS if _OPEN_METRICS.encode() in accept else "")
            return 200, kind, encode(_Scrape(self._table))
        return 404, _TEXT, b"There are /healthz, /readyz and /metrics.\n"


class _Scrape:
    """All metrics at this moment, as a registry of prometheus_client."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def collect(self) -> Iterable[Metric]:
        """Each family that has a series."""
        yield InfoMetricFamily("ftpsproxy_build", "The version that runs.", {"version": __version__})
        found = self._table.collect()
        cpu_of_lost = found.pop(metrics.CPU_OF_LOST, {}).get((), [0.0])[0]
        yield from _processes([row.pid for row in self._table.rows if row.pid], cpu_of_lost)
        for family, series in found.items():
            yield _metric(family, series)


def _metric(family: Family, series: dict[Labels, list[float]]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, values in series.items():
            total, buckets = 0.0, []
            for limit, number in zip((*map(str, family.buckets), "+Inf"), values, strict=False):
                total += number
                buckets.append((limit, total))
            histogram.add_metric(labels, buckets, values[-1])
        return histogram
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.text, labels=family.labels)
    for labels, values in series.items():
        metric.add_metric(labels, values[0])
    return metric


def _processes(pids: list[int], cpu_of_lost: float) -> Iterable[Metric]:
    """The usual figures, of all processes together, which prometheus_client has for one only; and not where, as in our
    systemd unit, /proc shows processes alone."""
    found = [figures for pid in pids if (figures := _process(pid)) is not None]
    cpu, memory, descriptors = (sum(column) for column in zip(*found, strict=True)) if found else (0.0, 0.0, 0.0)
    yield GaugeMetricFamily("ftpsproxy_processes", "Processes of the gateway.", value=len(found))
    yield CounterMetricFamily("process_cpu_seconds", "User and system CPU time.", value=cpu + cpu_of_lost)
    yield GaugeMetricFamily(
        "process_resident_memory_bytes", "Resident memory; shared pages count for each.", value=memory
    )
    yield GaugeMetricFamily("process_open_fds", "Open file descriptors.", value=descriptors)


def _process(pid: int) -> tuple[float, float, float] | None:
    """CPU seconds, resident bytes, open descriptors of a process, if it is there."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS, float(int(fields[21]) * _PAGE_BYTES), float(descriptors)
