"""U27: TCP keepalive runs on both control connections, against NATs that forget them during long transfers."""

from __future__ import annotations

from pathlib import Path

from tests.faults.stage import Stage

KEEPALIVE = "02"  # the kind of timer in /proc/net/tcp


def _timer(local: int | None, remote: int | None) -> str | None:
    """The kind of timer that runs on the established socket with these ports (None: any)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, state, _, timer, *_ = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in (here, there)]
        if state == "01" and local in (None, ports[0]) and remote in (None, ports[1]):
            return timer.partition(":")[0]
    return None


def test_both_control_connections(stage: Stage) -> None:
    with stage.logged_in() as client:
        clients_port = client.sock.getsockname()[1]
        servers_view = stage.server.last.peer[1]
        stage.wait(lambda: _timer(stage.port, clients_port) == KEEPALIVE, "keepalive on the client's side")
        stage.wait(lambda: _timer(servers_view, stage.server.port) == KEEPALIVE, "keepalive on the server's side")
