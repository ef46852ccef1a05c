"""One case: a good session, its two peers, and what is changed in it, drawn from a seed and a number."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import KINDS_OF, Mutation, Side
from tests.mutants.steps import SESSIONS, SIZES, Step, sessions

RECORDED: dict[str, dict[str, list[str]]] = json.loads((Path(__file__).parent / "recorded.json").read_text())

SETTINGS: dict[str, dict[str, object]] = {
    "auto": {},
    "digest": {"digest": "sha256"},
    "pasv": {"data_mode": "pasv", "digest": "sha256"},
    "port": {"data_mode": "port", "digest": "sha256"},
    "implicit": {"implicit": True, "data_mode": "eprt"},
    "require": {"close_notify": "require", "digest": "sha256"},
}
"""What the gateway is told of an upstream and its listener."""
LEAVES = ("close", "close", "reset", "half", "stay")
"""How a client goes that has done all its steps: `stay` is to be ended by the gateway."""


@dataclass(frozen=True, slots=True)
class Case:
    """One session. `address` is the client's own, of which the log knows it again."""

    seed: int
    number: int
    setting: str
    server: str
    tls: str
    session: str
    size: int
    leave: str
    patience: float
    mutations: tuple[Mutation, ...]

    @property
    def address(self) -> str:
        return f"127.{16 + (self.number >> 16) % 200}.{self.number >> 8 & 255}.{self.number & 255}"

    @property
    def key(self) -> str:
        return f"{self.seed}/{self.number}"

    @property
    def by_hand(self) -> bool:
        """Whether TLS records are made by hand, between those of OpenSSL."""
        return self.tls == "1.3" and any(one.kind in ("records", "tiny") for one in self.mutations)

    def client_steps(self) -> list[Step]:
        steps = list(sessions(self.key, self.size)[self.session])
        for mutation in self.mutations:
            if mutation.side == "client":
                mutation.apply(steps)
        return steps

    def mutate(self, side: Side, at: int, steps: list[Step]) -> None:
        """Change what the server does at its `at`-th turn, or transfer."""
        for mutation in self.mutations:
            if (mutation.side, mutation.at) == (side, at):
                mutation.apply(steps)

    def __str__(self) -> str:
        what = ", ".join(map(str, self.mutations)) or "nothing"
        return (
            f"#{self.number} {self.setting}, {self.server} TLS {self.tls}, {self.session} {self.size} bytes, "
            f"{self.leave}: {what}"
        )


def draw(seed: int, number: int) -> Case:
    """The case of this number; always the same one for a seed."""
    dice = random.Random(f"{seed}/{number}")
    session = dice.choice(SESSIONS)
    size = dice.choice(SIZES)
    steps = len(sessions("", size)[session])
    mutations = []
    for _ in range(dice.choices((0, 1, 2, 3, 6), (1, 10, 6, 3, 1))[0]):
        side: Side = dice.choices(("client", "turn", "transfer"), (4, 4, 5))[0]
        at = dice.randrange(steps) if side == "client" else 0
        if side == "turn":
            at = dice.choice((dice.randrange(6), dice.randrange(6 + steps // 2)))
        if side == "transfer":
            at = dice.choice((0, 0, 0, 1, 2))
        mutations.append(Mutation(side, at, dice.choice(KINDS_OF[side]), dice.randrange(1 << 32)))
    return Case(
        seed,
        number,
        dice.choice(tuple(SETTINGS)),
        dice.choice(tuple(RECORDED)),
        dice.choice(("1.2", "1.3", "1.3")),
        session,
        size,
        dice.choice(LEAVES),
        dice.choice((0.2, 0.5, 1.0)) if mutations else 10.0,
        tuple(sorted(mutations, key=lambda one: -one.at)),  # so that a client's places hold
    )
