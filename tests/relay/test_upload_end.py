"""Which of a client's two connections ended first, and what that makes of its upload."""

import contextlib
import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

from ftpsproxy import net
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.data.relay.upload_end import UploadEnd
from tests.support.control import UnreadControl

Pairs = list[tuple[socket.socket, socket.socket]]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Connections to choose data and control from: near end, far end."""
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        found = []
        for _ in range(3):
            far = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=20))
            found.append((stack.enter_context(listener.accept()[0]), far))
        yield found


def _crowded(_count: int) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_what_cannot_be_watched_is_not_believed(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    end = UploadEnd(UnreadControl(pairs[1][0]))
    monkeypatch.setattr(select, "epoll", _crowded)
    end.watch(pairs[0][0])
    for ask in (end.look, end.end):
        with pytest.raises(RelayError, match="too many open files"):
            ask(0)


async def test_what_is_there_when_control_is_lost_does_not_count(pairs: Pairs) -> None:
    """Before the relay has begun nobody looks: what came is in the kernel, and what ended it has not come."""
    end = UploadEnd(UnreadControl(pairs[1][0]))
    end.watch(pairs[0][0])
    with contextlib.closing(end):
        pairs[0][1].sendall(b"x" * 1000)
        pairs[1][1].close()
        end.control_lost(500)
        end.control_lost(5000)  # said once
        with pytest.raises(RelayError):
            end.end(1500)
        end.end(1501)


async def test_what_was_there_before_the_command_does_not_count(pairs: Pairs) -> None:
    end = UploadEnd(UnreadControl(pairs[1][0]))
    pairs[0][1].sendall(b"x" * 1000)
    end.watch(pairs[0][0])
    with contextlib.closing(end):
        for far in (pairs[1][1], pairs[0][1]):
            far.close()
        with pytest.raises(RelayError):
            end.end(1000)
        end.end(1001)


async def test_a_new_data_connection_is_begun_with_anew(pairs: Pairs) -> None:
    """Behind a refusal a client may come again by the same port: what it ended then says nothing of this file."""
    (refused, its_far), (again, far), (near_control, control) = pairs
    end = UploadEnd(UnreadControl(near_control))
    its_far.sendall(b"x" * 1000)
    its_far.close()
    end.watch(refused)
    end.watch(again)
    with contextlib.closing(end):
        for sock in (control, far):
            sock.close()
        with pytest.raises(RelayError):
            end.end(0)


async def test_control_lost_behind_the_datas_end_changes_nothing(pairs: Pairs) -> None:
    end = UploadEnd(UnreadControl(pairs[1][0]))
    end.watch(pairs[0][0])
    with contextlib.closing(end):
        for far in (pairs[0][1], pairs[1][1]):
            far.close()
        end.control_lost(0)
        end.end(0)


@pytest.mark.parametrize("first", ["data", "control"])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("asked_between", [False, True])
async def test_who_ended_first(pairs: Pairs, first: str, reset: bool, asked_between: bool) -> None:
    (near, data), (near_control, control), _ = pairs
    end = UploadEnd(UnreadControl(near_control))
    end.watch(near)
    with contextlib.closing(end):
        for sock in (data, control):
            sock.sendall(b"bytes do not count")
        end.look(18)
        for sock in (data, control) if first == "data" else (control, data):
            if reset:
                net.reset(sock)
            else:
                sock.shutdown(socket.SHUT_WR)
            if asked_between:
                end.look(18)
        if first == "data":
            end.end(18)
        else:
            with pytest.raises(RelayError, match="before its data"):
                end.end(18)
            end.end(19)  # which came behind the last look at which control stood
