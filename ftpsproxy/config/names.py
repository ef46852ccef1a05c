"""Names of hosts. One written name is used for four things: the DNS, SNI, the certificate and the log; here it becomes
the form that all four take alike."""

import ipaddress
import re

import idna

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # RFC 1123 section 2.1; an underscore is seen in local zones
_LONGEST = 253


def host(written: str) -> str:
    """An address in its usual form, or a name in ASCII and lower case; a final dot stays, which the DNS minds.

    Raises ValueError with the words an operator reads.
    """
    literal = written.removeprefix("[").removesuffix("]")
    if ":" in literal:
        return _ipv6(literal, written)
    try:
        return str(ipaddress.IPv4Address(literal))
    except ValueError:
        pass
    name = _in_ascii(written).lower()
    labels = name.removesuffix(".").split(".")
    if len(name) > _LONGEST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{written!r} is no host name: its parts are 1 to 63 letters, digits and hyphens")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses, certificates don't.
        raise ValueError(f"{written!r} is no host name; write an address as four decimal numbers, like 192.0.2.1")
    return name


def server_name(written: str) -> str:
    """The same as SNI and certificates have it: without a final dot (RFC 6066 section 3), and without a zone."""
    return host(written).partition("%")[0].removesuffix(".")


def is_ipv6(written: str) -> bool:
    """Whether it is one without its brackets."""
    try:
        ipaddress.IPv6Address(written)
    except ValueError:
        return False
    return True


def _ipv6(literal: str, written: str) -> str:
    address, percent, zone = literal.partition("%")
    zone = zone.removeprefix("25") if percent and zone != "25" else zone  # RFC 6874: a URL writes %25 for it
    try:
        parsed = ipaddress.IPv6Address(address + percent + zone)
    except ValueError:
        raise ValueError(f"{written!r} is no IPv6 address") from None
    return str(parsed.ipv4_mapped or parsed)


def _in_ascii(written: str) -> str:
    if written.isascii():
        return written
    try:
        # IDNA 2008: the older rules make strasse of straße, which is another owner's name.
        return idna.encode(written, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(
            f"{written!r} can't be a host name: with letters beyond ASCII only letters, digits, hyphens and dots may "
            f"stand in it (IDNA 2008: {error})"
        ) from None
