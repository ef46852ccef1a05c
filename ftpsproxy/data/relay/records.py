"""Where TLS records end in a stream: OpenSSL does not tell whether it holds part of one (RFC 8446 section 5.1)."""

from ftpsproxy.tls import Tls

_HEADER = 5


class Records:
    """Where TLS records end in a stream: OpenSSL does not tell whether it holds part of one."""

    __slots__ = ("_head", "_skip")

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0

    @classmethod
    def behind(cls, tls: Tls) -> "Records":
        """From the end of the handshake on; the first records may have come with it."""
        records = cls()
        records.feed(memoryview(tls.peek()))
        return records

    def feed(self, data: memoryview) -> None:
        """Take the next ciphertext."""
        at, size = self._skip, len(data)
        if self._head:
            need = _HEADER - len(self._head)
            self._head += bytes(data[:need])
            if len(self._head) < _HEADER:
                return
            at = need + (self._head[3] << 8 | self._head[4])
            self._head = b""
        while at + _HEADER <= size:
            at += _HEADER + (data[at + 3] << 8 | data[at + 4])
        if at < size:
            self._head = bytes(data[at:])
            self._skip = 0
        else:
            self._skip = at - size

    @property
    def whole(self) -> bool:
        """Whether the stream stands between two records."""
        return not self._head and self._skip == 0
