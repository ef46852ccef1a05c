"""What a peer can do wrong on a control connection."""


class ProtocolError(Exception):
    """A peer broke the rules of its control connection. `str()` of it is one plain line, fit for a reply and a log."""


class LineTooLong(ProtocolError):
    """A line grew past its bound; its bytes are dropped up to its end."""


class ForeignProtocol(ProtocolError):
    """What the server speaks is another `protocol` (ftp/foreign.py)."""

    def __init__(self, protocol: str, words: str) -> None:
        super().__init__(words)
        self.protocol = protocol
