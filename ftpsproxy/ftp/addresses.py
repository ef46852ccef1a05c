"""Addresses of data connections: PORT, EPRT, 227, 229, in and out (RFC 959, RFC 2428)."""

import ipaddress
import re
from dataclasses import dataclass

from ftpsproxy.ftp.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A numeric address and a port (1 to 65535); without a zone wherever it is said to anybody."""

    host: str
    port: int

    @property
    def v6(self) -> bool:
        """Whether this is an IPv6 address."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.v6 else f"{self.host}:{self.port}"


def plain(host: str) -> str:
    """An address as others write it: without a zone, and IPv4 inside IPv6 as IPv4.

    Raises ProtocolError for what is no address.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise ProtocolError(f"not an address: {host!a}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


_PORT = re.compile(rb"\s*" + rb"\s*,\s*".join([rb"(\d{1,3})"] * 6) + rb"\s*")  # some write blanks between
# Servers write 227 with and without parentheses, with `=` and spaces, over several lines; some print a byte as a
# negative number.
_SIX = re.compile(
    rb"(-?\d{1,3})\s*,\s*(-?\d{1,3})\s*,\s*(-?\d{1,3})\s*,\s*(-?\d{1,3})\s*,\s*(-?\d{1,3})\s*,\s*(-?\d{1,3})"
)
# Any printable delimiter (IBM i and z/OS write `!!!6446!`), three times and behind; some name family and address, too.
# Not one that an address holds, and no address longer than there are: else a line of 300,000 times the letter a is
# tried for minutes, in which nobody else is served.
_EXTENDED = re.compile(rb"([!-\-/;-@\[-`{-~])[12]?\1[0-9A-Fa-f.:]{0,45}\1(\d{1,5})\1")


def _port_number(text: bytes | int) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ProtocolError("port out of range")
    return port


def parse_port(argument: bytes) -> Endpoint:
    """The argument of PORT. Raises ProtocolError."""
    match = _PORT.fullmatch(argument)
    if match is None:
        raise ProtocolError("PORT wants six numbers with commas between")
    numbers = [int(group) for group in match.groups()]
    if max(numbers) > 255:
        raise ProtocolError("a number in PORT is above 255")
    return Endpoint(".".join(map(str, numbers[:4])), _port_number(numbers[4] * 256 + numbers[5]))


def parse_eprt(argument: bytes) -> Endpoint:
    """The argument of EPRT. Raises ProtocolError."""
    argument = argument.strip()
    parts = argument.split(argument[:1]) if argument else []
    if len(parts) != 5 or parts[0] or parts[4] or parts[1] not in (b"1", b"2"):
        raise ProtocolError("EPRT wants |1|ADDRESS|PORT| or |2|ADDRESS|PORT|")
    try:
        kind = ipaddress.IPv4Address if parts[1] == b"1" else ipaddress.IPv6Address
        kind(parts[2].decode("ascii").partition("%")[0])
        host = plain(parts[2].decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise ProtocolError("EPRT holds no such address") from None
    if not (parts[3].isdigit() and len(parts[3]) <= 5):
        raise ProtocolError("EPRT holds no port")
    return Endpoint(host, _port_number(parts[3]))


def parse_passive(words: bytes) -> Endpoint:
    """The words of a 227 reply. Raises ProtocolError."""
    match = _SIX.search(words)
    if match is None:
        raise ProtocolError("no address in the reply to PASV")
    numbers = [int(group) & 255 for group in match.groups()]
    return Endpoint(".".join(map(str, numbers[:4])), _port_number(numbers[4] * 256 + numbers[5]))


def has_passive(words: bytes) -> bool:
    """Whether there are six numbers in these words, as in those of a 227 reply."""
    return _SIX.search(words) is not None


def holds_any(words: bytes) -> bool:
    """Whether a client that looks for no code would find a passive address in these words."""
    return has_passive(words) or _EXTENDED.search(words) is not None


def parse_extended_passive(words: bytes) -> int:
    """The words of a 229 reply → the port. Raises ProtocolError."""
    match = _EXTENDED.search(words)
    if match is None:
        raise ProtocolError("no port in the reply to EPSV")
    return _port_number(match.group(2))


def render_port(endpoint: Endpoint) -> bytes:
    """`h1,h2,h3,h4,p1,p2` of an IPv4 endpoint."""
    return f"{endpoint.host.replace('.', ',')},{endpoint.port >> 8},{endpoint.port & 255}".encode()


def render_eprt(endpoint: Endpoint) -> bytes:
    """`|af|address|port|`."""
    return f"|{2 if endpoint.v6 else 1}|{endpoint.host}|{endpoint.port}|".encode()
