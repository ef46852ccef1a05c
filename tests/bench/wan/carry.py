"""``python -m tests.bench.wan.carry NEAR FAR DELAY_MS LOSS_PERCENT MBIT_PER_S``: what holds the packets.

NEAR and FAR are descriptors of tun devices. What comes from one goes into the other so many milliseconds later, in
order; some are lost; the rate, 0 for none, is of each direction, with a queue before it that holds as much as is under
way on such a line, or 50 ms of it, and loses what comes when it is full.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time
from collections import deque

_PACKET_BYTES = 65_536
_AT_ONCE = 64


class Line:
    """One direction."""

    def __init__(self, source: int, target: int, delay: float, loss: float, rate: float) -> None:
        self.source, self._target = source, target
        self._delay, self._loss, self._rate = delay, loss, rate
        self._free = 0.0  # when the line has sent all it has taken
        self._queue_seconds = max(2 * delay, 0.05)
        self._under_way: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        """What has come, and is not lost."""
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.source, _PACKET_BYTES)
            except BlockingIOError:
                return
            now = time.monotonic()
            if self._loss and random.random() < self._loss:
                continue
            if self._rate:
                begins = max(now, self._free)
                if begins - now > self._queue_seconds:
                    continue
                now = self._free = begins + len(packet) / self._rate
            self._under_way.append((now + self._delay, packet))

    def give(self) -> float | None:
        """What has arrived → seconds until there is more; None where nothing is under way."""
        while self._under_way:
            left = self._under_way[0][0] - time.monotonic()
            if left > 0:
                return left
            os.write(self._target, self._under_way.popleft()[1])
        return None


def carry(near: int, far: int, delay: float, loss: float, rate: float) -> None:
    """Until it is ended: seconds of delay, share of packets lost, bytes a second."""
    lines = [Line(near, far, delay, loss, rate), Line(far, near, delay, loss, rate)]
    poll = select.epoll()
    for line in lines:
        os.set_blocking(line.source, False)
        poll.register(line.source, select.EPOLLIN)
    while True:
        waits = [left for line in lines if (left := line.give()) is not None]
        poll.poll(min(waits) if waits else -1)
        for line in lines:
            line.take()


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[3:]]
    carry(int(sys.argv[1]), int(sys.argv[2]), numbers[0] / 1000, numbers[1] / 100, numbers[2] * 1e6 / 8)
