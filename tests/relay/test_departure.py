"""Which of a client's two connections ended first, and what that makes of its upload."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from ftpsproxy import net
from ftpsproxy.relay.contract import RelayError
from ftpsproxy.relay.departure import Departure


@pytest.fixture
def far() -> Iterator[tuple[Departure, socket.socket, socket.socket]]:
    """What is known, and the client's own ends of data and control."""
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        near, ends = [], []
        for _ in range(2):
            ends.append(stack.enter_context(socket.create_connection(listener.getsockname(), timeout=20)))
            near.append(stack.enter_context(listener.accept()[0]))
        yield stack.enter_context(contextlib.closing(Departure(*near))), ends[0], ends[1]


@pytest.mark.parametrize("first", ["data", "control"])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("asked_between", [False, True])
async def test_who_ended_first(
    far: tuple[Departure, socket.socket, socket.socket], first: str, reset: bool, asked_between: bool
) -> None:
    departure, data, control = far
    for sock in (data, control):
        sock.sendall(b"bytes do not count")
    departure.look(18)
    for sock in (data, control) if first == "data" else (control, data):
        if reset:
            net.reset(sock)
        else:
            sock.shutdown(socket.SHUT_WR)
        if asked_between:
            departure.look(18)
    if first == "data":
        departure.end(18)
    else:
        with pytest.raises(RelayError, match="before its data"):
            departure.end(18)
        departure.end(19)  # which came behind the last look at which control stood
