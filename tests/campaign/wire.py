"""The wires on both sides of the gateway: TCP relays that cut, withhold and watch.

One thread and one epoll set for all of them, and each event is passed on in the order in which the kernel saw it: which
of two connections a client ended first is something the gateway decides by, so a wire must not change it.

A link has a near socket (towards the client) and a far one (towards the server), and two ways: ``up`` carries what the
near side says, ``down`` what the far side says. What is known of each way is what the *gateway could have seen*; the
judge knows nothing else of the truth.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal, Self

from tests.campaign.links import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    UNREAD,
    UNSENT,
    Channel,
    Direction,
    Door,
    Ended,
    Fault,
    How,
    Leg,
    Link,
    Trigger,
    Way,
    counted,
    reset,
    tcp_state,
)

_CHUNK = 65536
_MOST_PENDING = 2 * _CHUNK
_QUIET_SECONDS = 0.3


class Wire(threading.Thread):
    """All relays of a campaign. Everything public may be called from other threads; work is done in this one."""

    def __init__(self) -> None:
        super().__init__(name="wire", daemon=True)
        self._epoll = select.epoll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._hups = select.epoll()
        self._hup_order: dict[int, int] = {}
        self._ended_count = 0
        self._doors: dict[int, tuple[socket.socket, Door]] = {}
        self._ends: dict[int, tuple[Link, socket.socket]] = {}
        self._masks: dict[int, int] = {}
        self.links: list[Link] = []
        self.fault: Fault | None = None
        self._order = 0
        self._stopping = False
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._stopping = True
        self._wake()
        self.join(10)
        for link in self.links:
            self._end(link)
        for listener, _ in self._doors.values():
            listener.close()
        self._epoll.close()
        self._hups.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def call(self, function: Callable[[], None]) -> None:
        """Run it in the wires' thread, and wait for it."""
        done = threading.Event()

        def run() -> None:
            try:
                function()
            finally:
                done.set()

        self._calls.put(run)
        self._wake()
        if not done.wait(20):
            raise RuntimeError(f"the wires do not answer: {self.error!r}")

    def open(self, host: str, port: int, door: Door) -> int:
        """Listen; the port."""
        listener = socket.create_server((host, port), backlog=64)
        listener.setblocking(False)

        def add() -> None:
            self._doors[listener.fileno()] = (listener, door)
            self._epoll.register(listener.fileno(), select.EPOLLIN)

        self.call(add)
        return int(listener.getsockname()[1])

    def begin(self, fault: Fault | None) -> None:
        """Forget all links and expect this fault."""

        def renew() -> None:
            for link in self.links:
                self._end(link)
            self.links = []
            self.fault = fault

        self.call(renew)

    def end_all(self) -> None:
        """Reset what is left."""

        def end() -> None:
            for link in self.links:
                self._end(link)

        self.call(end)

    # --- the thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:
            self.error = error
            raise

    def _turn(self) -> None:
        for number, mask in self._epoll.poll(0.1):
            if number == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif number in self._doors:
                self._accept(*self._doors[number])
            elif number in self._ends:
                link, sock = self._ends[number]
                self._event(link, sock, mask)
        while not self._calls.empty():
            self._calls.get()()
        self._look_for_quiet()

    def _accept(self, listener: socket.socket, door: Door) -> None:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        address, source = door.dial(int(caller.getsockname()[1]))
        other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            other.settimeout(5)
            other.bind((source, 0))
            other.connect(address)
        except OSError:
            other.close()
            reset(caller)
            return
        for sock in (caller, other):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, far = (caller, other) if door.caller_is_near else (other, caller)
        link = Link(door.leg, door.channel, near, far)
        link.ways = {"up": Way(near, far), "down": Way(far, near)}
        self.links.append(link)
        for sock in (near, far):
            self._ends[sock.fileno()] = (link, sock)
            self._masks[sock.fileno()] = select.EPOLLIN
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        if link.leg == "client":
            self._hups.register(near.fileno(), select.EPOLLRDHUP)
        for direction in ("up", "down"):
            self._flush(link, direction)  # a fault at byte 0 strikes now

    def _event(self, link: Link, sock: socket.socket, mask: int) -> None:
        if link.over:
            return
        if link.silent:
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                self._epoll.unregister(sock.fileno())  # it was reset; the other side must not know
                self._ends.pop(sock.fileno())
            return
        outgoing: Direction = "up" if sock is link.near else "down"
        incoming: Direction = "down" if sock is link.near else "up"
        if mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._take(link, outgoing)
        if not link.over and mask & select.EPOLLOUT:
            self._flush(link, incoming)
        if not link.over and mask & select.EPOLLERR and tcp_state(sock) == TCP_CLOSE:
            self._broken(link, outgoing)
        if not link.over:
            self._watch(link)

    def _take(self, link: Link, direction: Direction) -> None:
        way = link.ways[direction]
        if way.source_ended or (len(way.pending) >= _MOST_PENDING and not way.drop):
            return
        try:
            data = way.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._broken(link, direction)
            return
        if not data:
            if link.leg == "client" and direction == "up":
                self._earlier_ends(link)
                if link.over:
                    return
            way.source_ended = True
        elif not way.drop:
            way.taken += len(data)
            way.pending += data
            way.moved_at = time.monotonic()
            if link.channel == "data" and link.leg == "upstream":
                way.records.feed(data)
            elif link.leg == "upstream" and direction == "up":
                self._control_in_clear(way, data)
        self._flush(link, direction)

    def _earlier_ends(self, link: Link) -> None:
        """Pass on first what the client has ended before.

        epoll lists a socket at the place of what it had to tell first, not of its end; asked for nothing but ends, it
        keeps their order.
        """
        number = link.near.fileno()
        self._note_ends()
        mine = self._hup_order.get(number)
        for other in list(self.links):
            if other is link or other.leg != "client" or other.over or other.ways["up"].source_ended:
                continue
            theirs = self._hup_order.get(other.near.fileno())
            if theirs is None or mine is None or theirs > mine:
                continue
            way = other.ways["up"]
            while not other.over and not way.source_ended:
                before = way.taken
                self._take(other, "up")
                if way.taken == before:
                    break
            if not other.over:
                self._watch(other)

    def _note_ends(self) -> None:
        for number, _ in self._hups.poll(0):
            self._ended_count += 1
            self._hup_order[number] = self._ended_count
            self._hups.unregister(number)

    @staticmethod
    def _control_in_clear(way: Way, data: bytes) -> None:
        """Lines in clear up to AUTH, records from there on."""
        while data and not (way.head.endswith(b"\n") and b"AUTH" in way.head):
            line, found, data = data.partition(b"\n")
            way.head += line + found
        if data:
            way.records.feed(data)

    def _broken(self, link: Link, direction: Direction) -> None:
        """The source of this way was reset."""
        link.ways[direction].source_ended = True
        self._tell(link, direction, "rst")
        other: Direction = "down" if direction == "up" else "up"
        if link.ways[other].told is None and not link.ways[other].drop:
            link.ways[other].source_ended = True
        self._end(link)

    def _tell(self, link: Link, direction: Direction, how: Literal["fin", "rst"], *, cut: bool = False) -> None:
        way = link.ways[direction]
        if way.told is not None:
            return
        self._order += 1
        way.told = Ended(how, self._order, time.monotonic(), cut)
        if link.leg == "client" and link.channel == "control" and direction == "up":
            # What the gateway can't have seen yet: bytes of an upload that are still on their way to it.
            for other in self.links:
                if other.leg == "client" and other.channel == "data" and not other.over:
                    up = other.ways["up"]
                    other.queued_at_control_end = bool(
                        up.pending or counted(up.source, UNREAD) or counted(up.target, UNSENT)
                    )
        if how == "fin":
            with contextlib.suppress(OSError):
                way.target.shutdown(socket.SHUT_WR)

    def _allowed(self, link: Link, direction: Direction) -> tuple[int, bool]:
        """How many of the pending bytes may pass, and whether the fault strikes behind them."""
        way, fault = link.ways[direction], self.fault
        size = len(way.pending)
        if fault is None or fault.fired_at or not self._is_here(fault.trigger, link, direction):
            return size, False
        trigger = fault.trigger
        left = trigger.at - way.passed
        match trigger.place:
            case "bytes":
                return (left, True) if left <= size else (size, False)
            case "boundary":
                if fault.boundary is None:
                    fault.boundary = next((end for end in way.records.ends if end >= trigger.at), None)
                if fault.boundary is None:
                    return min(size, max(0, left)), False
                left = fault.boundary - way.passed
                return (left, True) if left <= size else (size, False)
            case "tail":
                return max(0, size - trigger.at), way.source_ended
            case "end":
                return size, way.source_ended
            case "after":
                return size, False

    @staticmethod
    def _is_here(trigger: Trigger, link: Link, direction: Direction) -> bool:
        return (trigger.leg, trigger.channel, trigger.direction) == (link.leg, link.channel, direction)

    def _flush(self, link: Link, direction: Direction) -> None:
        way = link.ways[direction]
        if way.drop:
            way.pending.clear()
            if way.source_ended and link.ways["up"].source_ended and link.ways["down"].source_ended:
                self._end(link)
            return
        while True:
            allowed, strikes = self._allowed(link, direction)
            if allowed > 0:
                try:
                    sent = way.target.send(memoryview(way.pending)[:allowed])
                except BlockingIOError:
                    return
                except OSError:
                    # The target is gone; its RST is told when it is read, or now.
                    self._broken(link, "down" if direction == "up" else "up")
                    return
                del way.pending[:sent]
                way.passed += sent
                continue
            if strikes:
                self._strike()
                if link.over or link.silent or way.drop:
                    return
                continue
            break
        if way.source_ended and not way.pending and way.told is None:
            self._tell(link, direction, "fin")
            fault = self.fault
            if fault is not None and fault.trigger.place == "after" and self._is_here(fault.trigger, link, direction):
                self._strike()
        if not link.over and all(each.told is not None for each in link.ways.values()):
            self._end(link, gently=True)

    def _strike(self) -> None:
        fault = self.fault
        if fault is not None and not fault.fired_at:
            fault.fired_at = time.monotonic()
            fault.strike()

    def _look_for_quiet(self) -> None:
        """Some servers say no more until what we hold back has arrived: then the end is where they stand."""
        fault = self.fault
        if fault is None or fault.fired_at or fault.trigger.place not in ("tail", "end"):
            return
        for link in self.links:
            way = link.ways[fault.trigger.direction]
            here = self._is_here(fault.trigger, link, fault.trigger.direction) and not link.over
            quiet = way.taken and time.monotonic() - way.moved_at > _QUIET_SECONDS
            if here and quiet and len(way.pending) <= max(1, fault.trigger.at):
                self._strike()
                return

    def _watch(self, link: Link) -> None:
        for sock, out, into in ((link.near, "up", "down"), (link.far, "down", "up")):
            number = sock.fileno()
            if number not in self._ends:
                continue
            reads, writes = link.ways[out], link.ways[into]  # type: ignore[index] # the two directions
            mask = 0
            if reads.source_ended and writes.told is not None and not link.silent:
                self._forget(sock)  # it has nothing more to say or hear, and epoll would say so for ever
                continue
            if not link.silent:
                if not reads.source_ended and (reads.drop or len(reads.pending) < _MOST_PENDING):
                    mask |= select.EPOLLIN
                if writes.pending and not writes.drop and self._allowed(link, into)[0] > 0:  # type: ignore[arg-type]
                    mask |= select.EPOLLOUT
            if mask != self._masks.get(number):
                self._masks[number] = mask
                self._epoll.modify(number, mask)

    def _forget(self, sock: socket.socket) -> None:
        number = sock.fileno()
        if self._hup_order.pop(number, None) is None:
            with contextlib.suppress(OSError, ValueError):
                self._hups.unregister(number)
        if number in self._ends:
            del self._ends[number]
            self._masks.pop(number, None)
            with contextlib.suppress(OSError):
                self._epoll.unregister(number)

    def _end(self, link: Link, *, gently: bool = False) -> None:
        """Close both ends; with RST unless both ways have ended by themselves."""
        if link.over:
            return
        link.over = True
        gateway, _ = link.gateway_side()
        if link.silent:
            link.unread = counted(gateway, UNREAD)
        if not gently and not link.cut:
            link.ended_before_cut = tcp_state(gateway) == TCP_CLOSE_WAIT
        for sock, told in ((link.near, link.ways["down"]), (link.far, link.ways["up"])):
            self._forget(sock)
            if sock is gateway and not gently and tcp_state(sock) != TCP_CLOSE:
                link.reset_at = time.monotonic()
            if gently:
                sock.close()
            else:
                if told.told is None:
                    self._order += 1
                    told.told = Ended("rst", self._order, time.monotonic(), cut=link.cut is not None)
                reset(sock)

    # --- what faults do -------------------------------------------------------------------------------------------

    def cut(self, leg: Leg, channel: Channel, how: How, *, sender: Direction | None = None) -> None:
        """Cut all such connections that stand. Only in the wires' thread.

        FIN: for a data connection, ``sender`` is the way the file goes. Its receiver sees FIN and is read no more of;
        its sender sees a closed socket, as from a program that was done early: FIN, and RST for what it sends then.
        The client alone is not lied to by us: on its own leg it sees RST.
        """
        for link in list(self.links):
            if link.leg != leg or link.channel != channel or link.over:
                continue
            gateway, _ = link.gateway_side()
            link.ended_before_cut = tcp_state(gateway) == TCP_CLOSE_WAIT
            link.unread = counted(gateway, UNREAD)
            link.cut, link.cut_at = how, time.monotonic()
            if how == "silence":
                link.silent = True
                self._watch(link)
            elif how == "rst":
                self._end(link)
            elif channel == "control":
                for direction in ("up", "down"):
                    way = link.ways[direction]
                    self._tell(link, direction, "fin", cut=True)
                    way.drop = True
                    way.pending.clear()
                self._watch(link)
            else:
                self._cut_data(link, sender or "up")

    def _cut_data(self, link: Link, sender: Direction) -> None:
        back: Direction = "down" if sender == "up" else "up"
        way = link.ways[sender]
        if link.leg == "client" and sender == "down":
            self._order += 1
            way.told = way.told or Ended("rst", self._order, time.monotonic(), cut=True)
            self._tell(link, back, "fin", cut=True)
            link.over = True
            self._forget(link.near)
            self._forget(link.far)
            reset(link.near)
            # As the kernel does for a program that closes with bytes unread: RST at once.
            if way.pending or link.unread:
                link.reset_at = time.monotonic()
                reset(link.far)
            else:
                link.far.close()
            return
        self._tell(link, sender, "fin", cut=True)
        self._tell(link, back, "fin", cut=True)
        link.over = True
        for sock in (link.near, link.far):
            self._forget(sock)
            sock.close()
