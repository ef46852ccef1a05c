"""Names to addresses."""

import socket
from typing import Any

import trio

from ftpsproxy import errors
from ftpsproxy.net.addresses import Address
from ftpsproxy.net.waits import now


class ResolveError(Exception):
    """A name that has no address; `str()` is one line of which and why."""


async def _look_up(host: str, port: int) -> list[Any]:
    return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Question:
    """A name that is being looked up, for whoever asked first and all that came later."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answer: list[Address] | Exception = []
        self.answered = trio.Event()


class Resolver:
    """Names to addresses, each answer kept for a moment: a crowd of sessions asks once and wakes one thread.

    Whoever asks waits as long as it likes; the question is a task of `nursery`, and goes on for the others.
    """

    def __init__(self, nursery: trio.Nursery, keep_seconds: float = 5.0) -> None:
        self._nursery = nursery
        self._keep_seconds = keep_seconds
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._asked: dict[tuple[str, int], _Question] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of `host`. Raises ResolveError."""
        known = self._known.get((host, port))
        if known is not None and now() - known[0] < self._keep_seconds:
            return known[1]
        question = self._asked.get((host, port))
        if question is None:
            question = self._asked[host, port] = _Question()
            self._nursery.start_soon(self._ask, host, port, question)
        await question.answered.wait()
        if isinstance(question.answer, OSError):
            raise ResolveError(f"the name {host} can't be resolved: {errors.words(question.answer)}")
        if isinstance(question.answer, Exception):
            raise question.answer
        return question.answer

    async def _ask(self, host: str, port: int, question: _Question) -> None:
        """A failure is told to all who asked, and not kept."""
        try:
            found = await _look_up(host, port)
            question.answer = [(family, sockaddr) for family, _, _, _, sockaddr in found]
            self._known[host, port] = (now(), question.answer)
        except Exception as error:
            question.answer = error
        del self._asked[host, port]
        question.answered.set()

    def forget(self, host: str, port: int) -> None:
        """None of the addresses answered: ask again next time."""
        self._known.pop((host, port), None)
