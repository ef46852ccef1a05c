"""What may happen to a list of steps: each mutation takes it, a place in it and dice, and changes it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.mutants.steps import HEAR, Step, Where, sessions
from tests.support.records import ALERT, DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED, USER_CANCELED

Side = Literal["client", "turn", "transfer"]
Mutator = Callable[[list[Step], int, random.Random], None]

_ODD = Path(__file__).parent / "odd"
ODD_BYTES = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xff\xf4\xff\xf2",
    b"\xff\xfb\x01",
    b"\xff\xff",
    b"\t",
    b"\v",
    b" ",
)
ODD_LINES = tuple((_ODD / "lines.txt").read_text().splitlines())
ODD_REPLIES = tuple((_ODD / "replies.txt").read_text().splitlines())
PAUSES = (0.05, 0.3, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Mutation:
    """Of the client's steps (`at` is a place in them), of the server's answer to its `at`-th command (0 is the
    greeting), or of its `at`-th transfer."""

    side: Side
    at: int
    kind: str
    seed: int

    def apply(self, steps: list[Step]) -> None:
        """Change the steps."""
        dice = random.Random(self.seed)
        if steps:
            at = self.at % len(steps) if self.side == "client" else dice.randrange(len(steps))
            KINDS[self.kind](steps, at, dice)

    def __str__(self) -> str:
        return f"{self.side} {self.at} {self.kind}"


def unescaped(text: str) -> bytes:
    """A line of a file of odd ones, `\\r`, `\\n`, `\\t` and `\\xHH` in it, as it is sent."""
    return text.encode().decode("unicode_escape").encode("latin-1") + b"\r\n"


def _with_data(steps: list[Step], at: int) -> int:
    """The next step that holds bytes; -1 if none does."""
    order = (*range(at, len(steps)), *range(at))
    return next((place for place in order if steps[place].data and steps[place].do in ("say", "send")), -1)


def _on_data(change: Callable[[bytes, random.Random], bytes]) -> Mutator:
    def mutate(steps: list[Step], at: int, dice: random.Random) -> None:
        if (place := _with_data(steps, at)) >= 0:
            steps[place] = steps[place].with_data(change(steps[place].data, dice))

    return mutate


def _before(*new: Step) -> Mutator:
    return lambda steps, at, dice: steps.__setitem__(slice(at, at), new)


def _flip(data: bytes, dice: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(dice.choice((1, 1, 3))):
        spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
    return bytes(spoilt)


def _odd(data: bytes, dice: random.Random) -> bytes:
    at = dice.choice((0, dice.randrange(len(data) + 1), max(0, len(data) - 2)))
    return data[:at] + dice.choice(ODD_BYTES) + data[at:]


def _long(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    word = dice.choice((b"a", b"\xff", b"\0", b" ", b"\r\n", b"|", b"1", b"1,", b"-", b"PASS "))
    return data[:at] + word * dice.choice((600, 9000, 300_000)) + data[at:]


def _truncate(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _drop(steps: list[Step], at: int, dice: random.Random) -> None:
    del steps[at : at + dice.choice((1, 1, 2, 5))]


def _double(steps: list[Step], at: int, dice: random.Random) -> None:
    size = dice.choice((1, 1, 2, 6))
    steps[at:at] = steps[at : at + size]


def _swap(steps: list[Step], at: int, dice: random.Random) -> None:
    other = min(len(steps) - 1, at + dice.choice((1, 1, 2, 3)))
    steps[at], steps[other] = steps[other], steps[at]


def _splice(steps: list[Step], at: int, dice: random.Random) -> None:
    """From here on another session; or a piece of it, and on."""
    other = dice.choice(list(sessions(str(dice.random()), 20_011).values()))
    start = dice.randrange(len(other))
    if dice.random() < 0.5:
        steps[at:] = other[start:]
    else:
        steps[at:at] = other[start : start + dice.randrange(1, 8)]


def _end(steps: list[Step], at: int, dice: random.Random) -> None:
    """No more steps."""
    del steps[at:]


def _halves(steps: list[Step], at: int, dice: random.Random) -> None:
    if (place := _with_data(steps, at)) >= 0:
        step = steps[place]
        cut = dice.randrange(len(step.data) + 1)
        steps[place : place + 1] = [step.with_data(step.data[:cut]), _a_pause(dice), step.with_data(step.data[cut:])]


def _bytewise(steps: list[Step], at: int, dice: random.Random) -> None:
    if (place := _with_data(steps, at)) >= 0:
        step = steps[place]
        rest = [step.with_data(step.data[300:])] if len(step.data) > 300 else []
        steps[place : place + 1] = [
            step.with_data(step.data[i : i + 1]) for i in range(min(300, len(step.data)))
        ] + rest


def _cut(steps: list[Step], at: int, dice: random.Random) -> None:
    """FIN or RST on either connection, perhaps in the middle of what is sent."""
    where: Where = dice.choice(("control", "data"))
    end = Step("end", dice.choice((b"fin", b"rst")), where)
    step = steps[at]
    if step.data and dice.random() < 0.5:
        cut = dice.randrange(len(step.data))
        steps[at : at + 1] = [step.with_data(step.data[:cut]), end, step.with_data(step.data[cut:])]
    else:
        steps.insert(at, end)


def _a_pause(dice: random.Random) -> Step:
    return Step("pause", number=dice.choice(PAUSES))


def _pause(steps: list[Step], at: int, dice: random.Random) -> None:
    steps.insert(at, _a_pause(dice))


def _line(steps: list[Step], at: int, dice: random.Random) -> None:
    line = Step("say", unescaped(dice.choice(ODD_LINES)))
    steps[at:at] = [line, HEAR] if dice.random() < 0.7 else [line] * dice.choice((1, 1, 30))


def _hurry(steps: list[Step], at: int, dice: random.Random) -> None:
    """The next replies are not waited for."""
    steps[at : at + 12] = [step for step in steps[at : at + 12] if step.do != "hear"]


def _bare(data: bytes, dice: random.Random) -> bytes:
    return data.replace(b"\r\n", dice.choice((b"\n", b"\r", b"\r\r\n", b"\0\r\n", b"")))


def _foreign(steps: list[Step], at: int, dice: random.Random) -> None:
    """Something else than FTP."""
    words = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n", b"EHLO x\r\n")
    steps.insert(dice.choice((0, 1, at)), Step("say", dice.choice(words)))


# The server's


def _code(data: bytes, dice: random.Random) -> bytes:
    codes = (
        b"110 120 125 150 200 202 211 213 221 225 226 227 229 230 234 250 257 331 332 350 421 425 426 450 500 530 550"
    )
    return dice.choice(codes.split()) + data[3:]


def _many_lines(data: bytes, dice: random.Random) -> bytes:
    code = data[:3]
    body = b"".join(
        dice.choice((b" x", code + b"-y", b"226 z", b"")) + b"\r\n" for _ in range(dice.choice((1, 3, 2000)))
    )
    end = dice.choice((code + b" end\r\n", code + b" end\r\n", b"499 end\r\n", b""))
    return code + b"-first\r\n" + body + end


def _reply(steps: list[Step], at: int, dice: random.Random) -> None:
    word = Step("say", unescaped(dice.choice(ODD_REPLIES)))
    steps[at:at] = [word] * dice.choice((1, 1, 1, 2, 150))


def _mute(steps: list[Step], at: int, dice: random.Random) -> None:
    """Nothing is said."""
    steps[:] = [step for step in steps if step.do != "say"]


def _early(steps: list[Step], at: int, dice: random.Random) -> None:
    """The last word comes first."""
    steps.insert(0, steps.pop())


def _certificate(steps: list[Step], at: int, dice: random.Random) -> None:
    name = dice.choice((b"expired", b"wrong_host", b"unknown_authority", b"self_signed"))
    steps[:] = [step.with_data(name) if step.do in ("tls", "seal") else step for step in steps]


def _tls(*choices: tuple[Step, int]) -> Mutator:
    """One of these, so many times."""

    def mutate(steps: list[Step], at: int, dice: random.Random) -> None:
        step, times = dice.choice(choices)
        where: Where = "data" if any(one.where == "data" for one in steps) and dice.random() < 0.8 else "control"
        steps[at:at] = [Step(step.do, step.data, where, step.number)] * times

    return mutate


_RECORDS = _tls(
    (Step("record", KEY_UPDATE, number=HANDSHAKE), 1),
    (Step("record", KEY_UPDATE_REQUESTED, number=HANDSHAKE), 1),
    (Step("record", KEY_UPDATE_REQUESTED, number=HANDSHAKE), 40),
    (Step("record", b"", number=DATA), 1),
    (Step("record", b"", number=DATA), 20),
    (Step("record", USER_CANCELED, number=ALERT), 1),
    (Step("record", USER_CANCELED, number=ALERT), 6),
    (Step("record", b"\x01\x64", number=ALERT), 1),
    (Step("record", b"\x04\x00\x00\x02\x00\x00", number=HANDSHAKE), 1),  # a ticket that is none
    (Step("record", b"\x00\x00\x00\x00", number=HANDSHAKE), 1),  # HelloRequest
    (Step("record", b"\x18\x00", number=HANDSHAKE), 1),  # half a KeyUpdate
)
_BREAKS = _tls(
    (Step("raw", b"\x15\x03\x03\x00\x02\x02\x28"), 1),  # an alert in clear
    (Step("raw", b"226 in clear\r\n"), 1),
    (Step("raw", b"\x17\x03\x03\x00\x20" + bytes(32)), 1),
    (Step("raw", b"\x17\x03\x03\xff\xff"), 1),
    (Step("raw", b"\x17"), 1),
    (Step("corrupt"), 1),
    (Step("half"), 1),
    (Step("alert"), 1),
)


def _renegotiate(steps: list[Step], at: int, dice: random.Random) -> None:
    """The whole data connection is another one, which begins a new handshake in its middle (TLS 1.2)."""
    place = next((place for place, step in enumerate(steps) if step.do == "seal"), -1)
    if place >= 0:
        steps[place:-1] = [Step("renegotiate", where="data", number=dice.choice((0, 1000, 30_000)))]


_BYTES: dict[str, Mutator] = {
    "flip": _on_data(_flip),
    "odd byte": _on_data(_odd),
    "long": _on_data(_long),
    "truncate": _on_data(_truncate),
    "halves": _halves,
    "bytewise": _bytewise,
}
_ORDER: dict[str, Mutator] = {
    "drop": _drop,
    "double": _double,
    "swap": _swap,
    "end": _end,
    "pause": _pause,
    "cut": _cut,
}
_CLIENT: dict[str, Mutator] = {
    "splice": _splice,
    "line": _line,
    "hurry": _hurry,
    "bare": _on_data(_bare),
    "foreign": _foreign,
}
_SERVER: dict[str, Mutator] = {
    "code": _on_data(_code),
    "many lines": _on_data(_many_lines),
    "reply": _reply,
    "mute": _mute,
    "early": _early,
    "certificate": _certificate,
    "records": _RECORDS,
    "tiny": _tls((Step("tiny"), 1)),
    "close_notify": _tls((Step("close_notify"), 1)),
    "break": _BREAKS,
    "renegotiate": _renegotiate,
}
KINDS = _BYTES | _ORDER | _CLIENT | _SERVER
KINDS_OF: dict[Side, tuple[str, ...]] = {
    "client": (*_BYTES, *_ORDER, "cut", "cut", *_CLIENT),
    "turn": (*_BYTES, *_ORDER, *_SERVER),
    "transfer": (*_BYTES, *_ORDER, "cut", "cut", "records", "records", "break", "break", "close_notify", *_SERVER),
}
