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

from ftpsproxy.reactor.loop import Reactor, now
from ftpsproxy.reactor.tasks import NEVER, Cancelled, Flag, Start, Task
from ftpsproxy.reactor.waits import outside, pause, readable, this_task, turn, writable

__all__ = [
    "NEVER",
    "Cancelled",
    "Flag",
    "Reactor",
    "Start",
    "Task",
    "now",
    "outside",
    "pause",
    "readable",
    "this_task",
    "turn",
    "writable",
]
