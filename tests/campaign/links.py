"""What is known of each connection through a wire: both ways of it, how far they got, how they ended."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Leg = Literal["client", "upstream"]
Channel = Literal["control", "data"]
Direction = Literal["up", "down"]
How = Literal["fin", "rst", "silence"]
Place = Literal["bytes", "boundary", "tail", "end", "after"]

TCP_CLOSE_WAIT = 8
TCP_CLOSE = 7
UNREAD, UNSENT = termios.FIONREAD, termios.TIOCOUTQ


def tcp_state(sock: socket.socket) -> int:
    """The kernel's state of a connection."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return TCP_CLOSE


def counted(sock: socket.socket, request: int) -> int:
    """UNREAD or UNSENT bytes, as the kernel counts them."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), request, count)
    except OSError:
        return 0
    return count[0]


class Records:
    """The TLS records of one way: whether it is TLS at all, where records end, and whether an alert is the last."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0
        self._at = 0
        self.first = b""
        self.ends: list[int] = []
        self.wrong = False
        self.last = (0, 0)  # type and length of the newest record

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if len(self.first) < 5:
            self.first += data[: 5 - len(self.first)]
        at = 0
        while at < len(data) and not self.wrong:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            need = 5 - len(self._head)
            self._head += data[at : at + need]
            at += need
            if len(self._head) == 5:
                kind, major, length = self._head[0], self._head[1], self._head[3] << 8 | self._head[4]
                self.wrong = not 20 <= kind <= 23 or major != 3 or length > 16384 + 2048
                self.last = (kind, length)
                self._skip = length
                self._head = b""
                self._at += 5 + length
                self.ends.append(self._at)

    @property
    def close_notify(self) -> bool:
        """Whether the newest record is whole and looks like an alert: type 21, or in TLS 1.3 one of 19 bytes.

        Two bytes of data make a record of 19 bytes, too; no file of the campaign ends in such a record.
        """
        kind, length = self.last
        return not self._skip and not self._head and (kind == 21 or (kind == 23 and length == 19))


@dataclass(slots=True)
class Ended:
    """How one end was told: at which place in the order of everything, and when."""

    how: Literal["fin", "rst"]
    order: int
    at: float
    cut: bool = False


@dataclass(slots=True)
class Way:
    """One direction of a link. ``passed`` were handed on; ``told`` is the end its far side was given."""

    source: socket.socket
    target: socket.socket
    taken: int = 0
    passed: int = 0
    pending: bytearray = field(default_factory=bytearray)
    source_ended: bool = False
    told: Ended | None = None
    records: Records = field(default_factory=Records)
    moved_at: float = 0.0
    drop: bool = False  # read and forget: the way was cut
    head: bytes = b""


@dataclass(slots=True, eq=False)
class Link:
    """One connection through a relay."""

    leg: Leg
    channel: Channel
    near: socket.socket
    far: socket.socket
    ways: dict[Direction, Way] = field(default_factory=dict)
    silent: bool = False
    over: bool = False
    cut: How | None = None
    cut_at: float = 0.0
    ended_before_cut: bool = False  # the gateway's FIN was in when we cut, or passed a reset on
    reset_at: float = 0.0  # when the gateway was given a RST, by us or through us
    unread: int = 0  # what the gateway had sent, and we had acknowledged but not read, at the end
    queued_at_control_end: bool = False

    def gateway_side(self) -> tuple[socket.socket, Way]:
        """The socket towards the gateway, and the way by which the gateway's bytes come."""
        return (self.far, self.ways["down"]) if self.leg == "client" else (self.near, self.ways["up"])


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault strikes: on which way, and where in it. ``at`` is an offset, or for ``tail`` bytes from the end."""

    leg: Leg
    channel: Channel
    direction: Direction
    place: Place
    at: int = 0


@dataclass(slots=True, eq=False)
class Fault:
    """What strikes when. ``strike`` runs in the wires' thread."""

    trigger: Trigger
    strike: Callable[[], None]
    fired_at: float = 0.0
    boundary: int | None = None


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@dataclass(frozen=True, slots=True)
class Door:
    """Where a relay listens, and what it does with who comes. ``dial`` gives the other side's address and our source.

    ``caller_is_near``: who connects is the near side (passive), else the far one (active).
    """

    leg: Leg
    channel: Channel
    caller_is_near: bool
    dial: Callable[[int], tuple[tuple[str, int], str]]
