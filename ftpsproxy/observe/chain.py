"""The log as evidence: each line carries a digest of itself and of the line before it (`log.chain`).

A line of a chain is a JSON object whose last three fields are `writer` (the chain: one for each process, from its
`gateway.chain_begun` to its `gateway.chain_ended`), `seq` (from 1) and `chain`, in hex:

    SHA-256(the `chain` of the line before, in hex + the bytes of this line as far as the comma before its own `chain`)

or, with a key, HMAC-SHA-256 of the same. Before the first line stands the digest of the writer alone.
"""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass

BEGUN, FORKED, ENDED = "gateway.chain_begun", "gateway.chain_forked", "gateway.chain_ended"
"""The events of a chain: its first line, that another process with a chain of its own begins, its last line."""

_SEALED = re.compile(
    rb'(?P<body>\{"timestamp":"(?P<timestamp>[^"]*)","level":"[a-z]+","event":"(?P<event>[a-z_.]+)".*'
    rb',"writer":"(?P<writer>[0-9a-f]{16})","seq":(?P<seq>[1-9][0-9]{0,17})),"chain":"(?P<chain>[0-9a-f]{64})"\}'
)


def digest(before: str, body: bytes, key: bytes) -> str:
    """The `chain` of a line, by that of the line before; without a key (empty) anybody can make it."""
    data = before.encode() + body
    return hmac.digest(key, data, "sha256").hex() if key else hashlib.sha256(data).hexdigest()


def origin(writer: str, key: bytes) -> str:
    """What stands before a chain's first line."""
    return digest("", writer.encode(), key)


def new_writer() -> str:
    """A name that no other chain has."""
    return os.urandom(8).hex()


class Chain:
    """The chain of this process. A line is sealed, and counts once it is `written`: what could not be written at all
    leaves no gap, but a line of its own that says how much is lost."""

    def __init__(self, key: bytes, writer: str, forked_from: str | None = None) -> None:
        self.key = key
        self.writer = writer
        self.forked_from = forked_from
        self.seq = 0
        self.begun = False  # its first line is on its way
        self._value = origin(writer, key)
        self._next = ""

    def sealed(self, line: bytes) -> bytes:
        """The line (a JSON object, without its end) as the next of the chain."""
        body = line[:-1] + f',"writer":"{self.writer}","seq":{self.seq + 1}'.encode()
        self._next = digest(self._value, body, self.key)
        return body + f',"chain":"{self._next}"}}'.encode()

    def written(self) -> None:
        """The line sealed last is in the log."""
        self.seq += 1
        self._value = self._next


@dataclass(frozen=True, slots=True)
class Sealed:
    """A line of a chain, read again. `body` is what its `chain` is made of."""

    body: bytes
    timestamp: str
    event: str
    writer: str
    seq: int
    chain: str


def read(line: bytes) -> Sealed | None:
    """None: it is of no chain, or not whole."""
    found = _SEALED.fullmatch(line)
    if found is None:
        return None
    words = {name: found[name].decode("ascii", "replace") for name in ("timestamp", "event", "writer", "chain")}
    return Sealed(found["body"], seq=int(found["seq"]), **words)
