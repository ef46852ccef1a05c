"""What may happen: one case is one session with one transfer, drawn from a seed and a number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from tests.campaign.links import Channel, Direction, How, Leg, Place

Target = Literal["server", "client", "gateway"]

SIZES = (0, 1, 1024, 16383, 16384, 16385, 300_000, 3_000_000, 20_000_000)
LISTED = (0, 1, 40, 3000)
"""Files in the directories that are listed."""
SERVERS = ("vsftpd", "proftpd", "pureftpd", "pyftpdlib")
UPSTREAM_MODES = ("epsv", "pasv", "eprt", "port")
CLIENT_MODES = ("EPSV", "PASV", "PORT", "EPRT")
_WIRE_EXTRA = 3000  # what TLS adds to a small file on the wire, about


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault: where and when, and what. ``cut`` says which connections and how; ``signal`` whom and which."""

    leg: Leg
    channel: Channel
    direction: Direction
    place: Place
    at: int
    cut: tuple[Leg, Channel, How] | None = None
    signal: tuple[Target, int] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One session. ``rude`` is what the client itself does, at ``rude_at`` bytes of its data."""

    number: int
    kind: str
    server: str
    tls: str
    upstream_mode: str
    client_mode: str
    verb: str
    size: int
    strike: Strike | None = None
    rude: str = ""
    rude_at: int = -1

    @property
    def upload(self) -> bool:
        return self.verb == "STOR"

    @property
    def way(self) -> Direction:
        """The way the file goes."""
        return "up" if self.upload else "down"

    @property
    def slow(self) -> bool:
        """Whether it is bound to last as long as a time limit."""
        return self.strike is not None and (
            (self.strike.cut is not None and self.strike.cut[2] == "silence")
            or (self.strike.signal is not None and self.strike.signal[1] == 19)
        )

    def __str__(self) -> str:
        parts = [f"#{self.number} {self.kind}: {self.verb} {self.size} bytes, {self.client_mode} client,"]
        parts.append(f"{self.server} TLS {self.tls} by {self.upstream_mode}")
        if self.strike is not None:
            where = self.strike
            parts.append(f"at {where.leg} {where.channel} {where.direction} {where.place} {where.at}")
        if self.rude:
            parts.append(f"at {self.rude_at}")
        return " ".join(parts)


def draw(seed: int, number: int, side: str = "ours") -> Case:
    """The case of this number; always the same one for a seed."""
    dice = random.Random(f"{seed}/{number}")
    size = dice.choice(SIZES)
    verb = dice.choices(("STOR", "RETR", "LIST", "NLST"), (9, 9, 2, 1))[0]
    if verb in ("LIST", "NLST"):
        size = dice.choice(LISTED)
    server = dice.choice(SERVERS)
    tls = dice.choice(("1.2", "1.3"))
    upstream_mode = dice.choice(UPSTREAM_MODES)
    client_mode = dice.choice(CLIENT_MODES)
    if side != "ours":
        upstream_mode = "epsv"
    way: Direction = "up" if verb == "STOR" else "down"
    length = size * 64 if verb == "LIST" else size * 8 if verb == "NLST" else size  # on the wire, about
    strike: Strike | None = None
    rude, rude_at = "", -1
    family = dice.choices(("none", "cut", "process", "rude", "drain"), (8, 56, 16, 18, 2))[0]
    if family == "drain" and side != "ours":
        family = "none"
    kind = "no fault"
    if family == "cut":
        target_leg: Leg = dice.choice(("client", "upstream"))
        target: Channel = dice.choices(("data", "control"), (7, 3))[0]
        how: How = dice.choices(("rst", "fin", "silence"), (9, 8, 3))[0]
        kind = f"{target_leg} {target} {how}"
        cut = (target_leg, target, how)
        if target == "control" and dice.random() < 0.25:
            direction: Direction = dice.choice(("up", "down"))
            most = 120 if target_leg == "client" else 3000
            strike = Strike(target_leg, "control", direction, "bytes", dice.randrange(most), cut=cut)
        else:
            strike = _strike(dice, target_leg, way, length, cut=cut)
    elif family == "process":
        whom: Target = dice.choice(("server", "client"))
        number_of_signal = dice.choices((9, 19), (3, 1))[0]
        kind = f"{whom} {'killed' if number_of_signal == 9 else 'stopped'}"
        if whom == "server" and server == "pyftpdlib":  # one process for all sessions: nobody else's may go
            server = dice.choice(SERVERS[:3])
        strike = _strike(dice, dice.choice(("client", "upstream")), way, length, signal=(whom, number_of_signal))
    elif family == "drain":
        kind = "gateway drained"
        strike = _strike(dice, dice.choice(("client", "upstream")), way, length, signal=("gateway", 15))
    elif family == "rude":
        if verb == "STOR":
            rude = dice.choice(("abor", "quit", "close", "half-close", "leave", "leave-half"))
        else:
            rude = dice.choice(("abor", "quit", "close", "half-close", "close-data"))
        if not rude.startswith("leave"):
            rude_at = dice.choice((0, length // 2, dice.randrange(length + 1)))
        kind = f"client: {rude}"
    return Case(number, kind, server, tls, upstream_mode, client_mode, verb, size, strike, rude, rude_at)


def _strike(
    dice: random.Random,
    leg: Leg,
    way: Direction,
    length: int,
    *,
    cut: tuple[Leg, Channel, How] | None = None,
    signal: tuple[Target, int] | None = None,
) -> Strike:
    """When it happens, measured on the data connection of a leg."""
    place = dice.choice(("first", "bytes", "bytes", "boundary", "tail", "end", "after"))
    longest = length + (_WIRE_EXTRA if leg == "upstream" else 0)
    at = 0
    if place == "first":
        place, at = "bytes", dice.choice((0, 1))
    elif place == "bytes":
        at = dice.randrange(longest + 1)
    elif place == "boundary":
        at = dice.randrange(longest + 1)
        if leg == "client":
            place, at = "bytes", at // 16384 * 16384
    elif place == "tail":
        at = dice.choice((1, 2, 24, dice.randrange(1, 64)))
    return Strike(leg, "data", way, place, at, cut=cut, signal=signal)  # type: ignore[arg-type] # a place
