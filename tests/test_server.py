"""The way to the server: what is left of a connection that breaks at once."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ftpsproxy import net
from ftpsproxy.config import Limits, Timeouts, Upstream
from ftpsproxy.session.client import ClientControl
from ftpsproxy.session.service import Service
from ftpsproxy.session.upstream import reach
from ftpsproxy.tls import Refused


async def test_a_connection_that_breaks_at_once_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = socket.socket()  # has no peer, as one that was reset

    async def connect(*_: Any) -> socket.socket:
        return broken

    monkeypatch.setattr(net, "connect", connect)
    service = SimpleNamespace(upstream=Upstream("u", "ftp.test"), timeouts=Timeouts(), limits=Limits(), resolver=None)
    with pytest.raises(Refused, match=r"ftp\.test port .*: the connection broke at once"):
        await reach(cast(Service, service), lambda *_: None, cast(ClientControl, None))
    assert broken.fileno() == -1
