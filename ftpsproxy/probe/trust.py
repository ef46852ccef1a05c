"""Whether the server may be trusted, and by what: the chain, or the operator's own word."""

from dataclasses import dataclass, replace
from pathlib import Path

from ftpsproxy.config import Upstream
from ftpsproxy.probe.identity import Seen, Verdict, covers, judge
from ftpsproxy.probe.link import Ground
from ftpsproxy.tls import Refused

# The certificate comes from an authority among the roots, and something else is wrong with it.
_OF_ITS_AUTHORITY = ("wrong_host", "expired", "not_yet_valid")


@dataclass(frozen=True, slots=True)
class Trust:
    """How it stands: `way` with what verifies the server; where nothing does, `refused` says why."""

    way: Upstream
    refused: Refused | None = None


async def decide(ground: Ground, way: Upstream, seen: Seen, ca_file: Path | None, pins: tuple[str, ...]) -> Trust:
    """Ask the roots, the operator's file of roots, and the pins given. Raises Refused for what is no certificate's
    fault."""
    say, own = ground.journal.say, seen.own
    named = covers(own, way.server_name)
    say(
        named,
        f"the name {way.server_name}: {'among its names' if named else 'NOT among its names'}",
        name="name",
        covered=named,
    )
    by_system = await judge(ground, way, decisive=ca_file is None and not pins)
    by_file = None
    if ca_file is not None:
        by_file = await judge(ground, replace(way, ca_file=ca_file), decisive=not pins)
    best = by_system if by_file is None else by_file
    if pins:
        matches = own.is_among(pins)
        say(
            matches,
            f"--trust: {'is' if matches else 'is NOT'} the server's certificate, or its key",
            name="pin",
            matches=matches,
        )
        if not matches:
            why = f"the server shows another certificate than the one to be trusted. Shown: {own.words}"
            return Trust(way, Refused("wrong_pin", why, own))
        return Trust(_pinned(way, best, (own.pin,)))
    if by_system.holds and not best.holds:
        return Trust(way)
    if best.refused is None or best.refused.reason in _OF_ITS_AUTHORITY:
        way = replace(way, ca_file=ca_file)
    return Trust(way, best.refused)


def _pinned(way: Upstream, best: Verdict, pins: tuple[str, ...]) -> Upstream:
    """Beside the chain where that holds, else instead of it."""
    if best.holds:
        return replace(way, ca_file=best.ca_file, pins=pins)
    return replace(way, verify="pin", pins=pins)
