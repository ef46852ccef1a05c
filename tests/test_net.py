"""Socket addresses, with and without a zone; names and who asks for them."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import trio

from ftpsproxy import net
from ftpsproxy.net import Resolver, now, resolver
from ftpsproxy.net.resolver import ResolveError


@pytest.mark.parametrize(
    ("sockaddr", "plain", "zoned"),
    [
        (("192.0.2.1", 21), "192.0.2.1", "192.0.2.1"),
        (("::ffff:192.0.2.1", 21, 0, 0), "192.0.2.1", "192.0.2.1"),
        (("2001:db8::1", 21, 0, 0), "2001:db8::1", "2001:db8::1"),
        (("fe80::1", 21, 0, 4), "fe80::1", "fe80::1%4"),
        (("fe80::1%eth0", 21, 0, 4), "fe80::1", "fe80::1%4"),
    ],
)
def test_a_zone_is_kept_apart(sockaddr: tuple[object, ...], plain: str, zoned: str) -> None:
    assert net.plain_address(sockaddr) == plain
    assert net.zoned_address(sockaddr) == zoned
    assert net.unzoned(zoned) == plain


def test_a_zone_is_part_of_the_socket_address() -> None:
    lo = socket.if_nametoindex("lo")
    assert net.numeric("192.0.2.1", 21) == (socket.AF_INET, ("192.0.2.1", 21))
    assert net.numeric("2001:db8::1", 21) == (socket.AF_INET6, ("2001:db8::1", 21, 0, 0))
    assert net.numeric("fe80::1%4", 21) == (socket.AF_INET6, ("fe80::1", 21, 0, 4))
    assert net.numeric("fe80::1%lo", 21) == (socket.AF_INET6, ("fe80::1", 21, 0, lo))
    with pytest.raises(OSError, match="interface"):
        net.numeric("fe80::1%nosuch", 21)


class Names:
    """In place of the system's resolver: counts who asks, and answers when told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.question = trio.Event()
        self.answer = trio.Event()
        self.failure: Exception | None = None

    async def look_up(self, host: str, port: int) -> list[Any]:
        self.asked.append(host)
        self.question.set()
        await self.answer.wait()
        if self.failure is not None:
            raise self.failure
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    async def awaited(self) -> None:
        """Until somebody has asked, and all others could."""
        await self.question.wait()
        await trio.sleep(0.01)


FOUND = [(socket.AF_INET, ("192.0.2.1", 21))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(resolver, "_look_up", found.look_up)
    return found


async def _resolve(asked: Resolver, answers: list[object], seconds: float = 60) -> None:
    try:
        with trio.fail_after(seconds):
            answers.append(await asked.resolve("a.test", 21))
    except (ResolveError, trio.TooSlowError, UnicodeError) as error:
        answers.append(error)


@pytest.fixture
async def helpers() -> AsyncIterator[trio.Nursery]:
    """Tasks that outlive those who have started them."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


async def test_a_crowd_asks_once(names: Names, helpers: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the answer comes, and once more when it is old."""
    later = 0.0
    monkeypatch.setattr(resolver, "now", lambda: now() + later)
    asked = Resolver(helpers, keep_seconds=100.0)
    answers: list[object] = []
    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(_resolve, asked, answers)
        await names.awaited()
        later = 200.0  # longer than an answer is kept: it counts from when it came
        names.answer.set()
    assert answers == [FOUND] * 500
    await _resolve(asked, answers)
    assert names.asked == ["a.test"]
    later = 400.0
    await _resolve(asked, answers)
    assert names.asked == ["a.test"] * 2
    assert answers[500:] == [FOUND] * 2


@pytest.mark.parametrize("who", ["first", "later"])
@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_who_gives_up_takes_nobody_along(names: Names, helpers: trio.Nursery, who: str, how: str) -> None:
    asked = Resolver(helpers)
    answers: list[object] = []
    hasty: list[object] = []
    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()

        async def leave() -> None:
            with leaving:
                await _resolve(asked, hasty, 0.05 if how == "late" else 60)

        if who == "later":
            nursery.start_soon(_resolve, asked, answers)
            await names.awaited()
        nursery.start_soon(leave)
        await names.awaited()
        for _ in range(3):
            nursery.start_soon(_resolve, asked, answers)
        await trio.sleep(0.1)  # all of them wait by then
        leaving.cancel()
        await trio.sleep(0.01)
        names.answer.set()
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert answers == [FOUND] * (3 if who == "first" else 4)
    assert [type(one) for one in hasty] == ([trio.TooSlowError] if how == "late" else [])
    assert names.asked == ["a.test"]


@pytest.mark.parametrize(
    ("failure", "kind", "why"),
    [
        (OSError(-2, "Name or service not known"), ResolveError, "a.test can't be resolved: name or service not known"),
        (UnicodeError("label too long"), UnicodeError, "label too long"),
    ],
)
async def test_a_failure_is_told_to_all_and_not_kept(
    names: Names, helpers: trio.Nursery, failure: Exception, kind: type[Exception], why: str
) -> None:
    names.failure = failure
    asked = Resolver(helpers)
    answers: list[object] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(_resolve, asked, answers)
        await names.awaited()
        names.answer.set()
    assert [type(one) for one in answers] == [kind] * 3
    assert all(why in str(one) for one in answers)
    names.failure = None
    await _resolve(asked, answers)
    assert answers[3:] == [FOUND]
    assert names.asked == ["a.test"] * 2


class _Forbidding:
    """A listener whose first callers are gone, or forbidden, when they are to be accepted."""

    def __init__(self, listener: socket.socket, errors: list[int]) -> None:
        self._listener = listener
        self._errors = errors

    def accept(self) -> Any:
        if self._errors:
            raise OSError(self._errors.pop(), "")
        return self._listener.accept()


async def test_errors_of_a_caller_are_not_the_listeners() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        forbidding = _Forbidding(listener, [errno.ECONNABORTED, errno.EPERM])
        sock, peer = await net.accepted(cast(socket.socket, forbidding))
        sock.close()
    assert peer == "127.0.0.1"
