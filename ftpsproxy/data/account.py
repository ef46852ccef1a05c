"""What there is to say of a transfer: that it begins, that it goes on, how it has ended."""

import time
from dataclasses import dataclass

from ftpsproxy.data.endpoints import Endpoints
from ftpsproxy.data.relay.flow import Flow
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.ftp.orders import Outcome, Transfer
from ftpsproxy.observe import log
from ftpsproxy.tls import Tls


@dataclass(frozen=True, slots=True)
class TransferResult:
    """All there is to say of a transfer's end. `reply` is what the client has heard, 0 where nobody was there to hear
    it; `failed` whose data connection did, and by what; `ttfb` how many of the `seconds` had passed when the first byte
    did; `facts` are the log's own."""

    order: Transfer
    direction: Direction
    outcome: Outcome
    reply: int
    why: str
    failed: tuple[Side, Cause] | None
    seconds: float
    ttfb: float | None
    client_mode: str
    server_mode: str
    tls: Tls | None
    flow: Flow
    facts: log.Facts | None

    def note(self) -> None:
        """Say it in the log."""
        flow, tls = self.flow, self.tls
        if flow.left_out:
            log.session_names_left_out(verb=self.order.verb.decode(), count=flow.left_out)
        log.transfer_finished(
            self.order,
            self.facts,
            direction=self.direction.value,
            bytes=flow.bytes,
            seconds=round(self.seconds, 4),
            ttfb_seconds=self.ttfb,
            client_mode=self.client_mode,
            upstream_mode=self.server_mode,
            tls_version=tls.version if tls is not None else None,
            cipher=tls.cipher if tls is not None else None,
            resumed=tls.resumed if tls is not None else None,
            close_notify=flow.close_notify,
            reply=self.reply or None,
            outcome=self.outcome,
            why=self.why,
            failed=self.failed,
            sha256=flow.digest.hexdigest() if flow.digest is not None else None,
        )


class Account:
    """One transfer's, while it lasts. `facts` are the log's as they were when it began: its client may have gone on, to
    another directory, before its end is noted."""

    __slots__ = ("_flow", "_said", "_started", "facts")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._said = 0
        self._started = time.monotonic()
        self.facts: log.Facts | None = None

    def begin(self, order: Transfer, endpoints: Endpoints) -> None:
        """It begins now."""
        self._started = time.monotonic()
        self.facts = log.facts(order.place)
        if log.debugs():
            self._say_started(order, order.direction, endpoints, None)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._started

    @property
    def ttfb(self) -> float | None:
        """How long it had when its first byte passed."""
        first = self._flow.first_at
        return None if first is None else round(first - self._started, 4)

    def note_progress(self, order: Transfer, direction: Direction, endpoints: Endpoints, every: float) -> None:
        """Say that it goes on, each time that so many seconds have passed; the first time, that it has begun, too."""
        seconds = round(self.seconds, 3)
        times = int(seconds / every)
        if times <= self._said:
            return
        if not self._said and not log.debugs():
            self._say_started(order, direction, endpoints, seconds)
        self._said = times
        log.transfer_progress(
            order,
            self.facts,
            direction=direction.value,
            bytes=self._flow.bytes,
            seconds=seconds,
            ttfb_seconds=self.ttfb,
        )

    def _say_started(self, order: Transfer, direction: Direction, endpoints: Endpoints, seconds: float | None) -> None:
        log.transfer_started(
            order,
            self.facts,
            direction=direction.value,
            client_mode=endpoints.client_mode,
            upstream_mode=endpoints.server_mode,
            seconds=seconds,
        )
