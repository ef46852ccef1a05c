"""What the data connections of all sessions of one listener share, and those of one session."""

from collections.abc import Callable
from dataclasses import dataclass

from ftpsproxy.config import Listener, Timeouts, Upstream
from ftpsproxy.data.passive import PassivePorts
from ftpsproxy.data.relay.flow import TransferPolicy
from ftpsproxy.data.relay.upload_end import ClientConnection
from ftpsproxy.ftp.events import Event
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from ftpsproxy.tls import Context, Resumption

Start = Callable[..., None]
"""Starts a task of the session: an async function and its arguments. Nothing happens once the session is over."""


@dataclass(frozen=True, slots=True)
class DataService:
    """What the data connections of all sessions of one listener share."""

    listener: Listener
    upstream: Upstream
    timeouts: Timeouts
    context: Context
    quirks: UpstreamQuirks
    passive_ports: PassivePorts
    policy: TransferPolicy


@dataclass(frozen=True, slots=True)
class SessionData:
    """What the data connections of one session share: `client` is asked about its control connection, `start` starts a
    task of the session, `report` tells its protocol."""

    service: DataService
    resumption: Resumption
    client: ClientConnection
    start: Start
    report: Callable[[Event], None]


def transfer_policy(listener: Listener, upstream: Upstream, timeouts: Timeouts) -> TransferPolicy:
    """The same for all transfers of a listener."""
    return TransferPolicy(
        client_stall=timeouts.client_stall,
        server_stall=timeouts.server_stall,
        handshake=timeouts.handshake,
        data_connect=timeouts.data_connect,
        linger=timeouts.linger,
        close_notify=upstream.close_notify,
        digest=listener.digest == "sha256",
        max_file_bytes=listener.rights.max_file_bytes,
        charsets=listener.charsets,
    )
