"""A file as a place for lines: appended to, in one write for each line, so that several processes can share it.

It is opened anew when somebody has moved or removed it (logrotate), which is looked for every second, and at once when
the gateway is told to (SIGUSR1). What has shortened it (copytruncate) needs nothing: a line always goes to the end.
"""

import contextlib
import os
import stat
import time

from ftpsproxy import errors
from ftpsproxy.observe.entry import Entry
from ftpsproxy.observe.output import Output

_MODE = 0o640  # less what the umask takes
_LOOK_SECONDS = 1.0


class FileOutput(Output):
    """See above. Raises OSError where it can't be opened at all."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(name)
        self._path = path
        self._descriptor, self._is = _opened(path)
        self._torn = cut_short(self._descriptor)
        self._send = self._write
        self._due = 0.0  # when to look next

    def line(self, text: str | bytes, head: bytes = b"") -> None:
        if time.monotonic() >= self._due:
            self._follow()
        super().line(text, head)

    debug = info = warning = error = line

    def look(self) -> None:
        self._follow()
        super().look()

    def reopen(self) -> None:
        self._follow(anew=True)

    def _follow(self, *, anew: bool = False) -> None:
        """Write to what has the name now; `anew`, though it may be the same."""
        with self._lock:
            self._due = time.monotonic() + _LOOK_SECONDS
            if self._begun is None and self._until is None:
                if anew or not self._is_there():
                    self._open_anew()
                self._look_at_its_end()
                self._mend()
        if self._news is not None:
            self._tell()

    def _is_there(self) -> bool:
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._is

    def _open_anew(self) -> None:
        try:
            descriptor, self._is = _opened(self._path)
        except OSError as error:  # what there is goes on: no line is lost
            self._in_trouble(f"it can't be opened anew, lines go to where it was: {errors.words(error)}")
            return
        old, self._descriptor = self._descriptor, descriptor
        self._torn, self._broken = cut_short(descriptor), False
        if old is not None:
            os.close(old)

    def _put(self, entry: Entry) -> None:
        if self._broken:
            self._look_at_its_end()
        super()._put(entry)

    def _look_at_its_end(self) -> None:
        """Another process may have been cut short there, and so may one that is no more."""
        if self._descriptor is not None and not self._torn:
            self._torn = cut_short(self._descriptor)

    def _mend(self) -> None:
        """End a line that was only partly written: another process does not know of it, and would go on in it."""
        if self._torn and self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, b"\n")
                self._torn = False


def cut_short(descriptor: int) -> bool:
    """Whether a file ends within a line; of one that can't be read nobody knows."""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            return False
        reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(reading, 1, found.st_size - 1) not in (b"\n", b"")
    except OSError:
        return False
    finally:
        os.close(reading)


def _opened(path: str) -> tuple[int, tuple[int, int]]:
    """A descriptor to append by, and which file it is. Raises OSError.

    A named pipe is opened for both ways: nobody has to read it yet, and it does not break when nobody does any more.
    """
    try:
        is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        is_pipe = False
    how = os.O_RDWR if is_pipe else os.O_WRONLY | os.O_APPEND | os.O_CREAT
    descriptor = os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, _MODE)
    found = os.fstat(descriptor)
    return descriptor, (found.st_dev, found.st_ino)
