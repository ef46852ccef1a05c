"""A defect of the gateway: it costs its own session, loudly, and nobody else's."""

from __future__ import annotations

import io
import json
from functools import partial

import pytest
import trio

from ftpsproxy.config import Listener, Settings, Timeouts, Upstream
from ftpsproxy.data.relay.download import Download
from ftpsproxy.observe import log
from ftpsproxy.serve import process
from tests.faults.stage import FILE
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates


async def test_a_crash_in_a_transfer_ends_its_session_alone(
    fault_certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's file is torn, it hears 421; the log has the transfer, and one session.crashed."""
    run, crashes = Download.run, [RuntimeError("a defect")]

    async def crash_once(self: Download) -> None:
        if crashes:
            raise crashes.pop()
        await run(self)

    monkeypatch.setattr(Download, "run", crash_once)
    pair, written, stop = fault_certificates.server, io.StringIO(), trio.Event()
    log.configure("json", "info", written)

    def play(port: int) -> None:
        with BadClient(port) as other, BadClient(port) as client:
            other.login()
            client.login()
            data = client.passive()
            assert client.command("RETR file").code == 150
            assert data.read_to_end().ended == "reset"
            assert client.reply().code == 421
            downloaded, replies = other.download()
            assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)

    try:
        with BadServer(pair.certificate_file, pair.key_file) as server:
            server.play(Quirks(), {b"file": FILE})
            roots = fault_certificates.ca_file
            upstream = Upstream("u", server.host, server.port, server_name="localhost", ca_file=roots)
            settings = Settings((Listener("a", "127.0.0.1", 0, "u"),), {"u": upstream}, timeouts=Timeouts(drain=5))
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    _, real = await nursery.start(partial(process.serve, settings, stop=stop))
                    await trio.to_thread.run_sync(play, real.listeners[0].port)
                    stop.set()
    finally:
        log.flush()
        log.configure("json", "info")
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    (crashed,) = [event for event in events if event["event"] == "session.crashed"]
    assert (crashed["error"], crashed["detail"]) == ("RuntimeError", "a defect")
    assert [event["outcome"] for event in events if event["event"] == "transfer.finished"] == ["torn", "complete"]
    assert len([event for event in events if event["event"] == "session.closed"]) == 2
