"""Where lines go. Whoever reads them may be slow, or stand still: nobody here ever waits for that.

A line is written at once where that takes no waiting. What the reader has no room for is kept, up to a bound, for a
thread that lives as long as there is such; beyond it lines are lost and counted, and the log says how many as soon as
it can be written again. Standard error hears of it once.
"""

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from ftpsproxy import errors
from ftpsproxy.observe import metrics

# Bytes kept for a reader that has no room: some 5,000 lines.
_MOST_KEPT = 1024 * 1024
_AGAIN_SECONDS = 0.01


class Output:
    """One write for each line, straight to the descriptor where there is one. Never raises, never waits.

    `lost` makes the line that says how many were lost.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.lost: Callable[[int], str] = str
        self._send: Callable[[bytes], int] | None = None  # None: only by waiting
        self._descriptor: int | None = None  # of our own
        self._socket: socket.socket | None = None
        self._count = 0  # lines lost since the last that was written
        self._torn = False  # the last line was only partly written
        self._broken = False  # it was for an error that the last line was lost
        self._said = False
        self._begin()
        try:
            if stream is not None:
                stream.flush()
                self._open(stream.fileno())
        except (OSError, ValueError):
            pass  # a stream in memory, or a closed one

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._thread: threading.Thread | None = None

    def _open(self, given: int) -> None:
        """A way to the same place that does not wait, without a change to what others have open there, too."""
        kind = os.fstat(given).st_mode
        if stat.S_ISREG(kind):
            self._descriptor = os.dup(given)
            self._send = self._write
        elif stat.S_ISSOCK(kind):  # journald
            self._socket = socket.socket(fileno=os.dup(given))
            self._descriptor = self._socket.fileno()
            self._send = self._send_at_once
        else:
            try:
                how = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._descriptor = os.open(f"/proc/self/fd/{given}", how)
                self._send = self._write
            except OSError:
                self._descriptor = os.dup(given)  # another user's pipe

    def _write(self, data: bytes) -> int:
        assert self._descriptor is not None  # noqa: S101 - asked only where there is one
        return os.write(self._descriptor, data)

    def _send_at_once(self, data: bytes) -> int:
        assert self._socket is not None  # noqa: S101 - asked only where there is one
        return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def line(self, text: str) -> None:
        """Write this line, now or later."""
        if self._descriptor is None:
            self._write_stream(text)
            return
        data = _encoded(text)
        with self._lock:
            if self._send is not None and not self._kept:
                data = self._attempt(self._send, data)
            if data:
                self._keep(data)

    debug = info = warning = error = line

    def _write_stream(self, text: str) -> None:
        try:
            if self.stream is not None:
                self.stream.write(f"{text}\n")
                self.stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _attempt(self, send: Callable[[bytes], int], data: bytes) -> bytes:
        """Write as much as there is room for → the rest."""
        before = b"\n" if self._torn else b""
        if self._count:
            before += _encoded(self.lost(self._count))
        whole = before + data
        sent = 0
        try:
            while sent < len(whole):
                sent += send(whole[sent:])
        except BlockingIOError:
            if not sent:
                return data
        except OSError as error:
            self._torn = self._torn or sent > 0
            self._lose(error)
            return b""
        self._count, self._torn = 0, False
        return whole[sent:]

    # --- for a reader that has no room ------------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        """For the thread. Only a whole line can be lost here: the rest of one comes when nothing is kept."""
        if self._kept_bytes + len(data) > _MOST_KEPT:
            self._lose(None)
            return
        if self._count:
            data = _encoded(self.lost(self._count)) + data
            self._count = 0
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._thread is None:
            metrics.LOG_LINES_LOST.add(by=0)  # the thread may count, but not make a series
            self._thread = threading.Thread(target=self._write_kept, name="log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None  # the next line tries again

    def _write_kept(self) -> None:
        """The thread: write what is kept, waiting as long as it takes."""
        assert self._descriptor is not None  # noqa: S101 - nothing is kept else
        send = self._send or self._write
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while (data := self._next()) is not None:
            poll.poll()
            error: OSError | None = None
            try:
                sent = send(data)
            except BlockingIOError:
                sent = 0
                time.sleep(_AGAIN_SECONDS)
            except OSError as broken:
                sent, error = len(data), broken
            with self._lock:
                self._kept_bytes -= sent
                if sent == len(data):
                    self._kept.popleft()
                else:
                    self._kept[0] = data[sent:]
                self._broken = False
                if error is not None:
                    self._lose(error)

    def _next(self) -> bytes | None:
        """What is to be written next; None: nothing, and the thread ends."""
        with self._lock:
            if not self._kept and self._count and not self._broken:
                self._kept.append(_encoded(self.lost(self._count)))
                self._kept_bytes += len(self._kept[0])
                self._count = 0
            if not self._kept:
                self._thread = None
                return None
            return self._kept[0]

    def _lose(self, error: OSError | ValueError | None) -> None:
        """Standard error is the last place left to say that nothing is said any more; None: for want of room."""
        self._count += 1
        self._broken = error is not None
        metrics.LOG_LINES_LOST.add()
        if not self._said:
            self._said = True
            why = "nobody reads it"
            if error is not None:
                why = errors.words(error) if isinstance(error, OSError) else "it is closed"
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            with contextlib.suppress(OSError):
                if poll.poll(0):  # it may be the same pipe
                    os.write(2, f"ftpsproxy: the log can't be written, lines are lost: {why}\n".encode())

    # --- ends -------------------------------------------------------------------------------------------------------

    def flush(self, seconds: float) -> None:
        """Wait so long at most for what is kept to be written."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def forked(self) -> None:
        """This is another process now: what is kept is the parent's to write, and its thread is not here."""
        self._begin()

    def __del__(self) -> None:
        if self._socket is not None:
            self._socket.close()
        elif self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)


def _encoded(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")
