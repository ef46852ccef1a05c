"""What every client does in the matrix: files of three sizes both ways, a listing, a rename and a delete if it can."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.support.clients import Client, ClientFailed
from tests.support.servers import Endpoint, Server

EMPTY_DOWNLOADS = "RETR of an empty file"
"""For a server that can't do it, as ``lacks``."""

SIZES = {"empty": 0, "byte": 1, "large": 300_007}  # large: many TLS records, and no round number


def content(size: int, seed: object) -> bytes:
    """Bytes that look random and are the same for the same seed."""
    return random.Random(f"{size} {seed}").randbytes(size)


def sha256(data: bytes | Path) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.read_bytes()).hexdigest()


def play(
    client: Client,
    endpoint: Endpoint,
    server: Server,
    scratch: Path,
    prefix: str,
    lacks: Collection[str] = (),
) -> int:
    """Runs the script and compares every file; returns how many transfers, listings among them, it made.

    ``endpoint`` is where the client logs in, ``server`` whose home directory the files must land in; what it ``lacks``
    the client must see refused, or is not asked for.
    """
    transfers = 0
    for label, size in SIZES.items():
        sent = content(size, f"{prefix} {label}")
        source, uploaded = scratch / f"{prefix}-{label}", f"{prefix}-up-{label}"
        source.write_bytes(sent)
        if client.upload is not None:
            client.upload(endpoint, source, uploaded)
            transfers += 1
            arrived = server.home / uploaded
            assert arrived.stat().st_size == size
            assert sha256(arrived) == sha256(sent)
        if size == 0 and EMPTY_DOWNLOADS in lacks:
            continue
        kept = content(size, f"{prefix} {label} down")
        server.put(f"{prefix}-down-{label}", kept)
        fetched = scratch / f"{prefix}-got-{label}"
        client.download(endpoint, fetched, f"{prefix}-down-{label}")
        transfers += 1
        assert fetched.stat().st_size == size
        assert sha256(fetched) == sha256(kept)
    if client.list is not None and client.lists_by in lacks:
        with pytest.raises(ClientFailed):
            client.list(endpoint, "")
    elif client.list is not None:
        assert f"{prefix}-down-large" in client.list(endpoint, "")
        transfers += 1
    if client.rename is not None:
        client.rename(endpoint, f"{prefix}-down-byte", f"{prefix}-renamed")
        assert not (server.home / f"{prefix}-down-byte").exists()
        assert (server.home / f"{prefix}-renamed").exists()
    if client.delete is not None:
        client.delete(endpoint, f"{prefix}-renamed")
        assert not (server.home / f"{prefix}-renamed").exists()
    return transfers
