"""Which TLS versions a server takes, and by which cipher suite."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ftpsproxy.probe.identity import Seen, unverified
from ftpsproxy.probe.link import Ground, opened
from ftpsproxy.probe.trust import Trust
from ftpsproxy.tls import Refused, build_context

Version = Literal["1.2", "1.3"]
NAMES: Mapping[Version, str] = {"1.3": "TLSv1.3", "1.2": "TLSv1.2"}
"""As settings say them, and as OpenSSL does."""


async def taken(ground: Ground, trusted: Trust, seen: Seen) -> Mapping[Version, str]:
    """The cipher suites by version, of those that are taken. Nothing is said but QUIT."""
    found = {version: seen.cipher for version, name in NAMES.items() if name == seen.version}
    if "1.3" in found:
        found |= await _try(ground, trusted, "1.2")
    for version in NAMES:
        cipher = found.get(version)
        # A server that knew 1.3 would have taken it at once.
        said = f"TLS {version}: {cipher}" if cipher else f"TLS {version}: not taken"
        ground.journal.say(None if cipher is None else True, said, name="version", version=version, cipher=cipher)
    return found


async def _try(ground: Ground, trusted: Trust, version: Version) -> dict[Version, str]:
    way = replace(trusted.way, tls_min=version, tls_max=version)
    try:
        link = await opened(ground, way, unverified(way) if trusted.refused is not None else build_context(way))
    except Refused:
        return {}
    try:
        return {version: link.tls.cipher}
    finally:
        await link.leave()
