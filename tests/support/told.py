"""A client's control connection, as an upload looks at it."""

from dataclasses import dataclass
from socket import socket as Socket

from ftpsproxy import net


@dataclass(frozen=True, slots=True)
class Told:
    """One whose session hears nothing."""

    sock: Socket

    @property
    def unheard(self) -> bool:
        return net.unread(self.sock) > 0
