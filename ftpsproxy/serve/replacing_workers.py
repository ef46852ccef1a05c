"""The hand-over to another process (handover.py) for the parent of several workers, both sides: step by step, as it has
a loop of its own."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from ftpsproxy.serve import outcomes
from ftpsproxy.serve.handover import START_SECONDS, TURN_SECONDS, HandoverError, Predecessor, Successor, needs_of
from ftpsproxy.serve.manager import Manager
from ftpsproxy.serve.replacing import BUSY, DONE, say_not_replaced, word
from ftpsproxy.serve.upstream_slots import UpstreamSlots


class Workers(Protocol):
    """What they are told."""

    def pause(self) -> None:
        """Accept nobody. Raises HandoverError."""

    def go_on(self) -> None:
        """Accept again."""

    def retire(self, pid: int) -> None:
        """That process accepts in their place."""


class Replacing:
    """A new process is to take the place of this one: from the signal on to the end of this one."""

    def __init__(self, successor: Successor, workers: Workers, manager: Manager, slots: UpstreamSlots) -> None:
        self._successor = successor
        self._workers = workers
        self._manager = manager
        self._slots = slots
        self._began = time.monotonic()
        self._wanted, self._until = "ready", self._began + START_SECONDS
        self._needs: dict[str, int] | None = None
        self.done = self.failed = False

    @property
    def busy(self) -> str:
        """Why there is nothing else to be done meanwhile."""
        return DONE if self.done else BUSY

    @property
    def under_way(self) -> bool:
        """Whether there is something to be waited for."""
        return not self.done and not self.failed

    def give_up(self, why: str) -> None:
        """There is no use for it any more, unless it has taken over."""
        if self.under_way:
            self.failed = True
            self._successor.end()
            say_not_replaced(self._began, why)

    def step(self) -> None:
        """What is to be done by now; to be called often, and every second once it is done."""
        if self.failed:
            return
        if self.done:
            if (needs := self._slots.needs()) != self._needs:
                self._needs = needs
                self._successor.say(needs=needs)
            return
        try:
            if (told := self._successor.hear()) is not None:
                word(told[0], self._wanted)
                self._next()
            elif time.monotonic() > self._until:
                raise HandoverError(f"the new process was not {self._wanted} in time")
        except (HandoverError, OSError) as error:
            self.give_up(str(error))
            self._workers.go_on()

    def _next(self) -> None:
        successor = self._successor
        if self._wanted == "ready":
            self._workers.pause()
            self._wanted, self._until = "serving", time.monotonic() + TURN_SECONDS
            successor.say(go=True, needs=self._slots.needs())
        else:
            self.done = True
            self._manager.hand_over(successor.pid)
            successor.say(main=True)
            outcomes.answer(outcomes.REPLACE, self._began, None)
            self._workers.retire(successor.pid)


class TakingOver:
    """This process is to take the place of the one before."""

    def __init__(self, before: Predecessor, slots: UpstreamSlots, main: Callable[[], None]) -> None:
        """`main` is called when it is the main one to the service manager."""
        self._before = before
        self._slots = slots
        self._main = main
        self._is_main = self._over = False

    def wait_for_turn(self) -> None:
        """All is ready: wait until the process before accepts nobody any more, or is gone. Raises HandoverError."""
        self._before.say(ready=True)
        until = time.monotonic() + START_SECONDS
        while (told := self._before.hear()) is None:
            if not self._before.wait(until - time.monotonic()):
                raise HandoverError("the process before has not let this one take over")
        self._hear(told[0])

    def serving(self) -> None:
        """Clients are let in."""
        self._before.say(serving=True)

    def step(self) -> None:
        """For as long as the process before goes on; to be called every second or so: leave room for its sessions."""
        while not self._over and (told := self._before.hear()) is not None:
            self._hear(told[0])
        if self._over or self._is_main:
            self._tell_main()

    def _hear(self, words: dict[str, Any]) -> None:
        if (needs := needs_of(words)) is not None:
            self._slots.set_needs(needs)
        self._over = self._over or bool(words.get("over"))
        self._is_main = self._is_main or bool(words.get("main"))

    def _tell_main(self) -> None:
        main, self._main = self._main, _nothing
        main()


def _nothing() -> None:
    pass
