"""Commands: reading a client's line, and what the gateway thinks of each verb.

A verb that stands in no table passes as it is, known or not.
"""

import enum
from dataclasses import dataclass

from ftpsproxy.ftp.errors import ProtocolError


class Direction(enum.Enum):
    """Which way the bytes of a transfer go."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: verb in upper case; argument as it stood, None when there was no space behind the verb."""

    verb: bytes
    argument: bytes | None = None

    def encode(self) -> bytes:
        """The command as it goes over the wire."""
        if self.argument is None:
            return self.verb + b"\r\n"
        return b"%s %s\r\n" % (self.verb, self.argument)

    @property
    def shown(self) -> str:
        """The argument for a log: nothing of a secret one, escapes for what is not UTF-8."""
        if self.argument is None:
            return ""
        if self.verb in SECRET:
            return "****"
        return self.argument.decode("utf-8", "backslashreplace")


# Arguments that stand in no log (RFC 959: PASS, ACCT; RFC 2228: ADAT; others carry one now and then).
SECRET = frozenset({b"PASS", b"XPAS", b"ACCT", b"ADAT"})

# Verbs that open a data connection (RFC 959 section 4.1.3, RFC 3659 section 7).
DATA_VERBS = {
    b"RETR": Direction.DOWNLOAD,
    b"LIST": Direction.DOWNLOAD,
    b"NLST": Direction.DOWNLOAD,
    b"MLSD": Direction.DOWNLOAD,
    b"STOR": Direction.UPLOAD,
    b"STOU": Direction.UPLOAD,
    b"APPE": Direction.UPLOAD,
}

# Answered here with 502, each with its reason.
REFUSED = {
    b"AUTH": "This gateway speaks plain FTP to you and TLS to the server.",
    b"PBSZ": "Protection is this gateway's affair, not the client's.",
    b"PROT": "Protection is this gateway's affair, not the client's.",
    b"CCC": "The control connection to the server stays protected.",
    b"ADAT": "Security data is not accepted here.",
    b"MIC": "Protected commands are not accepted here.",
    b"CONF": "Protected commands are not accepted here.",
    b"ENC": "Protected commands are not accepted here.",
    b"SSCN": "Transfers between two servers are not possible here.",
    b"CPSV": "Transfers between two servers are not possible here.",
    b"LPRT": "Use EPRT or PORT.",
    b"LPSV": "Use EPSV or PASV.",
    # RFC 4217 section 11: REIN takes the TLS of the control connection back, so it can't go to the server.
    b"REIN": "Open a new connection instead.",
}

# Old names to try again under the new one when the server knows only that (RFC 775 against RFC 959).
MODERN = {b"XCWD": b"CWD", b"XPWD": b"PWD", b"XMKD": b"MKD", b"XRMD": b"RMD", b"XCUP": b"CDUP"}

# What browsers and scanners of other protocols say first. None of these is a verb of any FTP document.
HTTP_VERBS = frozenset(
    {b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"DELETE", b"HOST:"}
)

# Features that would promise a client what it can't have here.
_HIDDEN_FEATURES = frozenset({b"AUTH", b"PBSZ", b"PROT", b"CCC", b"SSCN", b"CPSV", b"REIN", b"LPRT", b"LPSV"})


def parse(line: bytes) -> Command | None:
    """A client's line → the command in it; None for an empty line.

    Raises ProtocolError for NUL and CR inside: they end a line for some servers, so what follows would be a command of
    its own.
    """
    if b"\0" in line or b"\r" in line:
        raise ProtocolError("NUL or CR inside a command")
    line = line.lstrip(b" \t")
    verb, space, argument = line.partition(b" ")
    if not verb:
        return None
    return Command(verb.upper(), argument if space else None)


def is_http(command: Command) -> bool:
    """Whether this is HTTP on the FTP port (cross-protocol attacks send it through a browser)."""
    return command.verb in HTTP_VERBS


def visible_features(lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The lines of a FEAT reply without what promises TLS to a plain client, with the EPSV and EPRT spoken here.

    Each feature stands in a line that begins with a space (RFC 2389); IIS lists `AUTH TLS;TLS-C;SSL;TLS-P;` in one.
    """
    if len(lines) < 3:
        return lines
    kept = []
    names = set()
    for line in lines[1:-1]:
        name = line.strip().partition(b" ")[0].partition(b";")[0].upper()
        if name.startswith(b"211-"):
            name = name[4:]
        if name not in _HIDDEN_FEATURES:
            kept.append(line)
            names.add(name)
    kept += [b" " + name for name in (b"EPRT", b"EPSV") if name not in names]
    return (lines[0], *kept, lines[-1])
