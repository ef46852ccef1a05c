"""A new process takes this one's place (SIGUSR2), and no client is refused: what both say to each other about it.

    old                                                         new
    starts it, and gives it its listening sockets ───────────▶  reads the configuration, opens what it lacks
                                                   ◀─ ready ──  all that may fail has gone well; it accepts nobody yet
    accepts nobody any more  ────────────────────── go ──────▶  accepts; whoever came meanwhile has waited in the kernel
                                                 ◀─ serving ──
    closes its sockets; lets its sessions end ──── needs ────▶  leaves room for them where a server takes only so many

Until `serving` the old one can go on as if nothing had happened, and does if the new one fails or is gone. If the old
one is gone the new one goes on by itself. They speak by a socket pair, a JSON object a message; its end says the rest.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from ftpsproxy import errors, net
from ftpsproxy.net import Socket
from ftpsproxy.serve import outcomes
from ftpsproxy.serve.activation import ListenError, Passed
from ftpsproxy.serve.listening import Address, Open, Sockets, Source, own

# Workers have as long to listen; and then the new process's certificates.
START_SECONDS = 90.0
# For the last step: a turn of a loop, or the start of worker processes.
TURN_SECONDS = 30.0
_VARIABLE = "_FTPSPROXY_TAKES_OVER"  # no setting: those have no underline in front
_MOST_FILES = 200  # in one message; the kernel takes 253
_MESSAGE_BYTES = 262_144
_OVER: dict[str, Any] = {"over": True}


class HandoverError(Exception):
    """The other one is not to take over, or to be taken over; `str()` is one plain line."""


class _Channel:
    """One end of it. Never waits; `hear` gives {"over": True} once the other one is gone."""

    def __init__(self, sock: Socket) -> None:
        self.sock = sock

    def say(self, files: Sequence[int] = (), /, **words: object) -> None:
        """That nobody hears it shows when it is heard. Raises OSError for want of room."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            socket.send_fds(self.sock, [json.dumps(words).encode()], files)

    def hear(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors; None: there is none yet."""
        try:
            data, files, _, _ = socket.recv_fds(self.sock, _MESSAGE_BYTES, _MOST_FILES)
        except BlockingIOError:
            return None
        except OSError:
            return _OVER, []
        return (json.loads(data), files) if data else (_OVER, [])

    def wait(self, seconds: float) -> bool:
        """Until there is something to hear → whether there is."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def close(self) -> None:
        """The end."""
        net.close(self.sock)


class Successor(_Channel):
    """The process that is to take this one's place."""

    def __init__(self, sockets: Sockets, passed: Sequence[Passed]) -> None:
        """Start it: the command of this process once more, as it now is on the disk. Raises HandoverError."""
        if os.getpid() == 1:
            raise HandoverError(
                "this is the first process of its container, which would end with it: start another one"
            )
        ours, theirs = net.message_pair()
        super().__init__(ours)
        try:
            with theirs:
                self.pid = _start(theirs)
            taken = {one.sock for one in passed}
            own = [(address, sock) for address, those in sockets.items() for sock in those if sock not in taken]
            self._give("inherited", [(address.host, address.port, address.only) for address, _ in own], own)
            self._give("passed", [one.name for one in passed], [(None, one.sock) for one in passed])
            self.say(all=True)
        except OSError as error:
            self.close()
            raise HandoverError(f"no new process: {errors.words(error)}") from None

    def _give(self, kind: str, names: list[Any], sockets: Sequence[tuple[object, Socket]]) -> None:
        for start in range(0, len(sockets), _MOST_FILES):
            files = [sock.fileno() for _, sock in sockets[start : start + _MOST_FILES]]
            self.say(files, kind=kind, names=names[start : start + _MOST_FILES])

    def end(self) -> None:
        """It is not wanted any more, or of no use."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.close()


def _start(channel: Socket) -> int:
    """A process that is not our child, as it is to outlive us: the service manager hears of its end then → its pid.

    All our other descriptors are closed in it, and it hears all signals. Raises OSError.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    command = sys.orig_argv
    reading, writing = os.pipe()
    with open(reading, "rb") as answer:
        child = os.fork()
        if child == 0:
            try:
                os.set_inheritable(channel.fileno(), True)
                environ[_VARIABLE] = str(channel.fileno())
                signals = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]  # as they are to be until it can heed them
                pid = os.posix_spawnp(command[0], command, environ, setsigmask=signals, setsigdef=[signal.SIGPIPE])
                os.write(writing, str(pid).encode())
            except OSError as error:
                os.write(writing, f"-{error.errno}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        said = int(answer.read() or b"-5")
    if said < 0:
        raise OSError(-said, os.strerror(-said))
    return said


class Predecessor(_Channel):
    """The process whose place this one is to take: what it has given."""

    def __init__(self, sock: Socket) -> None:
        super().__init__(sock)
        self.pid, _ = outcomes.peer(sock)
        self.sockets: Sockets = {}
        self.passed: tuple[Passed, ...] = ()

    def receive(self) -> None:
        """All that it gives, which is there since before this process. Raises HandoverError."""
        while True:
            told = self.hear()
            if told is None or told[0] is _OVER:
                raise HandoverError("the process before has not said what it has")
            words, files = told
            if words.get("all"):
                return
            socks = [socket.socket(fileno=file) for file in files]
            if len(socks) < len(words["names"]):
                raise ListenError("no descriptors for the sockets of the process before: see ulimit -n")
            for name, sock in zip(words["names"], socks, strict=True):
                sock.setblocking(False)
                if words["kind"] == "passed":
                    self.passed += (Passed(sock, name),)
                else:
                    address = Address(*name)
                    self.sockets[address] = (*self.sockets.get(address, ()), sock)

    def source(self, open: Open = own) -> Source:
        """Its sockets, and where others come from."""
        return Source(open, self.passed, self.sockets)

    def failed(self, why: str) -> None:
        """This process can't."""
        with contextlib.suppress(OSError):
            self.say(failed=why[:4000])

    def drop_unused(self, used: Sockets) -> None:
        """Close what no listener has any more."""
        stay = {sock for those in used.values() for sock in those}
        for those in self.sockets.values():
            for sock in those:
                if sock not in stay:
                    sock.close()
        self.sockets.clear()


def predecessor(environ: MutableMapping[str, str]) -> Predecessor | None:
    """The process that has started this one to take its place, if that is how it was started. Raises HandoverError,
    ListenError."""
    number = environ.pop(_VARIABLE, "")
    if not number.isdecimal():
        return None
    try:
        sock = socket.socket(fileno=int(number))
        os.set_inheritable(sock.fileno(), False)
    except OSError:
        raise HandoverError(f"{_VARIABLE}={number}: no socket") from None
    before = Predecessor(sock)
    before.receive()
    return before


def needs_of(words: Mapping[str, Any]) -> dict[str, int] | None:
    """What a message says of the sessions that the process before may have with each upstream; None: nothing."""
    if words is _OVER:
        return {}
    return words.get("needs")
