"""The sockets of all sessions in one epoll set, and the tasks that wait for them; all within one task of trio's.

Why not trio's own waiting. There a wait costs 18 µs (an epoll_ctl, two switches, a look at each deadline) and a time
limit 12; a file of 1 KiB takes ten of the one and five of the other. Here a socket is registered once, a wait costs 2
and its time limit nothing. What is not about the sockets of sessions (signals, names, drain) stays with trio.

Theory. A task is a coroutine that yields what it waits for: a socket, a flag, its turn. Readiness is edge-triggered:
epoll speaks when something *comes*, so one reads or writes until the kernel has no more, and only then waits; news that
finds nobody waiting is kept for the next who does. A task has one deadline, that of its present wait, and one entry
among the timers that is looked at again when it is due: to move a deadline is to set an attribute.

As long as there is work the loop sleeps in its own epoll, a moment at a time; then it waits as any task of trio's does.
"""

import contextvars
import errno
import heapq
import itertools
import os
import select
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from socket import socket as Socket
from typing import Any

import trio

NEVER = float("inf")

# How long the loop stays in its own epoll after there was work: longer than a server near by takes to answer.
_MOMENT_SECONDS = 0.002
# How long others of trio's may wait while there is work without end.
_OTHERS_SECONDS = 0.005
_EVENTS = 256
_COMING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# One read does not take it all then: it stops where urgent data begins, and before an end.
_MORE = select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_GOING = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# Rounds in which tasks that are cancelled at the loop's end may still wait for something, in vain.
_LAST_ROUNDS = 8

now = trio.current_time
"""The time that deadlines are in: seconds of trio's clock."""


class Cancelled(BaseException):
    """Raised where a cancelled task waits; goes through everything."""


# --- what tasks wait for ----------------------------------------------------------------------------------------------

_READABLE, _WRITABLE, _FLAG, _TURN, _LEND, _SELF = range(6)
# Of a socket that is only read from it is no news that there is room to send, which there is from the first.
_INTEREST = (select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET, select.EPOLLOUT | select.EPOLLET)
Wait = Generator[Any, Any, bool]


@types.coroutine
def readable(sock: Socket, until: float = NEVER) -> Wait:
    """Wait for something to come, an end or an error included → False when `until` has passed first.

    True may be old news: read, and wait again when there was nothing. Read until the kernel has no more before waiting.
    """
    answer: bool = yield _READABLE, sock, until
    return answer


@types.coroutine
def writable(sock: Socket, until: float = NEVER) -> Wait:
    """The same for room to send, after a send that found none; or for a connection to come about."""
    answer: bool = yield _WRITABLE, sock, until
    return answer


@types.coroutine
def turn() -> Generator[Any, Any, None]:
    """Let all others that can run do so first."""
    yield _TURN, None, NEVER


@types.coroutine
def this_task() -> "Generator[Any, Any, Task]":
    """The task that asks. Does not wait."""
    task: Task = yield _SELF, None, NEVER
    return task


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
        answer: bool = yield _FLAG, self, until
        return answer


async def pause(until: float) -> None:
    """Wait for nothing but the time."""
    await Flag().wait(until)


