"""Whether a worker process still does anything: it beats in memory that its parent reads. Nothing else is asked of it.

A worker that hangs, in a loop of ours or in the kernel, keeps its ports and its sessions; only its parent can notice.
"""

import mmap
import struct
import time

import trio

# A worker beats this often, as a task of trio's like any other, and is taken for stuck after this much silence: nothing
# it does is to take a tenth of that in one go.
BEAT_SECONDS = 1.0
SILENT_SECONDS = 15.0
# A parent that was itself held up for so long, by a debugger or a frozen machine, knows nothing of the others.
_OWN_PAUSE_SECONDS = 5.0
_TIME = struct.Struct("d")


class Pulse:
    """One beat for each worker; made before they are forked."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, _TIME.size * workers)
        self._last_look = time.monotonic()

    def begin(self, worker: int) -> None:
        """A worker is about to start, and has not beaten yet: until it does it is left in peace."""
        _TIME.pack_into(self._memory, _TIME.size * worker, 0.0)

    async def beat(self, worker: int) -> None:
        """In the worker, for as long as it runs."""
        while True:
            _TIME.pack_into(self._memory, _TIME.size * worker, time.monotonic())
            await trio.sleep(BEAT_SECONDS)

    def silent(self, workers: int) -> list[int]:
        """In the parent: the workers that have begun to beat and stopped."""
        time_now = time.monotonic()
        paused = time_now - self._last_look > _OWN_PAUSE_SECONDS
        self._last_look = time_now
        found = []
        for worker in range(workers):
            (last,) = _TIME.unpack_from(self._memory, _TIME.size * worker)
            if not last:
                continue
            if paused:
                _TIME.pack_into(self._memory, _TIME.size * worker, time_now)
            elif time_now - last > SILENT_SECONDS:
                found.append(worker)
        return found
