"""What `ftpsproxy check --connect` does: a session with every upstream, side by side, up to the greeting that a client
would hear. So TCP, TLS, the certificate and PROT P are tried as they will be used; no login, no file."""

import contextlib
import dataclasses
import io
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from ftpsproxy.config import Admin, Limits, Listener, Process, Settings
from ftpsproxy.observe import log
from ftpsproxy.serve import process

_REPLY_BYTES = 4096
_HERE = "127.0.0.1"
_PLENTY = 1_000_000  # our own limits are not what is tried


@dataclass(frozen=True, slots=True)
class Tried:
    """How it went with one upstream; `facts` are those of `upstream.secured`, or of `upstream.failed`."""

    ok: bool
    said: str
    milliseconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """One line for people."""
        if not self.ok:
            return f"FAILED: {self.said}"
        facts = self.facts
        left = f", {facts['days_left']} days left" if facts.get("days_left") is not None else ""
        return (
            f"ok: {facts.get('tls_version')} {facts.get('cipher')} with {facts.get('server_address')}, certificate "
            f"{facts.get('subject') or '(its subject can not be read)'}{left}, verified by {facts.get('verified_by')}, "
            f"pin {facts.get('pin')}, {self.milliseconds:.0f} ms"
        )


def try_all(settings: Settings) -> dict[str, Tried]:
    """By the names of the upstreams; each takes no longer than a session's opening may."""
    lines = io.StringIO()
    log.configure("json", "info", lines)
    tried = trio.run(_try_all, settings)
    for line in lines.getvalue().splitlines():
        event = json.loads(line)
        if event["event"] in ("upstream.secured", "upstream.failed", "session.crashed") and event["upstream"] in tried:
            tried[event["upstream"]].facts.update(event)
    return tried


async def _try_all(settings: Settings) -> dict[str, Tried]:
    listeners = tuple(Listener(name, _HERE, 0, upstream=name, dial="connect") for name in settings.upstreams)
    limits = Limits(sessions=_PLENTY, sessions_per_client=_PLENTY, sessions_per_second=_PLENTY)
    trial = dataclasses.replace(settings, listeners=listeners, limits=limits, admin=Admin(), process=Process())
    tried: dict[str, Tried] = {}
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        _, real = await nursery.start(partial(process.serve, trial, stop=stop))
        async with trio.open_nursery() as clients:
            for listener in real.listeners:
                clients.start_soon(_try_one, listener, tried)
        stop.set()
    return tried


async def _try_one(listener: Listener, tried: dict[str, Tried]) -> None:
    began = trio.current_time()
    said = b""
    async with await trio.open_tcp_stream(_HERE, listener.port) as stream:
        while not said.endswith(b"\n") and (data := await stream.receive_some(_REPLY_BYTES)):
            said += data
        milliseconds = (trio.current_time() - began) * 1000
        with contextlib.suppress(trio.BrokenResourceError):  # behind a refusal
            await stream.send_all(b"QUIT\r\n")
            while await stream.receive_some(_REPLY_BYTES):
                pass
    words = said.decode("ascii", "backslashreplace").strip()
    reason = words.partition(" ")[2].removeprefix("Service not available: ")
    tried[listener.upstream] = Tried(said.startswith(b"220"), reason or "no answer", milliseconds)
