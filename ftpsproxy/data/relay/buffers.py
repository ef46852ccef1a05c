"""The buffers of relays: two for each, of 256 KiB, kept for the next ones."""

from ftpsproxy.tls import Buffer

SIZE = 256 * 1024
_KEPT = 16

_pool: list[Buffer] = []


def take() -> Buffer:
    """One that nobody uses."""
    return _pool.pop() if _pool else Buffer(SIZE)


def give(*buffers: Buffer) -> None:
    """These are used no more: no socket, and no TLS, looks into them."""
    if len(_pool) < _KEPT:
        _pool.extend(buffers)
