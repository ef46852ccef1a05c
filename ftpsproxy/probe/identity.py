"""Who the server says it is, and who vouches for that.

The first connection under TLS takes any certificate, to look at it: nothing is said on it but QUIT. Whether it is good
is then for OpenSSL to say, in handshakes that verify as the gateway's do.
"""

import contextlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftpsproxy.config import Upstream
from ftpsproxy.net import now
from ftpsproxy.probe.link import Ground, Link, Say, opened, unsaid
from ftpsproxy.probe.reach import foreign
from ftpsproxy.tls import Certificate, Context, Refused, Tls, build_context
from ftpsproxy.tls.certificate import day, read

_MOST_CERTIFICATES = 10
_MOST_NAMES = 20
_WANTS_NO_ALPN = ("handshake_refused", "closed")
_SHORT = {
    "unknown_ca": "do not vouch for it: its issuer is not among them",
    "self_signed": "do not vouch for it: it is self-signed",
}
_BROKEN = ("closed", "timeout", "protocol_error", "handshake_garbage", "handshake_timeout", "TLS")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server showed: its certificates, its own first; the TLS version and cipher it took."""

    chain: tuple[Certificate, ...]
    version: str
    cipher: str

    @property
    def own(self) -> Certificate:
        return self.chain[0]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a chain up to these roots holds, and for this name; `refused` says why not."""

    ca_file: Path | None
    refused: Refused | None

    @property
    def holds(self) -> bool:
        return self.refused is None

    @property
    def roots(self) -> str:
        return "the system's roots" if self.ca_file is None else f"the roots in {self.ca_file}"


async def look(ground: Ground, ways: Sequence[Upstream]) -> tuple[Upstream, Seen]:
    """Find out which of these ways leads to TLS → that way, with the words it takes, and what is shown. Raises
    Refused."""
    way, *others = ways
    try:
        return await _look(ground, way)
    except Refused as error:
        if others and error.reason in _BROKEN:
            with contextlib.suppress(Refused):
                return await look(ground, others)
        raise _plainly(error) from None


def _plainly(error: Refused) -> Refused:
    if error.reason == "auth_refused":
        why = f"this is plain FTP, or FTPS that is switched off: {error.detail}; ask the partner to switch it on"
        return Refused("plain_ftp", f"{why}, or for the port of implicit TLS (usually 990)")
    if error.reason == "protocol_version":
        why = (
            "the server knows neither TLS 1.2 nor 1.3; older ones are broken, and not spoken here: it has to be renewed"
        )
        return Refused(error.reason, why)
    if error.reason == "wrong_host":
        why = "the server does not know the name it is asked for; ask the partner for that, and say --server-name NAME"
        return Refused(error.reason, why)
    return foreign(error)


async def _look(ground: Ground, way: Upstream) -> tuple[Upstream, Seen]:
    say = ground.journal.say
    try:
        return await _look_once(ground, way, say)
    except Refused as error:
        if error.reason not in _WANTS_NO_ALPN:
            raise
        try:
            found = await _look_once(ground, replace(way, alpn=False), unsaid)
        except Refused:
            raise error from None
        say(None, f"with ALPN: {error.detail}", name="alpn", reason=error.reason)
    say(True, f"without ALPN: TLS stands, {found[1].version} {found[1].cipher}", name="tls")
    return found


async def _look_once(ground: Ground, way: Upstream, say: Say) -> tuple[Upstream, Seen]:
    link = await opened(ground, way, unverified(way), say)
    try:
        tls = link.tls
        seen = Seen(_certificates(tls), tls.version, tls.cipher)
    finally:
        await link.leave()
    return replace(way, auth=(link.auth or "TLS",)), seen


def unverified(way: Upstream) -> Context:
    """For a look at what a server shows; it takes any certificate, and shows none of ours."""
    return Context(verify=False, minimum=way.tls_min, maximum=way.tls_max, alpn=b"ftp" if way.alpn else b"")


def _certificates(tls: Tls) -> tuple[Certificate, ...]:
    found = []
    for der in tls.chain[:_MOST_CERTIFICATES]:
        try:
            found.append(read(der))
        except ValueError as error:
            if not found:
                raise Refused("certificate", f"the server's certificate can't be read: {error}") from None
    if not found:
        raise Refused("no_certificate", "the server showed no certificate")
    return tuple(found)


def show(ground: Ground, seen: Seen) -> None:
    """Say what stands in each certificate."""
    for number, one in enumerate(seen.chain):
        whose = "the server's own" if number == 0 else f"number {number + 1} of its chain"
        self_issued = bool(one.issuer) and one.issuer == one.subject
        names = ", ".join(one.names[:_MOST_NAMES]) + (" …" if len(one.names) > _MOST_NAMES else "")
        lines = [
            f"subject  {one.subject or '(can not be read)'}",
            f"names    {names or '(none)'}",
            f"issuer   {'itself' if self_issued else one.issuer or '(can not be read)'}",
            f"valid    {_validity(one)}",
            f"SHA-256  {one.fingerprint}",
            f"pin      {one.pin}",
        ]
        if number:
            del lines[1]
        facts: dict[str, Any] = dict(one.facts)
        ground.journal.say(None, whose, name="certificate", more=tuple(lines), **facts)


def _validity(one: Certificate) -> str:
    if one.not_before is None or one.not_after is None or one.days_left is None:
        return "(can not be read)"
    left = "it has EXPIRED" if one.has_expired else f"{one.days_left} days left"
    return f"{day(one.not_before)} to {day(one.not_after)}, {left}"


async def judge(ground: Ground, way: Upstream, *, decisive: bool) -> Verdict:
    """What the roots of `way` say of the server. Raises Refused for what has nothing to do with them."""
    say, began = ground.journal.say, now()
    try:
        link: Link = await opened(ground, way, build_context(way))
    except Refused as error:
        if error.shown is None:
            raise
        verdict = Verdict(way.ca_file, error)
        said = _SHORT.get(error.reason) or shortly(error)
        say(
            False if decisive else None,
            f"{verdict.roots}: {said}",
            began,
            name="roots",
            roots=verdict.roots,
            reason=error.reason,
        )
        return verdict
    verdict = Verdict(way.ca_file, None)
    say(
        True,
        f"{verdict.roots}: vouch for it, as {way.server_name}",
        began,
        name="roots",
        roots=verdict.roots,
        reason=None,
    )
    await link.leave()
    return verdict


def shortly(error: Refused) -> str:
    """Why, without the certificate, which has been shown in full, and without the settings, which come at the end."""
    return error.detail.partition(". Shown:")[0].partition("; or compare its pin")[0]


def covers(certificate: Certificate, host: str) -> bool:
    """Whether this host name or address is among its names (RFC 9525 section 6)."""
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        wild = f"*.{host.partition('.')[2]}"
        return any(name.lower() in (host, wild) for name in certificate.names)
    return address in certificate.names
