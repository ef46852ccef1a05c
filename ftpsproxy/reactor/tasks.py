"""A task, what it can wait for, and what is known of the sockets it waits for. Knows no trio."""

import contextvars
import select
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from socket import socket as Socket
from typing import Any, Protocol

NEVER = float("inf")

READABLE, WRITABLE, FLAG, TURN, LEND, SELF = range(6)
# Of a socket that is only read from it is no news that there is room to send, which there is from the first.
INTEREST = (select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET, select.EPOLLOUT | select.EPOLLET)

# A task yields one of these kinds, what it is about, and until when → whether it came about in time.
Wait = Generator[Any, Any, bool]


class Cancelled(BaseException):
    """Raised where a cancelled task waits; goes through everything."""


class Loop(Protocol):
    """What a task knows of the loop it runs in."""

    def make_ready(self, task: "Task", answer: object) -> None:
        """This task can go on."""

    def watch(self, sock: Socket, interest: int) -> "Watch":
        """What is known of a socket; raises OSError for a closed one."""

    def arm(self, task: "Task", time: float) -> None:
        """Have `task.alarm` called at this time."""

    def lend(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run this as a task of trio's."""

    def ended(self, task: "Task") -> None:
        """This task is over."""


class Watch:
    """A registered socket: who waits for it, and news nobody waited for: how many reads it is worth; whether there is
    room."""

    __slots__ = ("came", "interest", "reader", "room", "since", "sock", "writer")

    def __init__(self, sock: Socket, interest: int, since: int) -> None:
        self.sock = sock
        self.interest = interest
        self.since = since  # which look at epoll came before: its news is of another socket with the same descriptor
        self.reader: Task | None = None
        self.writer: Task | None = None
        self.came = 0
        self.room = False


Crashed = Callable[[BaseException], None]


def _over(*_: object) -> Any:
    """What a task that is over can still do."""


class Task:
    """A coroutine under way; made by Reactor.start."""

    __slots__ = (
        "_armed",
        "_cancelled",
        "_crashed",
        "_reactor",
        "_run",
        "_send",
        "_throw",
        "_waits",
        "due",
        "over",
        "place",
    )

    def __init__(self, reactor: Loop, coroutine: Coroutine[Any, Any, None], crashed: Crashed) -> None:
        self._reactor = reactor
        self._send = coroutine.send
        self._throw = coroutine.throw
        self._run: Callable[..., Any] = contextvars.copy_context().run
        self._crashed = crashed
        self.due = NEVER
        self._armed = NEVER
        self._cancelled = False
        self._waits = False
        self.place: Watch | Flag | None = None
        self.over = False

    def wake(self, answer: bool = False) -> None:
        """End the present wait, if there is one, with this answer."""
        if self._waits:
            place = self.place
            if type(place) is Watch:
                if place.reader is self:
                    place.reader = None
                elif place.writer is self:
                    place.writer = None
            elif type(place) is Flag:
                place.task = None
            self.found()
            self._reactor.make_ready(self, answer)

    def found(self) -> None:
        """What it waits for is there; whoever says so has it run."""
        self._waits = False
        self.place = None
        self.due = NEVER

    def cancel(self) -> None:
        """Raise Cancelled in it, where it waits or is to wait next."""
        self._cancelled = True
        self.wake()

    def deadline(self, due: float) -> None:
        """Move the deadline of the present wait, if there is one."""
        if self._waits:
            self._limit(due)

    def _limit(self, due: float) -> None:
        self.due = due
        if due < self._armed:
            self._armed = due
            self._reactor.arm(self, due)

    def alarm(self, time: float) -> None:
        """A timer of this task is due."""
        if self._armed > time:
            return  # an old one
        self._armed = NEVER
        if self.due <= time:
            self.wake(False)
        elif self.due < NEVER:
            self._limit(self.due)

    def expects(self, time: float) -> bool:
        """Whether a timer at this time is still of use."""
        return not self.over and self._armed == time

    def step(self, answer: object) -> None:
        """Go on until the next wait that does not end at once."""
        error: BaseException | None = None
        reactor, run = self._reactor, self._run
        try:
            while True:
                if self._cancelled:
                    self._cancelled, error = False, Cancelled()
                if error is None:
                    kind, what, until = run(self._send, answer)
                else:
                    thrown, error = error, None
                    kind, what, until = run(self._throw, thrown)
                if self._cancelled:
                    continue
                if kind <= WRITABLE:
                    try:
                        watch = reactor.watch(what, INTEREST[kind])
                    except OSError as closed:
                        error = closed
                        continue
                    if kind == READABLE:
                        if watch.came:
                            watch.came -= 1
                            answer = True
                            continue
                        watch.reader = self
                    else:
                        if watch.room:
                            watch.room, answer = False, True
                            continue
                        watch.writer = self
                    self.place = watch
                elif kind == FLAG:
                    what.task = self
                    self.place = what
                elif kind == TURN:
                    reactor.make_ready(self, None)
                    return
                elif kind == SELF:
                    answer = self
                    continue
                else:
                    reactor.lend(what)
                    answer = None
                    continue
                self._waits = True
                if until < NEVER:
                    self._limit(until)
                return
        except (StopIteration, Cancelled):
            self._end()
        except BaseException as crash:
            crashed = self._crashed
            self._end()
            crashed(crash)

    def _end(self) -> None:
        self.over = True
        # A timer may know this task for minutes yet; it is not to keep all that the task knew.
        self._send = self._throw = self._run = self._crashed = _over
        self._reactor.ended(self)


Start = Callable[[Coroutine[Any, Any, None]], Task]
"""Starts a task that ends with whoever gave this."""


class Flag:
    """Something that one task waits for and others say; it stays said until cleared."""

    __slots__ = ("_said", "task")

    def __init__(self) -> None:
        self._said = False
        self.task: Task | None = None

    def set(self) -> None:
        """Say it."""
        self._said = True
        if self.task is not None:
            self.task.wake(True)

    def clear(self) -> None:
        """Take it back."""
        self._said = False

    @types.coroutine
    def wait(self, until: float = NEVER) -> Wait:
        """Wait for it → False when `until` has passed first."""
        if self._said:
            return True
        answer: bool = yield FLAG, self, until
        return answer
