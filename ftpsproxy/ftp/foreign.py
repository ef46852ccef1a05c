"""What a server that is none of FTP's says first."""

_BEGINNINGS = (
    ("TLS", (b"\x15\x03", b"\x16\x03", b"\x17\x03")),  # a record: alert, handshake, data (RFC 8446 section 5.1)
    ("SSH", (b"SSH-",)),
    ("HTTP", (b"HTTP/", b"<")),
    ("IMAP", (b"* OK",)),
    ("POP3", (b"+OK",)),
)

PROTOCOLS = tuple(name for name, _ in _BEGINNINGS)


def protocol_of(said: bytes) -> str:
    """The protocol that begins so; "" for none that is known here."""
    return next((name for name, beginnings in _BEGINNINGS if said.startswith(beginnings)), "")
