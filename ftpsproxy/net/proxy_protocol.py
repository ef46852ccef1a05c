"""The PROXY protocol: the header by which a load balancer says for whom it has connected (HAProxy, proxy-protocol.txt).

Version 1 is a line of text, version 2 binary. Only the header is taken from a socket, not a byte behind it.
"""

import errno
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from ftpsproxy.net.addresses import plain_address
from ftpsproxy.net.waits import Socket

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""With it version 2 begins."""
_TEXT = b"PROXY "
_TEXT_BYTES = 107  # the longest line there is, with its end (section 2.1)
_FIXED_BYTES = 16
# Addresses and some hundred bytes of extensions are usual; a client's certificate may be among them.
_MOST_BYTES = 4096
_FAMILIES = {0x11: ("TCP4", 4), 0x21: ("TCP6", 16)}


class HeaderError(Exception):
    """This is no such header, or not one of TCP; `str()` is one plain line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """From where a client has connected, and to which address of the balancer's: numeric, IPv4 in IPv6 as IPv4."""

    client: str
    client_port: int
    reached: str
    reached_port: int


class HeaderReader:
    """Takes the header from a socket, whatever pieces it comes in."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._header = b""
        self.begun = False  # whether anything has come
        self.origin: Origin | None = None

    def read_nowait(self) -> bool:
        """Take what is there → whether the header is complete, and `origin` known: None where the balancer speaks for
        itself, as its health checks do. Raises HeaderError, OSError."""
        while True:
            try:
                there = self._sock.recv(_MOST_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            self.begun = self.begun or bool(there)
            if not there:
                raise HeaderError("it closed before its PROXY header was complete")
            length = _length(self._header + there)
            # What does not tell the length yet belongs to the header as a whole.
            wanted = len(there) if length is None else length - len(self._header)
            self._header += self._sock.recv(min(wanted, len(there)))
            if length == len(self._header):
                self.origin = parse(self._header)
                return True


def _length(data: bytes) -> int | None:
    """Of the header that begins so, in bytes; None while that cannot be told. Raises HeaderError."""
    if SIGNATURE.startswith(data[: len(SIGNATURE)]):
        if len(data) < _FIXED_BYTES:
            return None
        length: int = _FIXED_BYTES + struct.unpack_from("!H", data, 14)[0]
        if length > _MOST_BYTES:
            raise HeaderError(f"a PROXY header of {length} bytes, of {_MOST_BYTES} at most")
        return length
    if not _TEXT.startswith(data[: len(_TEXT)]):
        raise HeaderError("it begins without a PROXY header")
    end = data.find(b"\r\n", 0, _TEXT_BYTES)
    if end < 0:
        if len(data) >= _TEXT_BYTES:
            raise HeaderError(f"a PROXY line that does not end within {_TEXT_BYTES} bytes")
        return None
    return end + 2


def begins_proxy_header(said: bytes) -> bool:
    """Whether what somebody says first is the beginning of such a header."""
    return said.startswith((_TEXT, SIGNATURE[:5]))


def parse(header: bytes) -> Origin | None:
    """A complete header → whom it names, None for the balancer itself. Raises HeaderError."""
    return _parse_binary(header) if header.startswith(SIGNATURE) else _parse_text(header)


def _parse_text(line: bytes) -> Origin | None:
    words = line[:-2].decode("latin-1").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise HeaderError("a PROXY line without two addresses and ports of TCP")
    version = 4 if words[1] == "TCP4" else 6
    return Origin(_address(words[2], version), _port(words[4]), _address(words[3], version), _port(words[5]))


def _address(text: str, version: int) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise HeaderError(f"no address of IPv{version} where the PROXY line has one")
    return _plain(address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise HeaderError("no port where the PROXY line has one")
    return int(text)


def _parse_binary(header: bytes) -> Origin | None:
    version_and_command, family, length = struct.unpack_from("!BBH", header, len(SIGNATURE))
    if version_and_command not in (0x20, 0x21):
        raise HeaderError(f"a PROXY header of version and command {version_and_command:#x}; 0x20 and 0x21 are known")
    if version_and_command == 0x20 or family == 0:  # LOCAL; UNSPEC
        return None
    if family not in _FAMILIES or length < 2 * _FAMILIES[family][1] + 4:
        raise HeaderError("a PROXY header without two addresses and ports of TCP")
    size = _FAMILIES[family][1]
    client, reached, client_port, reached_port = struct.unpack_from(f"!{size}s{size}sHH", header, _FIXED_BYTES)
    return Origin(_plain(ip_address(client)), client_port, _plain(ip_address(reached)), reached_port)


def _plain(address: IPv4Address | IPv6Address) -> str:
    """As addresses of sockets are compared and shown. Raises HeaderError for what no client can have."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        raise HeaderError(f"a PROXY header with the address {address}, which no client can have")
    return str(address)


def header(version: str, origin: Origin) -> bytes:
    """For a server that takes it, in version "v1" or "v2": whom a connection is for, and to which address it goes."""
    client, reached = ip_address(origin.client), ip_address(origin.reached)
    if client.version != reached.version:  # there is one family only; IPv4 has a form in IPv6
        client, reached = _mapped(client), _mapped(reached)
    ports = origin.client_port, origin.reached_port
    if version == "v1":
        words = ("PROXY", f"TCP{client.version}", str(client), str(reached), *map(str, ports))
        return " ".join(words).encode() + b"\r\n"
    addresses = client.packed + reached.packed + struct.pack("!HH", *ports)
    family = 0x11 if client.version == 4 else 0x21
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(addresses)) + addresses


def announce(sock: Socket, version: str, client: str, client_port: int) -> None:
    """Say first of all, on a connection to a server that takes it, for whom it is. Raises OSError."""
    host, port = plain_address(sock.getpeername()), sock.getpeername()[1]
    said = header(version, Origin(client, client_port, host, port))
    if sock.send(said) < len(said):  # never, on a new connection
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def _mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")
