"""Numeric addresses: with and without zone, as a socket wants them, as they are shown and compared."""

import socket

Address = tuple[socket.AddressFamily, tuple[object, ...]]
"""Family and socket address."""


def plain_address(sockaddr: tuple[object, ...]) -> str:
    """The numeric host of a socket address, IPv4 inside IPv6 as IPv4, without a zone."""
    host = str(sockaddr[0]).partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def zoned_address(sockaddr: tuple[object, ...]) -> str:
    """The same with its zone, as `numeric` takes it: a link-local address leads nowhere without. Never to be shown."""
    plain = plain_address(sockaddr)
    return f"{plain}%{sockaddr[3]}" if len(sockaddr) > 3 and sockaddr[3] else plain


def unzoned(host: str) -> str:
    """A numeric host without its zone, which means something to this machine only."""
    return host.partition("%")[0]


def numeric(host: str, port: int) -> Address:
    """Family and socket address of a numeric host; its zone is a number or the name of an interface. Raises OSError."""
    plain, _, zone = host.partition("%")
    if ":" not in plain:
        return socket.AF_INET, (plain, port)
    if zone and not zone.isdecimal():
        zone = str(socket.if_nametoindex(zone))
    return socket.AF_INET6, (plain, port, 0, int(zone or 0))  # Python takes no zone from the text here
