"""A client's control connection without a session, for what asks about it."""

from dataclasses import dataclass
from socket import socket as Socket

from ftpsproxy.data.relay.upload_end import FirstEnd


@dataclass(frozen=True, slots=True)
class UnreadControl:
    """One that nobody reads."""

    sock: Socket

    def first_end(self, data: Socket) -> FirstEnd:
        return FirstEnd(self.sock, data)

    async def heard_out(self) -> None:
        pass
