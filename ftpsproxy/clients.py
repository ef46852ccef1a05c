"""Who is let in, and who counts as one client where clients are counted: an address, or with IPv6 its network."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

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


def is_allowed(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether this numeric address, without a zone, lies in one of these networks."""
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in networks)
