"""What all sessions of one listener share, and how long each kind of waiting may last there."""

from dataclasses import dataclass

from ftpsproxy.config import Limits, Listener, Timeouts, Upstream
from ftpsproxy.dataports import DataListeners
from ftpsproxy.ftp.messages import Waiting
from ftpsproxy.ftp.serverend import Learned
from ftpsproxy.net import Resolver
from ftpsproxy.reactor import NEVER, Reactor
from ftpsproxy.seats import RefusedLogins
from ftpsproxy.tls import Context


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of one listener share."""

    listener: Listener
    upstream: Upstream
    limits: Limits
    timeouts: Timeouts
    context: Context
    learned: Learned
    reactor: Reactor
    data_listeners: DataListeners
    resolver: Resolver
    patience: dict[Waiting, float]
    refused_logins: RefusedLogins
    debug: bool = False


def patience(timeouts: Timeouts) -> dict[Waiting, float]:
    """How long, in seconds, each kind of waiting may last.

    A login has a time of its own, from the connection to the server on, and the opening is part of it.
    """
    return {
        Waiting.OPENING: timeouts.reply,
        Waiting.LOGIN: timeouts.login,
        Waiting.CLIENT: timeouts.idle,
        Waiting.REPLY: timeouts.reply,
        Waiting.START: timeouts.final_reply,
        Waiting.CONNECTION: NEVER,  # connecting has a limit of its own
        Waiting.DATA: NEVER,  # the transfer keeps its own time, for each side
        Waiting.VERDICT: timeouts.final_reply,
        Waiting.TORN: timeouts.abort,  # then ABOR is tried
        Waiting.ABORT: timeouts.abort,
        Waiting.NOTHING: NEVER,
    }
