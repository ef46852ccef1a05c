"""Who counts as one client where clients are counted: an address, or with IPv6 the network it lies in."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

PREFIX = 64
"""A host may take any address of its /64 (RFC 4941, RFC 8504), and change it as often as it likes."""


@lru_cache(maxsize=4096)
def one_client(address: str, prefix: int = PREFIX) -> str:
    """What stands for this client where it is counted. A link-local address is one host's: all of a link share their
    /64."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address) or found.is_link_local:
        return str(found)
    return str(ip_network((found, prefix), strict=False))
