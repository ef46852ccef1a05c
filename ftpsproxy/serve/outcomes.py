"""What has come of a signal, for whoever has sent it and waits to hear it: `ftpsproxy reload PID`, `replace PID`.

A signal has no answer. So whoever asks listens, before sending one, at an abstract address that has the word and the
pid in it; the gateway, when it is done, looks whether somebody listens there, and has nothing open itself. Each looks
who the other is: the gateway tells root and its own user alone, and whoever asks believes that process alone.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time

RELOAD, REPLACE = "reload", "replace"
SIGNALS = {RELOAD: signal.SIGHUP, REPLACE: signal.SIGUSR2}
_PEER = struct.Struct("3i")  # ucred: pid, uid, gid
_KIND = socket.SOCK_SEQPACKET
_MOST_BYTES = 4096


class NoOutcome(Exception):
    """It can't be asked, or has not answered; `str()` is one plain line."""


def _address(word: str, pid: int) -> bytes:
    return f"\0ftpsproxy/{word}/{pid}".encode()


def peer(sock: socket.socket) -> tuple[int, int]:
    """The process at the other end of a socket of this machine, and its user."""
    pid, user, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, user


def answer(word: str, began: float, why: str | None, *, pid: int | None = None) -> None:
    """What was begun at `began` (CLOCK_MONOTONIC) is done; `why` it was not. Never waits, never fails. `pid`: of the
    process that was asked, this one by default."""
    text = json.dumps({"began": began, "why": why[: _MOST_BYTES // 8] if why else None}).encode()
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, _KIND | socket.SOCK_NONBLOCK) as sock:
        sock.connect(_address(word, pid or os.getpid()))
        if peer(sock)[1] in (0, os.geteuid()):
            sock.send(text, socket.MSG_NOSIGNAL)


def ask(word: str, pid: int, seconds: float) -> str | None:
    """Send the signal, and wait for what comes of it → None, or why it was not done. Raises NoOutcome."""
    with socket.socket(socket.AF_UNIX, _KIND) as sock:
        try:
            sock.bind(_address(word, pid))
        except OSError:
            raise NoOutcome(f"somebody else waits for process {pid} already; try again") from None
        sock.listen()
        began = time.monotonic()
        _send(word, pid)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while (left := began + seconds - time.monotonic()) > 0:
            if poll.poll(left * 1000) and (told := _hear(sock, pid)) is not None and told[0] >= began:
                return told[1]
    raise NoOutcome(f"process {pid} has not answered within {seconds:g} seconds; see its log")


def _send(word: str, pid: int) -> None:
    """But never to a process that would be ended by it. Raises NoOutcome."""
    number = SIGNALS[word]
    try:
        with open(f"/proc/{pid}/status") as file:
            masks = dict(line.split(":", 1) for line in file if line.startswith(("SigCgt", "SigBlk")))
        if not any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values()):
            raise NoOutcome(f"process {pid} does not know {number.name}: it is no gateway")
        os.kill(pid, number)
    except (ProcessLookupError, FileNotFoundError):
        raise NoOutcome(f"there is no process {pid}") from None
    except PermissionError:
        raise NoOutcome(f"process {pid} is another user's") from None


def _hear(listener: socket.socket, pid: int) -> tuple[float, str | None] | None:
    """When it began, and why it was not done; None: somebody else has come."""
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(1.0)
        try:
            if peer(sock)[0] != pid:
                return None
            told = json.loads(sock.recv(_MOST_BYTES))
            return float(told["began"]), told["why"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
