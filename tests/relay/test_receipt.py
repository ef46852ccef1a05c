"""Whether the client's kernel has all of a download (data/receipt.py), on real sockets."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ftpsproxy import net
from ftpsproxy.data import receipt
from ftpsproxy.data.relay.flow import RelayError
from tests.relay.test_contract import pair, reset


def fill(sock: socket.socket) -> None:
    """More than the far side's kernel takes, as it reads none of it."""
    while True:
        try:
            sock.send(bytes(65536))
        except BlockingIOError:
            return


async def test_a_client_that_has_all_is_not_waited_for() -> None:
    ours, far = pair()
    with ours, far:
        ours.send(b"all of it")
        await receipt.of_client(ours, 20)
        assert far.recv(100) == b"all of it"
        assert far.recv(100) == b""


@pytest.mark.parametrize("how", ["reset by the client", "closed here"])
async def test_a_client_that_goes_before_it_has_all(how: str) -> None:
    """Closed here: the session is stopped in mid-wait. It must not crash for that."""
    ours, far = pair()
    with ours, far:
        fill(ours)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(RelayError, match="broke the data connection"):
                    await receipt.of_client(ours, 20)
                nursery.cancel_scope.cancel()

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            reset(far) if how == "reset by the client" else net.close(ours)
            await trio.sleep_forever()


async def test_a_client_that_takes_nothing(autojump_clock: MockClock) -> None:
    ours, far = pair()
    with ours, far:
        fill(ours)
        began = trio.current_time()
        with pytest.raises(RelayError, match="took no bytes for 20 seconds"):
            await receipt.of_client(ours, 20)
        assert 20 <= trio.current_time() - began < 60  # counted from the last byte that it took
