"""What all sessions of one listener share, and how long each kind of waiting may last there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ftpsproxy.config import Limits, Listener, Timeouts, Upstream
from ftpsproxy.data.service import DataService
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.waiting import Waiting
from ftpsproxy.net import NEVER, Resolver


class NoPlace(Exception):
    """There is no place at the server for this session: the limit it met, and the words the client hears."""

    def __init__(self, limit: str, text: str) -> None:
        super().__init__(text)
        self.limit = limit
        self.text = text


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of one listener share. `refused_login` notes one of a client's → how many there were lately.
    `progress_seconds`: how often a transfer that lasts says so in the log, 0 for never."""

    data: DataService
    limits: Limits
    resolver: Resolver
    patience: dict[Waiting, float]
    policy: Policy
    refused_login: Callable[[str], int]
    debug: bool = False
    progress_seconds: float = 0.0

    @property
    def listener(self) -> Listener:
        """Where its clients come in."""
        return self.data.listener

    @property
    def upstream(self) -> Upstream:
        """Where they are brought."""
        return self.data.upstream

    @property
    def timeouts(self) -> Timeouts:
        """How long it may take."""
        return self.data.timeouts


class Place(Protocol):
    """A session's place at the server, if there are only so many."""

    async def take(self) -> tuple[Service, float | None]:
        """Wait for it → by what the session is served there, and the seconds it has waited, if it had to. Raises
        NoPlace."""

    def give_back(self) -> None:
        """It is not needed any more; nothing where it was not taken."""


def policy(listener: Listener, upstream: Upstream, limits: Limits) -> Policy:
    """What the protocol must know of them; each session adds its client."""
    return Policy(
        client="",
        implicit=upstream.implicit,
        greeting_in_clear=upstream.implicit and not upstream.tls_first,
        auth=upstream.auth,
        data_mode=upstream.data_mode,
        own_greeting=listener.greeting == "own" or not upstream.implicit,  # else it was said in clear
        login_attempts=limits.login_attempts,
        bad_lines=limits.bad_lines,
        greet_first=listener.greets_first,
        ahead=upstream.ahead,
        rights=listener.rights,
        charsets=listener.charsets,
    )


def patience(timeouts: Timeouts) -> dict[Waiting, float]:
    """How long, in seconds, each kind of waiting may last.

    A login has a time of its own, from the greeting, and once more from the connection to the server on; the opening is
    part of it.
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
