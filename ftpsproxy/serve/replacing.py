"""The hand-over to another process (handover.py) as tasks of a single one: both sides of it."""

import time
from collections.abc import Callable, Mapping

import trio

from ftpsproxy import net
from ftpsproxy.observe import log
from ftpsproxy.serve import outcomes
from ftpsproxy.serve.gateway import Gateway
from ftpsproxy.serve.handover import START_SECONDS, TURN_SECONDS, HandoverError, Predecessor, Successor, needs_of
from ftpsproxy.serve.listening import Source
from ftpsproxy.serve.manager import Manager
from ftpsproxy.serve.upstream_slots import UpstreamSlots

_LOOK_SECONDS = 1.0
DONE, BUSY = "another process has taken over", "another process is about to take over"


def say_not_replaced(began: float, why: str) -> None:
    """All stays as it was."""
    log.gateway_replace_failed(detail=why)
    outcomes.answer(outcomes.REPLACE, began, why)


class Replacing:
    """A new process is to take the place of this one: from the signal on to the end of this one."""

    def __init__(self, gateway: Gateway, manager: Manager, source: Source, stop: trio.Event) -> None:
        self._gateway = gateway
        self._manager = manager
        self._source = source
        self._stop = stop
        self._began = time.monotonic()
        self._scope = trio.CancelScope()
        self._successor: Successor | None = None
        self.done = self.failed = self.hurried = False

    @property
    def busy(self) -> str:
        """Why there is nothing else to be done meanwhile."""
        return DONE if self.done else BUSY

    def give_up(self, why: str) -> None:
        """There is no use for it any more, unless it has taken over."""
        if not self.done and self._successor is not None:
            self._successor.end()  # at once: it would go on by itself if this process were gone before
            self._successor = None
            self._scope.cancel()
            self._fail(why)

    async def run(self) -> None:
        """Until this process ends, or the other one has failed."""
        try:
            successor = self._successor = Successor(self._gateway.sockets, self._source.passed)
        except HandoverError as error:
            self._fail(str(error))
            return
        try:
            with self._scope:
                await self._hand_over(successor)
        except (HandoverError, OSError) as error:
            successor.end()
            self._gateway.go_on()
            self._fail(str(error))
        if self.done:
            await self._tell_needs(successor)

    def _fail(self, why: str) -> None:
        self.failed = True
        say_not_replaced(self._began, why)

    async def _hand_over(self, successor: Successor) -> None:
        await _word(successor, "ready", START_SECONDS)
        self._gateway.pause()
        successor.say(go=True, needs=self._gateway.slots.needs())
        await _word(successor, "serving", TURN_SECONDS)
        self.done = True
        self._manager.hand_over(successor.pid)
        successor.say(main=True)
        outcomes.answer(outcomes.REPLACE, self._began, None)
        self._gateway.retire(successor.pid, self._stop)

    async def _tell_needs(self, successor: Successor) -> None:
        said = None
        while True:
            if (needs := self._gateway.slots.needs()) != said:
                said = needs
                successor.say(needs=needs)
            await trio.sleep(_LOOK_SECONDS)


def word(words: Mapping[str, object], wanted: str) -> None:
    """This is what the new process has said. Raises HandoverError when it is not what was wanted."""
    if wanted not in words:
        raise HandoverError(str(words.get("failed") or "the new process has ended; see standard error"))


async def _word(successor: Successor, wanted: str, seconds: float) -> None:
    """Until the new process has said it. Raises HandoverError."""
    with trio.move_on_after(seconds):
        word(await _next(successor), wanted)
        return
    raise HandoverError(f"the new process was not {wanted} in time")


async def _next(channel: Successor | Predecessor) -> dict[str, object]:
    while True:
        if (told := channel.hear()) is not None:
            return told[0]
        await net.readable(channel.sock)


async def take_over(before: Predecessor, gateway: Gateway) -> None:
    """All is ready: accept clients as soon as the process before does not any more. Raises HandoverError."""
    before.say(ready=True)
    with trio.move_on_after(START_SECONDS):
        words = await _next(before)
        gateway.slots.set_needs(needs_of(words) or {})
        gateway.go_on()  # if it is gone, by ourselves
        before.say(serving=True)
        return
    raise HandoverError("the process before has not let this one take over")


async def hear_of(before: Predecessor, slots: UpstreamSlots, main: Callable[[], None]) -> None:
    """For as long as the process before goes on: leave room for its sessions. `main` is called when this process is the
    main one to the service manager."""
    is_main = False
    while True:
        words = await _next(before)
        over = bool(words.get("over"))
        if (needs := needs_of(words)) is not None:
            slots.set_needs(needs)
        if not is_main and (over or words.get("main")):
            is_main = True
            main()
        if over:
            before.close()
            return
