"""A line on its way to an output."""

from typing import NamedTuple

from ftpsproxy.observe.chain import Chain


class Entry(NamedTuple):
    """A line without its end; of how many lost ones it tells; what stands before it and is no part of it, nor of its
    chain."""

    text: bytes
    chain: Chain | None
    tells: int = 0
    head: bytes = b""


Said = tuple[str | bytes, bytes]
"""A line, and its head. Without a line there is nothing to say."""


def nothing(*_: object) -> Said:
    """What an output says of itself that has no form."""
    return "", b""


def own(said: Said, chain: Chain | None, tells: int = 0) -> Entry:
    """A line of the log about itself."""
    text, head = said
    return Entry(text.encode() if isinstance(text, str) else text, chain, tells, head)
