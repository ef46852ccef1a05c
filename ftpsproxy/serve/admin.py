"""What probes, scrapers and people ask by HTTP: is the process alive, does it take clients, what does it do.

    /healthz   200 while the process does its work: a probe that gets no answer should have it started anew
    /readyz    200 while new clients are let in, 503 from the moment it is told to stop
    /metrics   what all workers have counted (metrics.py), for Prometheus, or as OpenMetrics where that is asked for
    /          a page to look at (pages.py), for whoever may; what stands there as data: /status.json (status.py)

Any worker answers for all, as they count in shared memory. Nothing here can be changed, and nothing of what clients say
is shown but on the page. A request has a few seconds and one answer; there is no second on the same connection. This is
the only file that knows h11; it is imported only where it is wanted.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

import h11
import trio

from ftpsproxy import __version__, errors, net
from ftpsproxy.clients import is_allowed
from ftpsproxy.config import Admin as Settings
from ftpsproxy.net import Socket
from ftpsproxy.observe import log, metrics
from ftpsproxy.observe.labels import Labels
from ftpsproxy.observe.metrics import Family, Kind, Table
from ftpsproxy.serve import exposition, pages
from ftpsproxy.serve.pages import TEXT, Page
from ftpsproxy.serve.status import Status

_REQUEST_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_CONNECTIONS = 32
_HEAD_BYTES = 16_384
_READ_BYTES = 4096
_PART_BYTES = 32_768
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Admin:
    """The HTTP server of one process. `open` has it listen."""

    def __init__(self, table: Table, status: Status) -> None:
        self._table = table
        self.status = status
        self._sock: Socket | None = None
        self._settings = Settings()
        self._changed = trio.Event()
        self._connections: dict[trio.CancelScope, None] = {}
        self._room = trio.Event()

    def open(self, sock: Socket | None, settings: Settings) -> None:
        """Listen on this socket and no other, on none for None; closing it is for the caller."""
        self._settings = settings
        self.status.paths = settings.paths
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
                if is_allowed(peer, self._settings.clients):  # a stranger is not even heard
                    await self._converse(sock, peer)
        except OSError:
            pass  # it is gone
        except Exception as error:
            log.gateway_crashed(error=error)
        finally:
            net.close(sock)
            del self._connections[scope]
            self._room.set()

    async def _converse(self, sock: Socket, peer: str) -> None:
        """One request, its answer, and the end. Nothing that is there is waited for: beside busy transfers each wait is
        a turn of all of theirs."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        event: object = None
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await net.receive(sock, _READ_BYTES))
            if not isinstance(event, h11.Request):
                return  # closed without a word
            page = await self._page(event, peer)
        except h11.RemoteProtocolError as error:
            page = Page(error.error_status_hint, TEXT, b"This is no HTTP request.\n")
        body = page.body
        head = [("Content-Type", page.kind), ("Connection", "close"), *page.more.items()]
        if isinstance(body, bytes):
            head.append(("Content-Length", str(len(body))))
        answer = connection.send(h11.Response(status_code=page.status, headers=head)) or b""
        if not isinstance(event, h11.Request) or event.method != b"HEAD":
            for part in [body] if isinstance(body, bytes) else body:
                answer += connection.send(h11.Data(part)) or b""
                if len(answer) >= _PART_BYTES:
                    await net.send_all(sock, answer)
                    await net.turn()
                    answer = b""
        answer += connection.send(h11.EndOfMessage()) or b""
        await net.send_all(sock, answer)
        # What was not read, such as a body, would reset the connection before the answer is.
        sock.shutdown(net.SHUT_WR)
        with trio.move_on_after(_GOODBYE_SECONDS):
            while await net.receive(sock, _READ_BYTES):
                await net.turn()

    async def _page(self, request: h11.Request, peer: str) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return Page(405, TEXT, b"GET or HEAD only.\n")
        path = request.target.partition(b"?")[0]
        if path == b"/healthz":
            return Page(200, TEXT, b"alive\n")
        if path == b"/readyz":
            return Page(200, TEXT, b"ready\n") if self.status.ready() else Page(503, TEXT, b"stopping\n")
        if path == b"/metrics":
            accept = b",".join(value for name, value in request.headers if name == b"accept")
            # One version of each, whichever is asked for.
            open_metrics = b"application/openmetrics-text" in accept
            kind = exposition.OPEN_METRICS if open_metrics else exposition.PLAIN
            return Page(200, kind, exposition.parts(_all(self._table), open_metrics=open_metrics))
        if not pages.is_ours(path):
            return Page(404, TEXT, b"There are /healthz, /readyz, /metrics, and a page at /.\n")
        if (refusal := pages.refusal(self._settings, peer, dict(request.headers))) is not None:
            return refusal
        return pages.data(await self.status.all()) if path == pages.STATUS else pages.file(path)


_BUILD = Family("ftpsproxy_build", Kind.INFO, "The version that runs.", words={"version": (__version__,)})
_PROCESSES = Family("ftpsproxy_processes", Kind.GAUGE, "Processes of the gateway.")
_CPU = Family("process_cpu_seconds", Kind.COUNTER, "User and system CPU time.")
_MEMORY = Family("process_resident_memory_bytes", Kind.GAUGE, "Resident memory; shared pages count for each.")
_DESCRIPTORS = Family("process_open_fds", Kind.GAUGE, "Open file descriptors.")
_BEGAN = Family("process_start_time_seconds", Kind.GAUGE, "When the gateway was started.")


def _all(table: Table) -> Iterator[tuple[Family, Iterable[tuple[Labels, Sequence[float]]]]]:
    """All metrics. The usual figures are those of all processes together, which libraries have for one only; and not
    where, as in our systemd unit, /proc shows processes alone."""
    yield _BUILD, [((__version__,), (1.0,))]
    yield _BEGAN, [((), (table.began,))]
    found = [figures for row in table.rows if row.pid and (figures := _process(row.pid)) is not None]
    cpu, memory, descriptors = (sum(column) for column in zip(*found, strict=True)) if found else (0.0, 0.0, 0.0)
    for family, value in ((_PROCESSES, len(found)), (_MEMORY, memory), (_DESCRIPTORS, descriptors)):
        yield family, [((), (float(value),))]
    for family, series in table.shown():
        if family is metrics.CPU_OF_LOST:
            yield _CPU, [((), (cpu + sum(values[0] for _, values in series),))]
        else:
            yield family, series


def _process(pid: int) -> tuple[float, float, float] | None:
    """CPU seconds, resident bytes, open descriptors of a process, if it is there."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS, float(int(fields[21]) * _PAGE_BYTES), float(descriptors)
