"""Where lines go. Whoever reads them may be slow, or stand still: nobody here ever waits for that.

A line is written at once where that takes no waiting. What the reader has no room for is kept, up to a bound, for a
thread that lives as long as there is such; beyond it lines are lost and counted, and the log says how many as soon as
it can be written again. Standard error hears of it once. Where lines are chained (`chain.py`), each is as it
is written.
"""

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

from ftpsproxy import errors
from ftpsproxy.observe import metrics
from ftpsproxy.observe.chain import Chain, new_writer

# Bytes kept for a reader that has no room: some 5,000 lines.
_MOST_KEPT = 1024 * 1024
_AGAIN_SECONDS = 0.01


class _Entry(NamedTuple):
    """A line without its end. One that says how many are lost stands for those."""

    text: bytes
    chain: Chain | None
    stands_for: int = 1


class Output:
    """One write for each line, straight to the descriptor where there is one. Never raises, never waits.

    `lost` makes the line that says how many were lost; `chain_begun`, `chain_forked`, `chain_ended` those of a chain.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.lost: Callable[[int], str] = str
        self.chain_begun: Callable[[Chain], str] = str
        self.chain_forked: Callable[[dict[str, object]], str] = str
        self.chain_ended: Callable[[], str] = str
        self._chain: Chain | None = None
        self._child: str | None = None  # the chain of the process that is being forked
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
        self._kept: deque[_Entry] = deque()
        self._kept_bytes = 0
        self._begun: _Entry | None = None  # partly written
        self._rest, self._size = b"", 0  # what there still is of it, and how long it was
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
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            send, chain = self._send, self._chain
            if send is not None and chain is None and not (self._count or self._torn or self._kept or self._begun):
                self._write_now(send, _Entry(data, None), data + b"\n")  # the usual case, kept cheap
                return
            entry = _Entry(data, chain)
            if self._descriptor is None:
                self._write_stream(entry)
            elif send is None or self._waiting():
                self._keep(entry)
            else:
                self._attempt(send, entry)

    debug = info = warning = error = line

    def _before(self) -> Iterator[_Entry]:
        """What must be said before the next line; asked for while it is written."""
        chain = self._chain
        if chain is not None and not chain.begun:
            chain.begun = True
            yield _Entry(self.chain_begun(chain).encode(), chain)
        if self._count:
            count, self._count = self._count, 0
            yield _Entry(self.lost(count).encode(), chain, count)

    def _sealed(self, entry: _Entry) -> bytes:
        """As it is written now; `_done` when it is."""
        line = entry.text if entry.chain is None else entry.chain.sealed(entry.text)
        return (b"\n" if self._torn else b"") + line + b"\n"

    def _done(self, entry: _Entry, *, torn: bool = False) -> None:
        """The line is in the log; `torn`: but for its end."""
        if entry.chain is not None:
            entry.chain.written()
        self._torn = torn

    def _write_stream(self, last: _Entry) -> None:
        for entry in (*self._before(), last):
            try:
                if self.stream is not None:
                    self.stream.write(self._sealed(entry).decode())
                    self.stream.flush()
                self._done(entry)
            except (OSError, ValueError) as error:
                self._lose(error, entry.stands_for)

    def _attempt(self, send: Callable[[bytes], int], last: _Entry) -> None:
        """Write it and what comes before; what there is no room for is for the thread."""
        for entry in (*self._before(), last):
            if self._waiting():
                self._append(entry)  # behind the one that found no room
            else:
                self._write_now(send, entry, self._sealed(entry))

    def _write_now(self, send: Callable[[bytes], int], entry: _Entry, data: bytes) -> None:
        """Write this line, sealed as `data`; nothing is kept before it."""
        sent = 0
        try:
            while sent < len(data):
                sent += send(data[sent:] if sent else data)
        except BlockingIOError:
            if sent:
                self._begun, self._rest, self._size = entry, data[sent:], len(data)
            else:
                self._append(entry)
            self._start_thread()
        except OSError as error:
            self._fail(error, entry, sent, len(data))
        else:
            self._done(entry)

    def _fail(self, error: OSError, entry: _Entry, sent: int, size: int) -> None:
        """A line of `size` bytes could not be written to its end. Without its end alone it is not lost."""
        if sent == size - 1:
            self._done(entry, torn=True)
            return
        self._torn = self._torn or sent > 0
        self._lose(error, entry.stands_for)

    # --- for a reader that has no room ------------------------------------------------------------------------------

    def _waiting(self) -> bool:
        return bool(self._kept or self._begun)

    def _append(self, entry: _Entry) -> None:
        self._kept.append(entry)
        self._kept_bytes += len(entry.text)

    def _keep(self, entry: _Entry) -> None:
        """For the thread. Only a whole line can be lost here."""
        if self._kept_bytes + len(entry.text) > _MOST_KEPT:
            self._lose(None, entry.stands_for)
            return
        for one in (*self._before(), entry):
            self._append(one)
        self._start_thread()

    def _start_thread(self) -> None:
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
        while (begun := self._next()) is not None:
            entry, data = begun
            poll.poll()
            error: OSError | None = None
            sent = 0
            try:
                sent = send(data)
            except BlockingIOError:
                time.sleep(_AGAIN_SECONDS)
            except OSError as broken:
                error = broken
            with self._lock:
                self._broken = False
                self._rest = data[sent:]
                if error is not None:
                    self._begun = None
                    self._fail(error, entry, self._size - len(data), self._size)
                elif not self._rest:
                    self._begun = None
                    self._done(entry)

    def _next(self) -> tuple[_Entry, bytes] | None:
        """What is to be written next; None: nothing, and the thread ends."""
        with self._lock:
            if not self._waiting() and self._count and not self._broken:
                for entry in self._before():
                    self._append(entry)
            if self._begun is None and self._kept:
                self._begun = self._kept.popleft()
                self._kept_bytes -= len(self._begun.text)
                self._rest = self._sealed(self._begun)
                self._size = len(self._rest)
            if self._begun is None:
                self._thread = None
                return None
            return self._begun, self._rest

    def _lose(self, error: OSError | ValueError | None, stands_for: int) -> None:
        """Standard error is the last place left to say that nothing is said any more; None: for want of room."""
        self._count += stands_for
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

    # --- the chain --------------------------------------------------------------------------------------------------

    def chain_by(self, key: bytes | None) -> None:
        """From here on chain lines by this key, empty for none at all; None: don't. Another chain is ended before."""
        if self._chain is not None and self._chain.key == key:
            return
        if self._chain is not None:
            self.end_chain()
        with self._lock:
            self._chain = None if key is None else Chain(key, new_writer())

    def begin_chain(self) -> None:
        """Write its first line, if that is not there: it comes before the first of others anyway."""
        if (chain := self._chain) is not None and not chain.begun:
            chain.begun = True
            self.line(self.chain_begun(chain))

    def end_chain(self) -> None:
        """Write its last line. What may come later stands in another chain."""
        if (chain := self._chain) is not None:
            self.line(self.chain_ended())
            with self._lock:
                self._chain = Chain(chain.key, new_writer())

    def about_to_fork(self) -> None:
        """Another process begins, with a chain of its own."""
        self._child = new_writer()

    def has_forked(self, pid: int) -> None:
        """The process is there: its chain is to be found in the log, too."""
        if self._chain is not None:
            self.line(self.chain_forked({"pid": pid, "child": self._child}))

    def forked(self) -> None:
        """This is another process now: what is kept is the parent's to write, and its thread is not here."""
        self._begin()
        self._count = 0
        if self._chain is not None:
            self._chain = Chain(self._chain.key, self._child or new_writer(), self._chain.writer)

    def __del__(self) -> None:
        if self._socket is not None:
            self._socket.close()
        elif self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
