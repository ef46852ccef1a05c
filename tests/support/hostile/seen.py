"""What the misbehaving server saw of its peer, for the assertions of a test."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class SeenData:
    """One data connection. `ended` says how the peer ended it:

    close_notify (TLS said so) · fin (TCP end without it) · reset · broken (alert or undecryptable) · timeout ·
    here (this server ended it first) · "" while it lasts. `tcp_ended` says what TCP did after the close_notify.
    """

    verb: str
    argument: bytes
    peer: str = ""  # address it came from
    secured: bool = False
    resumed: bool = False
    version: str = ""
    cipher: str = ""
    server_name: str | None = None
    first_bytes: bytes = b""  # what came before TLS was up, 5 bytes at most: a TLS record begins with 0x16 0x03
    renegotiations: int = 0
    received: int = 0  # bytes of an upload
    sent: int = 0  # bytes of a download
    ended: str = ""
    tcp_ended: str = ""
    over: bool = False


@dataclass(slots=True)
class SeenSession:
    """One control connection."""

    peer: tuple[str, int]
    plaintext: bytearray = field(default_factory=bytearray)  # all commands that came before TLS
    hello: bytes = b""  # what came in place of a handshake this server then spoilt
    commands: list[bytes] = field(default_factory=list)  # lines under TLS, without their end
    secured: bool = False
    version: str = ""
    cipher: str = ""
    server_name: str | None = None
    alpn: str | None = None
    client_certificate: bool = False
    error: str = ""  # what went wrong in the handshake
    data: list[SeenData] = field(default_factory=list)
    ended: str = ""  # as in SeenData
    over: bool = False

    @property
    def in_clear(self) -> bytes:
        """All bytes that came outside TLS."""
        return bytes(self.plaintext) + self.hello

    def verbs(self) -> list[str]:
        """Return the verbs of all commands under TLS, upper-case."""
        return [line.split(b" ", 1)[0].decode("latin-1").upper() for line in self.commands]
