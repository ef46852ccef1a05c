"""What the two peers of a case have seen and done, for the judge."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ClientData:
    """A data connection at the client. `ended`: how the gateway ended it: "fin", "reset"; "" if it had not."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    fin: bool = False  # all of `sent` is a whole file
    cut: bool = False  # we have ended it otherwise
    ended: str = ""


@dataclass(slots=True)
class SeenClient:
    """All of a client's session."""

    said: list[bytes] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    data: list[ClientData] = field(default_factory=list)
    claims: list[bytes] = field(default_factory=list)  # lines answered 226 or 250 that no other can have meant
    connected: bool = False
    ended: str = ""  # how the gateway ended the control connection


@dataclass(slots=True)
class ServerData:
    """A data connection at the server."""

    verb: bytes
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    in_clear: bytes = b""  # what came that is no TLS record
    secured: bool = False
    good_certificate: bool = True
    spoilt: bool = False  # something was sent that is no TLS, or an alert, or perhaps not all that should be
    reset: bool = False
    whole: bytes | None = None  # what was sent before our close_notify, if nothing was spoilt
    bare: bytes | None = None  # and before a FIN without one
    ended: str = ""  # how the gateway ended: close_notify, fin, reset, broken, timeout; "" if we were first
    first: bool = False  # we have ended it, or spoilt it, before the gateway did

    def note_close_notify(self) -> None:
        if self.whole is None and self.bare is None and not (self.spoilt or self.reset):
            self.whole = bytes(self.sent)
        self.first = self.first or not self.ended

    def note_fin(self) -> None:
        if self.whole is None and self.bare is None and not (self.spoilt or self.reset):
            self.bare = bytes(self.sent)
        self.first = self.first or not self.ended


@dataclass(slots=True)
class SeenServer:
    """All of a server's session."""

    raw: bytearray = field(default_factory=bytearray)
    secured: bool = False
    good_certificate: bool = True
    commands: list[bytes] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    data: list[ServerData] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)  # of ours, not the gateway's
