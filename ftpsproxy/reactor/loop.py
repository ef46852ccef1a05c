"""The loop: one epoll set, the tasks that are ready, the timers; all within one task of trio's."""

import errno
import heapq
import itertools
import os
import select
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from socket import socket as Socket
from typing import Any

import trio

from ftpsproxy.reactor.tasks import NEVER, Crashed, Task, Watch

# How long the loop stays in its own epoll, and others of trio's wait, after work and during it. To wait as trio does
# costs 130 µs more, and most servers answer sooner than this. The second one is for when others have work, too.
_MOMENT_SECONDS = 0.05
_SHORT_MOMENT_SECONDS = 0.002
# Others of trio's, probes above all, get their turn this often while there is work.
_BUSY_SECONDS = 0.01
_EVENTS = 256
_COMING = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# One read does not take it all then: it stops where urgent data begins, and before an end.
_MORE = select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_GOING = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# Rounds in which tasks that are cancelled at the loop's end may still wait for something, in vain.
_LAST_ROUNDS = 8

now = trio.current_time
"""The time that deadlines are in: seconds of trio's clock."""


class Reactor:
    """The loop, and all its tasks. Tasks may be started before it runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, Watch] = {}
        self._ready: deque[tuple[Task, object]] = deque()
        self._timers: list[tuple[float, int, Task]] = []
        self._number = itertools.count()
        self._looks = 0
        self._living: set[Task] = set()
        self._failure: BaseException | None = None
        self._rest: trio.CancelScope | None = None
        self._moment_seconds = _SHORT_MOMENT_SECONDS
        self._lent = 0
        self._shared = True
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

    def share(self, shared: bool) -> None:
        """Whether others of trio's may have work, too, and do not like to wait for it; at first they may."""
        self._shared = shared
        self._set_moment()

    def _set_moment(self) -> None:
        self._moment_seconds = _SHORT_MOMENT_SECONDS if self._shared or self._lent else _MOMENT_SECONDS

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
        yielded = time = self.time = now()
        while True:
            rest = 0.0 if ready else max(0.0, min(self._moment_seconds, self._next_due() - time))
            events = poll(rest, _EVENTS)
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
            ran = len(ready)
            for _ in range(ran):  # those that become ready meanwhile wait for the next look at epoll
                task, answer = ready.popleft()
                task.step(answer)
            time = self.time = now()
            self._ring(time)
            if self._failure is not None:
                raise self._failure
            if not (events or ran or ready):
                await self._wait()
                yielded = time = self.time = now()
            elif time - yielded > min(self._moment_seconds, _BUSY_SECONDS):
                await trio.lowlevel.checkpoint()
                yielded = now()

    def _ring(self, time: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= time:
            heapq.heappop(timers)[2].alarm(time)

    async def _wait(self) -> None:
        """As any task of trio's waits: for the sockets, the next timer, or what others make ready."""
        self._rest = trio.CancelScope(deadline=self._next_due())
        try:
            with self._rest:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        finally:
            self._rest = None
        self._ring(now())

    def _next_due(self) -> float:
        """When the next wait is over. Most timers are of waits that have ended long before: not worth waking up for."""
        timers = self._timers
        while timers:
            time, _, task = timers[0]
            if task.due <= time:
                return time
            heapq.heappop(timers)
            task.alarm(time)  # which may arm it anew, for later
        return NEVER

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

    def watch(self, sock: Socket, interest: int) -> Watch:
        """What is known of a socket; epoll tells of what is waited for. Raises OSError for a closed one."""
        fd = sock.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        watch = self._watches.get(fd)
        if watch is None or watch.sock is not sock:
            self._epoll.register(fd, interest)
            watch = self._watches[fd] = Watch(sock, interest, self._looks)
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
        self._lent += 1
        self._set_moment()
        self._nursery.start_soon(self._run_lent, function)

    async def _run_lent(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        finally:
            self._lent -= 1
            self._set_moment()

    def ended(self, task: Task) -> None:
        """This task is over."""
        self._living.discard(task)
