"""A client's control connection without a session, for what asks whether the client has said something."""

from dataclasses import dataclass
from socket import socket as Socket

from ftpsproxy import net


@dataclass(frozen=True, slots=True)
class UnreadControl:
    """One that nobody reads."""

    sock: Socket

    @property
    def unheard(self) -> bool:
        return net.unread(self.sock) > 0
