"""Standard output and standard error as places for lines, and streams in memory."""

import fcntl
import os
import socket
import stat
from typing import TextIO

from ftpsproxy.observe.entry import Entry
from ftpsproxy.observe.files import cut_short
from ftpsproxy.observe.output import Output


class StreamOutput(Output):
    """One write for each line, straight to the descriptor where there is one."""

    def __init__(self, stream: TextIO | None, name: str = "") -> None:
        self._socket: socket.socket | None = None
        super().__init__(name)
        self.stream = stream
        try:
            if stream is not None:
                stream.flush()
                self._open(stream.fileno())
        except (OSError, ValueError):
            pass  # a stream in memory, or a closed one

    def _open(self, given: int) -> None:
        """A way to the same place that does not wait, without a change to what others have open there, too."""
        kind = os.fstat(given).st_mode
        if stat.S_ISREG(kind):
            self._descriptor = os.dup(given)
            self._torn = bool(fcntl.fcntl(given, fcntl.F_GETFL) & os.O_APPEND) and cut_short(given)
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

    def _send_at_once(self, data: bytes) -> int:
        assert self._socket is not None  # noqa: S101 - asked only where there is one
        return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _put(self, entry: Entry) -> None:
        if self._descriptor is None:
            self._write_stream(entry)
        else:
            super()._put(entry)

    def _write_stream(self, last: Entry) -> None:
        for entry in (*self._before(), last):
            try:
                if self.stream is not None:
                    self.stream.write(self._sealed(entry).decode())
                    self.stream.flush()
                self._done(entry)
            except (OSError, ValueError) as error:
                self._lose(error, entry.tells)

    def _close(self) -> None:
        if self._socket is not None:
            self._descriptor = None
            self._socket.close()
        super()._close()