async def outside(until: float, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run an async function of trio's in a task of trio's → its result; raises what it raises, TimeoutError at `until`
    (then it goes on, unheard)."""
    done = Flag()
    outcome: list[Any] = []

    async def run() -> None:
        try:
            outcome.append(await function(*arguments))
        except Exception as error:
            outcome.append(error)
        done.set()

    await _lend(run)
    if not await done.wait(until):
        raise TimeoutError
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


@types.coroutine
def _lend(function: Callable[[], Awaitable[None]]) -> Generator[Any, Any, None]:
    yield _LEND, function, NEVER


# --- tasks ------------------------------------------------------------------------------------------------------------


class _Watch:
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
        "_due",
        "_reactor",
        "_run",
        "_send",
        "_throw",
        "_waits",
        "over",
        "place",
    )

    def __init__(self, reactor: "Reactor", coroutine: Coroutine[Any, Any, None], crashed: Crashed) -> None:
        self._reactor = reactor
        self._send = coroutine.send
        self._throw = coroutine.throw
        self._run: Callable[..., Any] = contextvars.copy_context().run
        self._crashed = crashed
        self._due = NEVER
        self._armed = NEVER
        self._cancelled = False
        self._waits = False
        self.place: _Watch | Flag | None = None
        self.over = False

    def wake(self, answer: bool = False) -> None:
        """End the present wait, if there is one, with this answer."""
        if self._waits:
            place = self.place
            if type(place) is _Watch:
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
        self._due = NEVER

    def cancel(self) -> None:
        """Raise Cancelled in it, where it waits or is to wait next."""
        self._cancelled = True
        self.wake()

    def deadline(self, due: float) -> None:
        """Move the deadline of the present wait, if there is one."""
        if self._waits:
            self._limit(due)

    def _limit(self, due: float) -> None:
        self._due = due
        if due < self._armed:
            self._armed = due
            self._reactor.arm(self, due)

    def alarm(self, time: float) -> None:
        """A timer of this task is due."""
        if self._armed > time:
            return  # an old one
        self._armed = NEVER
        if self._due <= time:
            self.wake(False)
        elif self._due < NEVER:
            self._limit(self._due)

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
                if kind <= _WRITABLE:
                    try:
                        watch = reactor.watch(what, _INTEREST[kind])
                    except OSError as closed:
                        error = closed
                        continue
                    if kind == _READABLE:
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
                elif kind == _FLAG:
                    what.task = self
                    self.place = what
                elif kind == _TURN:
                    reactor.make_ready(self, None)
                    return
                elif kind == _SELF:
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


# --- the loop ---------------------------------------------------------------------------------------------------------


class Reactor:
    """The loop, and all its tasks. Tasks may be started before it runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._ready: deque[tuple[Task, object]] = deque()
        self._timers: list[tuple[float, int, Task]] = []
        self._number = itertools.count()
        self._looks = 0
        self._living: set[Task] = set()
        self._failure: BaseException | None = None
        self._rest: trio.CancelScope | None = None
        self.time = 0.0
        """Of the loop's last look: near enough for what is measured in seconds, and free."""
        self._nursery: trio.Nursery | None = None

    def start(self, coroutine: Coroutine[Any, Any, None], crashed: Crashed | None = None) -> Task:
        """Start a task, which runs when those that can run now have had their turn.

        `crashed` is called with what it raises; without one, `run` raises it.
        """
        task = Task(self, coroutine, crashed or self.fail)
        self._living.add(task)
        self.make_ready(task, None)
        return task

    def fail(self, error: BaseException) -> None:
        """Have `run` raise this."""
        self._failure = error
        if self._rest is not None:
            self._rest.cancel()

    async def run(self) -> None:
        """Run until cancelled; then all tasks are cancelled, and may not wait for anything any more."""
        async with trio.open_nursery() as self._nursery:
            try:
                await self._loop()
            finally:
                self._end_all()
                self._epoll.close()

    async def _loop(self) -> None:
        poll, ready, watches = self._epoll.poll, self._ready, self._watches
        yielded = self.time = now()
        while True:
            events = poll(0 if ready else _MOMENT_SECONDS, _EVENTS)
            looks = self._looks = self._looks + 1
            for fd, what in events:
                watch = watches.get(fd)
                if watch is None or watch.since == looks:
                    continue
                if what & _COMING:
                    task = watch.reader
                    watch.came = 2 if what & _MORE else 1
                    if task is not None:
                        watch.came -= 1
                        watch.reader = None
                        task.found()
                        task.step(True)
                if what & _GOING:
                    task = watch.writer
                    if task is None:
                        watch.room = True
                    else:
                        watch.writer = None
                        task.found()
                        task.step(True)
            for _ in range(len(ready)):  # those that become ready meanwhile wait for the next look at epoll
                task, answer = ready.popleft()
                task.step(answer)
            time = self.time = now()
            self._ring(time)
            if self._failure is not None:
                raise self._failure
            if not events and not ready:
                await self._wait()
                yielded = self.time = now()
            elif time - yielded > _OTHERS_SECONDS:
                await trio.lowlevel.checkpoint()
                yielded = now()

    def _ring(self, time: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= time:
            heapq.heappop(timers)[2].alarm(time)

    async def _wait(self) -> None:
        """As any task of trio's waits: for the sockets, the next timer, or what others make ready."""
        self._rest = trio.CancelScope(deadline=self._timers[0][0] if self._timers else NEVER)
        try:
            with self._rest:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        finally:
            self._rest = None
        self._ring(now())

    def _end_all(self) -> None:
        for _ in range(_LAST_ROUNDS):
            for task in list(self._living):
                task.cancel()
            while self._ready:
                task, answer = self._ready.popleft()
                task.cancel()
                task.step(answer)

    # --- for tasks --------------------------------------------------------------------------------------------------

    def make_ready(self, task: Task, answer: object) -> None:
        """This task can go on."""
        self._ready.append((task, answer))
        if self._rest is not None:
            self._rest.cancel()

    def watch(self, sock: Socket, interest: int) -> _Watch:
        """What is known of a socket; epoll tells of what is waited for. Raises OSError for a closed one."""
        fd = sock.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        watch = self._watches.get(fd)
        if watch is None or watch.sock is not sock:
            self._epoll.register(fd, interest)
            watch = self._watches[fd] = _Watch(sock, interest, self._looks)
        elif interest & ~watch.interest:
            waited_for = watch.reader is not None or watch.writer is not None
            watch.interest = watch.interest | interest if waited_for else interest
            self._epoll.modify(fd, watch.interest)  # which is told anew of what there is already
        return watch

    def arm(self, task: Task, time: float) -> None:
        """Have `task.alarm` called at this time."""
        timers = self._timers
        heapq.heappush(timers, (time, next(self._number), task))
        if self._rest is not None and time < self._rest.deadline:
            self._rest.deadline = time
        if len(timers) > 1000 and len(timers) > 4 * len(self._living):
            timers[:] = [timer for timer in timers if timer[2].expects(timer[0])]
            heapq.heapify(timers)

    def lend(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run this as a task of trio's."""
        assert self._nursery is not None  # noqa: S101 - tasks run only while the loop does
        self._nursery.start_soon(function)

    def ended(self, task: Task) -> None:
        """This task is over."""
        self._living.discard(task)
