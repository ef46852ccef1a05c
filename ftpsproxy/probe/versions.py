"""Which TLS versions a server takes, and by which cipher suite."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ftpsproxy.config import Upstream
from ftpsproxy.probe.identity import Seen
from ftpsproxy.probe.link import Ground, opened
from ftpsproxy.tls import Context, Refused

Version = Literal["1.2", "1.3"]
NAMES: Mapping[Version, str] = {"1.3": "TLSv1.3", "1.2": "TLSv1.2"}
"""As settings say them, and as OpenSSL does."""


async def taken(ground: Ground, way: Upstream, seen: Seen) -> Mapping[Version, str]:
    """The cipher suites by version, of those that are taken. No certificate is verified, and nothing said but QUIT."""
    found = {version: seen.cipher for version, name in NAMES.items() if name == seen.version}
    if "1.3" in found:
        found |= await _try(ground, replace(way, tls_max="1.2"))
    for version in NAMES:
        cipher = found.get(version)
        # A server that knew 1.3 would have taken it at once.
        said = f"TLS {version}: {cipher}" if cipher else f"TLS {version}: not taken"
        ground.journal.say(None if cipher is None else True, said, version=version, cipher=cipher)
    return found


async def _try(ground: Ground, way: Upstream) -> dict[Version, str]:
    context = Context(verify=False, minimum=way.tls_min, maximum=way.tls_max, alpn=b"ftp" if way.alpn else b"")
    try:
        link = await opened(ground, way, context)
    except Refused:
        return {}
    try:
        return {way.tls_max: link.tls.cipher}
    finally:
        await link.leave()
