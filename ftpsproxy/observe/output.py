"""Where lines go. Whoever reads them may be slow, or stand still: nobody here ever waits for that.

A line is written at once where that takes no waiting. What the reader has no room for is kept, up to a bound, for a
thread that lives as long as there is such; beyond it lines are lost and counted, and the log says how many as soon as
it can be written again. Standard error hears of it once, and where there are several outputs (`several.py`) the others
do. Where lines are chained (`chain.py`), each is as it is written.
"""

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ftpsproxy import errors
from ftpsproxy.observe import metrics
from ftpsproxy.observe.chain import Chain, new_writer
from ftpsproxy.observe.complaint import complain
from ftpsproxy.observe.entry import Entry, Said, nothing, own

# Bytes kept for a reader that has no room: some 5,000 lines.
_MOST_KEPT = 1024 * 1024
_AGAIN_SECONDS = 0.01
_PATIENCE_SECONDS = 1.0  # the thread looks so often whether it is still wanted
_LAST_SECONDS = 5.0  # what is kept for a place that is no longer wanted has so long
QUIET_SECONDS = 5.0
"""An output that was in trouble is well again once there was none for so long."""


class Output:
    """Lines for one place. Never raises, never waits.

    `lost` makes the line that says how many were lost; `chain_begun`, `chain_forked`, `chain_ended` those of a chain.
    `name` is what the operator calls it; none where there is only one. `failing` is called, with no lock held, when
    lines begin to be lost, or to wait for a place that is gone, and why; `restored` when they have gone their way again
    for some seconds, and how many were lost meanwhile.
    """

    end = b"\n"
    """What stands behind each line."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.lost: Callable[[int], Said] = nothing
        self.chain_begun: Callable[[Chain], Said] = nothing
        self.chain_forked: Callable[[dict[str, object]], Said] = nothing
        self.chain_ended: Callable[[], Said] = nothing
        self.failing: Callable[[str], None] | None = None
        self.restored: Callable[[int], None] | None = None
        self._chain: Chain | None = None
        self._child: str | None = None  # the chain of the process that is being forked
        self._send: Callable[[bytes], int] | None = None  # None: only by waiting
        self._descriptor: int | None = None  # of our own
        self._count = 0  # lines lost since the last that was written
        self._torn = False  # the last line was only partly written
        self._broken = False  # it was for an error that the last line was lost
        self._said = False
        self._news: str | None = None  # why lines are lost, or wait, for the others to hear
        self._trouble_since = 0.0  # when they last were; 0: all is well
        self._lost_in_trouble = 0
        self._until: float | None = None  # retired: what is kept may be written until then
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Entry] = deque()
        self._kept_bytes = 0
        self._begun: Entry | None = None  # partly written
        self._rest, self._size = b"", 0  # what there still is of it, and how long it was
        self._thread: threading.Thread | None = None

    def _write(self, data: bytes) -> int:
        assert self._descriptor is not None  # noqa: S101 - asked only where there is one
        return os.write(self._descriptor, data)

    def line(self, text: str | bytes, head: bytes = b"") -> None:
        """Write this line, now or later."""
        data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        with self._lock:
            send, chain = self._send, self._chain
            if send is not None and chain is None and not (self._count or self._torn or self._kept or self._begun):
                whole = head + data + self.end  # the usual case, kept cheap
                try:
                    sent = send(whole)
                    if sent == len(whole):
                        return
                except OSError as error:
                    self._refused(error, Entry(data, None, 0, head), whole, 0)
                else:
                    self._write_now(send, Entry(data, None, 0, head), whole, sent)
            elif self._until is None:
                self._put(Entry(data, chain, 0, head))
        if self._news is not None:
            self._tell()

    debug = info = warning = error = line

    def _put(self, entry: Entry) -> None:
        """Write it, or keep it."""
        send = self._send
        if send is None or self._waiting():
            self._keep(entry)
        else:
            self._attempt(send, entry)

    def _before(self) -> Iterator[Entry]:
        """What must be said before the next line; asked for while it is written."""
        chain = self._chain
        if chain is not None and not chain.begun:
            chain.begun = True
            yield own(self.chain_begun(chain), chain)
        if self._count:
            count, self._count = self._count, 0
            said = own(self.lost(count), chain, count)
            if said.text:
                yield said

    def _sealed(self, entry: Entry) -> bytes:
        """As it is written now; `_done` when it is."""
        line = entry.text if entry.chain is None else entry.chain.sealed(entry.text)
        return (b"\n" if self._torn else b"") + entry.head + line + self.end

    def _done(self, entry: Entry, *, torn: bool = False) -> None:
        """The line is in the log; `torn`: but for its end."""
        if entry.chain is not None:
            entry.chain.written()
        self._torn = torn

    def _attempt(self, send: Callable[[bytes], int], last: Entry) -> None:
        """Write it and what comes before; what there is no room for is for the thread."""
        for entry in (*self._before(), last):
            if self._waiting():
                self._append(entry)  # behind the one that found no room
            else:
                self._write_now(send, entry, self._sealed(entry))

    def _write_now(self, send: Callable[[bytes], int], entry: Entry, data: bytes, sent: int = 0) -> None:
        """Write this line, sealed as `data`, of which so much is written; nothing is kept before it."""
        try:
            while sent < len(data):
                sent += send(data[sent:] if sent else data)
        except OSError as error:
            self._refused(error, entry, data, sent)
        else:
            self._done(entry)

    def _refused(self, error: OSError, entry: Entry, data: bytes, sent: int) -> None:
        """So much of the line was written, and no more can be now."""
        if not isinstance(error, BlockingIOError):
            self._fail(error, entry, sent, len(data))
            return
        if sent:
            self._begun, self._rest, self._size = entry, data[sent:], len(data)
        else:
            self._append(entry)
        self._start_thread()

    def _fail(self, error: OSError, entry: Entry, sent: int, size: int) -> None:
        """A line of `size` bytes could not be written to its end. Without its end alone it is not lost."""
        if sent == size - 1:
            self._done(entry, torn=True)
            return
        self._torn = self._torn or sent > 0
        self._lose(error, entry.tells)

    # --- for a reader that has no room ------------------------------------------------------------------------------

    def _waiting(self) -> bool:
        return bool(self._kept or self._begun)

    def _append(self, entry: Entry) -> None:
        self._kept.append(entry)
        self._kept_bytes += len(entry.text)

    def _keep(self, entry: Entry) -> None:
        """For the thread. Only a whole line can be lost here."""
        if self._kept_bytes + len(entry.text) > _MOST_KEPT:
            self._lose(None, entry.tells)
            return
        for one in (*self._before(), entry):
            self._append(one)
        self._start_thread()

    def _start_thread(self) -> None:
        if self._thread is None:
            metrics.LOG_LINES_LOST.add(by=0)  # the thread may count, but not make a series
            if self.name:
                metrics.LOG_OUTPUT_LINES_LOST.add(self.name, by=0)
            self._thread = threading.Thread(target=self._write_kept, name="log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None  # the next line tries again

    def _write_kept(self) -> None:
        """The thread: write what is kept, waiting as long as it takes."""
        while (begun := self._next()) is not None:
            entry, data = begun
            if self._ready():
                error: OSError | None = None
                sent = 0
                try:
                    sent = (self._send or self._write)(data)
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
            if self._news is not None:
                self._tell()

    def _ready(self) -> bool:
        """In the thread: wait until more can be written. No: look again what there is to write."""
        assert self._descriptor is not None  # noqa: S101 - nothing is kept else
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(_PATIENCE_SECONDS * 1000))

    def _next(self) -> tuple[Entry, bytes] | None:
        """What is to be written next; None: nothing, and the thread ends."""
        with self._lock:
            if self._closed or (self._until is not None and time.monotonic() > self._until):
                self._say_unread()
                self._begun = None
                self._kept.clear()
            elif not self._waiting() and self._count and not self._broken:
                for entry in self._before():
                    self._append(entry)
            if self._begun is None and self._kept:
                self._begun = self._kept.popleft()
                self._kept_bytes -= len(self._begun.text)
                self._rest = self._sealed(self._begun)
                self._size = len(self._rest)
            if self._begun is None:
                self._thread = None
                if self._until is not None:
                    self._close()
                return None
            return self._begun, self._rest

    def _lose(self, error: OSError | ValueError | None, tells: int) -> None:
        """A line is lost, or one that tells of such; None: for want of room."""
        self._count += tells or 1
        self._broken = error is not None
        if not tells:
            metrics.LOG_LINES_LOST.add()
            if self.name:
                metrics.LOG_OUTPUT_LINES_LOST.add(self.name)
                self._lost_in_trouble += 1
        why = "nobody reads it"
        if error is not None:
            why = errors.words(error) if isinstance(error, OSError) else "it is closed"
        self._in_trouble(why)
        if not self._said:
            self._said = True
            complain(f"the log can't be written{f' to {self.name}' if self.name else ''}, lines are lost: {why}")

    # --- for the others to hear -------------------------------------------------------------------------------------

    def _in_trouble(self, why: str) -> None:
        """Lines are lost, or wait for a place that is gone."""
        if self.failing is not None:
            if not self._trouble_since:
                self._news = why
            self._trouble_since = time.monotonic()

    def _tell(self) -> None:
        why, self._news = self._news, None
        if why is not None and self.failing is not None:
            self.failing(why)

    def look(self) -> None:
        """To be called every few seconds: what no line tells of, and how many were lost before a silence."""
        with self._lock:
            if self._count and self._send is not None and not self._waiting():
                for entry in self._before():
                    self._write_now(self._send, entry, self._sealed(entry))
            quiet = time.monotonic() - self._trouble_since > QUIET_SECONDS
            if not self._trouble_since or not quiet or self._count or self._waiting():
                return
            lost, self._lost_in_trouble, self._trouble_since = self._lost_in_trouble, 0, 0.0
        if self.restored is not None:
            self.restored(lost)

    # --- ends -------------------------------------------------------------------------------------------------------

    def flush(self, seconds: float) -> None:
        """Wait so long at most for what is kept to be written."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def leave(self) -> None:
        """The process is about to end: say how many lines are lost with it."""
        with self._lock:
            unread = self._say_unread()
        if unread and self.failing is not None:
            self.failing(f"nobody has read its last lines, and with the process {unread} of them end")

    def _say_unread(self) -> int:
        """How many are kept that there is no time for any more."""
        unread = len(self._kept) + (self._begun is not None)
        if unread:
            complain(
                f"lines of the log are lost{f' to {self.name}' if self.name else ''}, nobody has read them: {unread}"
            )
        return unread

    @property
    def behind(self) -> bool:
        """Whether lines wait for whoever reads them."""
        return self._thread is not None

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
            self.line(*self.chain_begun(chain))

    def end_chain(self) -> None:
        """Write its last line. What may come later stands in another chain."""
        if (chain := self._chain) is not None:
            self.line(*self.chain_ended())
            with self._lock:
                self._chain = Chain(chain.key, new_writer())

    def about_to_fork(self) -> None:
        """Another process begins, with a chain of its own."""
        self._child = new_writer()

    def has_forked(self, pid: int) -> None:
        """The process is there: its chain is to be found in the log, too."""
        if self._chain is not None:
            self.line(*self.chain_forked({"pid": pid, "child": self._child}))

    def forked(self) -> None:
        """This is another process now: what is kept is the parent's to write, and its thread is not here."""
        self._begin()
        self._count = self._lost_in_trouble = 0
        self._news, self._trouble_since = None, 0.0
        if self._chain is not None:
            self._chain = Chain(self._chain.key, self._child or new_writer(), self._chain.writer)

    def retire(self) -> None:
        """There will be no more lines; what is kept has a moment left."""
        self.failing = self.restored = None
        self.chain_by(None)
        with self._lock:
            self._until = time.monotonic() + _LAST_SECONDS
            if not self._waiting():
                self._close()  # else the thread does, at its end

    def reopen(self) -> None:
        """The place may be another one now, of the same name."""

    def _close(self) -> None:
        self._closed = True
        descriptor, self._descriptor, self._send = self._descriptor, None, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        self._close()
