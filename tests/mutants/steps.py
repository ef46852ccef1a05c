"""What a session is made of: steps of the client, and of the server, one small value each.

    client   say hear dial listen accept send fin read close urgent pause end
    server   say tls passive abort open seal send receive close_notify fin drain renegotiate
             raw record alert corrupt half tiny pause end

`where` is the connection it happens on; `number` seconds of a pause, bytes to receive, or the kind of a TLS record.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from tests.devices import script
from tests.devices.catalogue import DEVICES
from tests.devices.script import Device

Where = Literal["control", "data"]
NAME = "file"
USER, PASSWORD = "anna", "Correct-horse-9"
SIZES = (0, 1, 700, 16_384, 20_011, 70_000, 400_000)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a peer does."""

    do: str
    data: bytes = b""
    where: Where = "control"
    number: float = 0.0

    def with_data(self, data: bytes) -> Step:
        return replace(self, data=data)


Steps = tuple[Step, ...]
HEAR = Step("hear")
FIN, RST = Step("end", b"fin"), Step("end", b"rst")
_READ, _CLOSE = Step("read", where="data"), Step("close", where="data")


def payload(seed: str, size: int) -> bytes:
    """Bytes like no others."""
    return random.Random(seed).randbytes(size)


def ask(*lines: str) -> Steps:
    """Commands, each with its reply."""
    return tuple(step for line in lines for step in (Step("say", line.encode() + b"\r\n"), HEAR))


def _open(mode: str) -> Steps:
    if mode in ("PASV", "EPSV"):
        return (*ask(mode), Step("dial", where="data"))
    return (Step("listen", where="data"), *ask(mode + " {address}"))


def download(mode: str, line: str, *before: str) -> Steps:
    return (*_open(mode), *ask(*before), *ask(line), _READ, _CLOSE, HEAR)


def upload(mode: str, line: str, content: bytes) -> Steps:
    third = len(content) // 3 + 1
    sends = (Step("send", content[at : at + third], "data") for at in range(0, len(content), third))
    return (*_open(mode), *ask(line), Step("accept", where="data"), *sends, Step("fin", where="data"), HEAR, _CLOSE)


LOGIN = (HEAR, *ask("USER {user}", "PASS {password}"))


def of_device(device: Device, content: bytes) -> Steps:
    """The session of a device of the field; one that dials again is left where it does."""
    found: list[Step] = []
    for step in device.steps:
        match step:
            case script.Redial() | script.HangUp():
                break
            case script.Say(parts):
                found += [Step("say", part) for part in parts]
            case script.Expect() | script.ReadToEnd():
                found.append(HEAR)
            case script.AcceptAndExpect():
                found += [Step("accept", where="data"), HEAR]
            case script.Connect():
                found.append(Step("dial", where="data"))
            case script.Listen():
                found.append(Step("listen", where="data"))
            case script.Send(first, last, chunk):
                part = content[first:last]
                size = max(chunk, len(part) // 4 + 1)
                found += [Step("send", part[at : at + size], "data") for at in range(0, len(part), size)]
            case script.Receive() | script.Drain():
                found.append(_READ)
            case script.ReceiveSome(size):
                found.append(Step("read", where="data", number=size))
            case script.CloseData():
                found.append(_CLOSE)
            case script.Synch(line):
                found.append(Step("urgent", line))
            case script.Pause():
                found.append(Step("pause", number=0.05))
            case script.Unless(_, steps):
                found += of_device(replace(device, steps=steps), content)
            case script.Accept() | script.AcceptFirst():
                found.append(Step("accept", where="data"))
    return tuple(found)


def _all_in_one(steps: Steps) -> Steps:
    """Every line in one segment, then all the replies."""
    lines = b"".join(step.data for step in steps if step.do == "say")
    return (HEAR, Step("say", lines), *(HEAR for step in steps if step.do == "say"))


def sessions(seed: str, size: int) -> dict[str, Steps]:
    """All good sessions, with a file of this size."""
    file, other = payload(f"{seed}/file", size), payload(f"{seed}/other", size)
    quit_ = ask("QUIT")
    names = ask(
        "SYST", "FEAT", "OPTS UTF8 ON", "PWD", "MKD made", "CWD made", "CDUP", "RNFR made", "RNTO other", "RMD other",
        "MDTM file", "MLST file", "STAT", "HELP", "SITE HELP", "XPWD", "NOOP", "ALLO 10", "STRU F", "MODE S",
    )  # fmt: skip
    binary = ask("TYPE I")
    found = {device.name: (*of_device(device, file), *ask()) for device in DEVICES}
    found |= {
        "names": (*LOGIN, *names, *quit_),
        "epsv": (
            *LOGIN,
            *binary,
            *upload("EPSV", "STOR up", file),
            *ask("SIZE file"),
            *download("EPSV", "RETR file"),
            *download("EPSV", "RETR file", "REST 100"),
            *upload("EPSV", "APPE up", other),
            *quit_,
        ),
        "eprt": (*LOGIN, *binary, *upload("EPRT", "STOR up", file), *download("EPRT", "RETR file"), *quit_),
        "port": (*LOGIN, *binary, *upload("PORT", "STOU", file), *download("PORT", "LIST"), *quit_),
        "listings": (*LOGIN, *download("PASV", "LIST"), *download("EPSV", "NLST"), *download("PASV", "MLSD"), *quit_),
        "refused": (*LOGIN, *binary, *_open("PASV"), *ask("RETR nothing", "RETR file"), _READ, _CLOSE, HEAR, *quit_),
        "of-two-minds": (
            *(*LOGIN, *_open("PASV"), *_open("EPSV"), *_open("PORT")),
            *(*download("PASV", "RETR file"), *upload("EPSV", "STOR up", file), *quit_),
        ),
        "abort-download": (
            *(*LOGIN, *binary, *_open("EPSV"), *ask("RETR file"), Step("read", where="data", number=500)),
            *(Step("urgent", b"ABOR\r\n"), HEAR, HEAR, _CLOSE, *download("EPSV", "RETR file"), *quit_),
        ),
        "abort-upload": (
            *(*LOGIN, *_open("PASV"), *ask("STOR up"), Step("send", file[: size // 2], "data")),
            *(*ask("NOOP", "STAT", "ABOR"), HEAR, _CLOSE, *upload("PASV", "STOR up", other), *quit_),
        ),
        "pipelined": _all_in_one((*LOGIN, *binary, *names, *quit_)),
        "hangs-up": (*LOGIN, *binary, *_open("EPSV"), *ask("STOR up"), Step("send", file, "data"), FIN, _CLOSE),
        "blocks": (*LOGIN, *ask("MODE B"), *upload("EPSV", "STOR up", b"\x40\0\x03abc"), *quit_),
    }
    return found


SESSIONS = tuple(sessions("", 0))
