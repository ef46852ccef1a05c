"""How devices read: replies and the ports in them, with their own mistakes."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

from tests.devices.script import Finds, Reading


class DeviceFails(Exception):
    """The device itself gives up here; the text says why."""


def read_reply(reading: Reading, keeps: int, sock: socket.socket, buffer: bytearray) -> bytes:
    """What the device takes for one reply, of which it keeps so many bytes."""
    if reading is Reading.ONE_RECEIVE:
        data = sock.recv(65536)
        if not data:
            raise DeviceFails("the control connection is closed")
        return data[:keeps]
    first = b""
    while True:
        line = _line(sock, buffer)
        first = first or line
        if _is_last(reading, first, line):
            # Line readers judge by the code, and look for a port in the line in which it stood.
            return (line if reading is Reading.LINE else first[:3] + b" " + first[4:])[:keeps]


def _is_last(reading: Reading, first: bytes, line: bytes) -> bool:
    if reading is Reading.LINE:
        return line[:1].isdigit() and line[3:4] == b" "
    if reading is Reading.ANY_CODE:
        return first[3:4] != b"-" or (line is not first and line[:1].isdigit() and line[3:4] != b"-")
    return line[:3] == first[:3] and line[3:4] != b"-"


def _line(sock: socket.socket, buffer: bytearray) -> bytes:
    while b"\n" not in buffer:
        data = sock.recv(65536)
        if not data:
            raise DeviceFails(f"the control connection is closed behind {bytes(buffer)!r}")
        buffer += data
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line + b"\n"


Found = tuple[str, int]
"""Host ("" where the device does not look at it) and port."""


def find_port(finds: Finds, reply: bytes) -> Found:
    """The address as the device reads it. Raises DeviceFails."""
    try:
        return _FINDERS[finds](reply)
    except (ValueError, IndexError, TypeError) as error:
        raise DeviceFails(f"the device finds no address in {reply!r} ({finds.value})") from error


def _six(numbers: list[bytes]) -> Found:
    values = [int(number) for number in numbers[:6]]
    return ".".join(str(value) for value in values[:4]), values[4] * 256 + values[5]


def _scanf(reply: bytes) -> Found:
    match = re.match(rb"\s*(-?\d+)" + rb",\s*(-?\d+)" * 5, reply[reply.index(b"(") + 1 :])
    return _six(list(match.groups()) if match else [])


def _scanf_closed(reply: bytes) -> Found:
    match = re.match(rb"(\d+)" + rb",(\d+)" * 5 + rb"\)", reply[reply.index(b"(") + 1 :])
    return _six(list(match.groups()) if match else [])


def _strtok(reply: bytes) -> Found:
    tokens = [token for token in re.split(rb"[(,]", reply) if token]
    return _six([re.match(rb"\s*\d+", token)[0] for token in tokens[1:7]])  # type: ignore[index]


def _first_digit(reply: bytes) -> Found:
    match = re.search(rb"\d[^)\r]*", reply[4:])
    return _six(match[0].split(b",") if match else [])


def _six_numbers(reply: bytes) -> Found:
    match = re.search(rb"\d{1,3}(?:,\d{1,3}){5}", reply)
    return _six(match[0].split(b",") if match else [])


def _last_two(reply: bytes) -> Found:
    tokens = re.split(rb"[ (,)]", reply)
    if len(tokens) <= 7:
        raise ValueError
    numbers = tokens if tokens[-1][:1].isdigit() else tokens[:-1]
    high, low = int(numbers[-2]), int(numbers[-1])
    if max(high, low) > 255:
        raise ValueError
    return "", high * 256 + low


def _brackets(reply: bytes) -> Found:
    text = reply.strip()
    left, right = text.find(b"("), text.find(b")")
    if left < 0:
        left = text.rfind(b" ")
    return _six(text[left + 1 : right if right >= 0 else len(text)].split(b","))


def _from_behind(reply: bytes) -> Found:
    if reply[2:3] == b"7":
        numbers = reply.rpartition(b")")[0] or reply
        rest, _, low = numbers.rpartition(b",")
        return "", int(rest.rpartition(b",")[2]) * 256 + int(low)
    return "", int(reply.rpartition(b"|")[0].rpartition(b"|")[2])


_FINDERS: dict[Finds, Callable[[bytes], Found]] = {
    Finds.SCANF: _scanf,
    Finds.SCANF_CLOSED: _scanf_closed,
    Finds.STRTOK: _strtok,
    Finds.FIRST_DIGIT: _first_digit,
    Finds.SIX_NUMBERS: _six_numbers,
    Finds.LAST_TWO: _last_two,
    Finds.BRACKETS: _brackets,
    Finds.FROM_BEHIND: _from_behind,
}
