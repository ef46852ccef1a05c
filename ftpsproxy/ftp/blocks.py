"""The blocks of MODE B as they pass (RFC 959 section 3.4.2): whether the one that ends the file has been seen.

In MODE B the end of a file stands in its data, and the connection may stay open for the next one. Only the headers are
looked at: a byte of descriptor, two of length.
"""

import re

_HEADER = 3
_EMPTY = re.compile(rb"(?:[\x00-\x3f\x80-\xbf]\x00\x00)+")
_END_OF_FILE = 0x40


class Blocks:
    """Feed it all the bytes; `ended` tells whether they stand right behind a block that ends the file."""

    __slots__ = ("_head", "_last", "_left", "ended")

    def __init__(self) -> None:
        self._head = b""
        self._last = False
        self._left = 0
        self.ended = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                at += step
                self._left -= step
            elif not self._head and (empty := _EMPTY.match(data, at)) is not None:
                at = empty.end()  # at the speed of C: a peer may send nothing else
                self._last = False
            else:
                step = min(_HEADER - len(self._head), size - at)
                self._head += bytes(data[at : at + step])
                at += step
                if len(self._head) == _HEADER:
                    self._last = bool(self._head[0] & _END_OF_FILE)
                    self._left = self._head[1] << 8 | self._head[2]
                    self._head = b""
            self.ended = self._last and not self._left and not self._head
