"""What the kernel knows of a TCP connection: whether it stands, what is unread, unsent, acknowledged. Only asked.

Linux's own: struct tcp_info, FIONREAD, TIOCOUTQ.
"""

import array
import errno
import fcntl
import socket
import struct
import termios

from ftpsproxy.net.waits import Socket

_TCP_ESTABLISHED = 1
_TCP_CLOSE_WAIT = 8
_TCP_CLOSE = 7
# struct tcp_info of Linux: one byte of state first; tcpi_bytes_acked, 64 bits, at 120 (since Linux 4.1).
_BYTES_ACKED = struct.Struct("@Q")
_BYTES_ACKED_AT = 120


def is_connected(sock: Socket) -> bool:
    """Whether a connection that was started is up."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:
        return False


def has_ended(sock: Socket) -> bool:
    """Whether the far side has sent FIN and no RST, read or not."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE_WAIT
    except OSError:
        return False


def is_broken(sock: Socket) -> bool:
    """Whether the connection was reset by the far side."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return True


def has_left(sock: Socket) -> bool:
    """Whether the far side has reset it, or ended its side with nothing left to read."""
    return is_broken(sock) or (has_ended(sock) and not unread(sock))


def unread(sock: Socket) -> int:
    """Bytes that have come and were not read."""
    return _queued(sock, termios.FIONREAD)


def unsent(sock: Socket) -> int:
    """Bytes, and an end, that the far side's kernel has not taken yet."""
    return _queued(sock, termios.TIOCOUTQ)


def _queued(sock: Socket, which: int) -> int:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), which, count)
    except (OSError, ValueError):  # closed meanwhile
        return 0
    return count[0]


def error_of(sock: Socket) -> int:
    """What has befallen a connection, as errno; 0 for nothing."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        return error.errno or errno.EBADF


def acknowledged(sock: Socket) -> int | None:
    """Bytes that the far side's kernel has taken, or None where the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(_BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)[0])
    except (OSError, struct.error):
        return None


def has_data(sock: Socket) -> bool:
    """Whether bytes, or the end, can be read at once. Raises OSError."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True
