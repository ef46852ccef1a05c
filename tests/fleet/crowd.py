"""A hundred FTP clients with addresses of their own: what each of them did, and what it believes to be whole."""

from __future__ import annotations

import contextlib
import ftplib
import itertools
import random
import socket
import struct
import threading
from dataclasses import dataclass, field

import pytest

from tests.fleet.network import CLIENTS, VIP, client_address
from tests.support.servers import PASSWORD, USER

HELD = 60
"""So many stop in the middle of their first transfer; the others come and go all the while."""
BIG, SMALL = "big", "small"
BIG_BYTES, SMALL_BYTES = 6 << 20, 20_000
_SECONDS = 40.0
_PATIENCE = 15.0
"""A client whose gateway dies while it waits to be connected to notices by this alone."""
_ROUNDS = 40
_LOGINS = 5


def content(name: str, size: int) -> bytes:
    """What is in the file of that name."""
    return random.Random(name).randbytes(size)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One transfer. `begun`: the client has heard 1xx; `whole`: it takes the file for whole; `peer`: the address at the
    other end of its data connection."""

    client: str
    path: str
    upload: bool
    size: int
    begun: bool
    whole: bool
    peer: str
    why: str = ""


class Ftp(ftplib.FTP):
    """It notes whether its transfer has begun."""

    begun = False
    trust_server_pasv_ipv4_address = False  # its own, which typeshed does not know

    def getresp(self) -> str:
        reply = super().getresp()
        self.begun = self.begun or reply.startswith("1")
        return reply

    def makeport(self) -> socket.socket:
        """As its own, which leaves the socket to the garbage collector where PORT is refused."""
        sock = socket.create_server(("", 0), family=self.af, backlog=1)
        sock.settimeout(_PATIENCE)
        try:
            assert self.sock is not None
            host, port = self.sock.getsockname()[0], sock.getsockname()[1]
            (self.sendport if self.af == socket.AF_INET else self.sendeprt)(host, port)
        except BaseException:
            sock.close()
            raise
        return sock

    def __exit__(self, *_: object) -> None:
        if self.sock is not None:
            with contextlib.suppress(EOFError, OSError, ftplib.Error):  # the gateway may have said 421, and be gone
                self.quit()
            self.close()


@dataclass(slots=True)
class Crowd:
    """All of them. `holding`: those that have stopped in the middle; `go` has them go on, `stop` the others end."""

    go: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    news: threading.Condition = field(default_factory=threading.Condition)
    attempts: list[Attempt] = field(default_factory=list)
    failed_logins: list[str] = field(default_factory=list)
    crashed: list[BaseException] = field(default_factory=list)
    holding: int = 0
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """To be called in the clients' network."""
        for number in range(1, CLIENTS + 1):
            client = Client(self, number)
            self.threads.append(threading.Thread(target=client.run, name=client.address, daemon=True))
        for thread in self.threads:
            thread.start()

    def wait_until_held(self) -> None:
        """All that are to stop in the middle have, and all others have had a transfer."""

        def so_far() -> int:
            return self.holding + len({one.client for one in self.attempts})

        with self.news:
            held = self.news.wait_for(lambda: so_far() == CLIENTS or self.crashed, _SECONDS)
            assert held, f"{so_far()} of {CLIENTS} have begun"
        assert not self.crashed, self.crashed

    def wait_for_more(self, count: int) -> None:
        """So many more transfers have ended."""
        with self.news:
            already = len(self.attempts)
            more = self.news.wait_for(lambda: len(self.attempts) >= already + count, _SECONDS)
        assert more, f"{len(self.attempts) - already} of {count} transfers in {_SECONDS} s"

    def end(self) -> None:
        """They go on, and end."""
        self.go.set()
        for thread in self.threads[:HELD]:
            thread.join(_SECONDS)
        self.stop.set()
        for thread in self.threads:
            thread.join(_SECONDS)
            assert not thread.is_alive(), f"{thread.name} hangs"
        assert not self.crashed, self.crashed


class Client:
    """One of them: always with its own address, IPv4 or IPv6, passive or active."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self.address = client_address(number)
        self._ipv6 = ":" in self.address
        self._passive = number // 2 % 2 == 0
        self._goes_by_227 = number // 4 % 2 == 0  # curl and Python's ftplib do not, nor .NET
        self._upload = number // 8 % 2 == 0
        self._held = number <= HELD
        self._names = (f"{number}-{count}" for count in itertools.count(1))

    def run(self) -> None:
        try:
            if self._held:
                self._transfer_held()
            else:
                for _ in range(_ROUNDS):
                    whole = self._round()
                    if self._crowd.stop.wait(0.3) and whole:  # they are not to be a load; who has failed comes again
                        return
        except BaseException as error:
            with self._crowd.news:
                self._crowd.crashed.append(error)
                self._crowd.news.notify_all()

    def _transfer_held(self) -> None:
        """One long transfer, and once more if it has failed."""
        with self.logged_in() as ftp:
            if self._transfer(ftp, upload=self._upload, big=True, hold=True).whole:
                return
        while not self._round():
            pass

    def _round(self) -> bool:
        """A session with two files → whether both are whole."""
        with self.logged_in() as ftp:
            return all(self._transfer(ftp, upload=upload).whole for upload in (True, False))

    def logged_in(self) -> Ftp:
        for _ in range(_LOGINS):
            ftp = Ftp(timeout=_SECONDS)
            try:
                ftp.connect(VIP[self._ipv6], 21, source_address=(self.address, 0))
                ftp.set_pasv(self._passive)
                ftp.trust_server_pasv_ipv4_address = self._goes_by_227
                ftp.login(USER, PASSWORD)
            except (EOFError, OSError, ftplib.Error) as error:
                ftp.close()
                self._crowd.failed_logins.append(f"{self.address}: {error!r}")
                self._crowd.stop.wait(0.5)  # as devices do before they try again
            else:
                return ftp
        raise AssertionError(f"{self.address} can't log in: {self._crowd.failed_logins[-_LOGINS:]}")

    def _transfer(self, ftp: Ftp, *, upload: bool, big: bool = False, hold: bool = False) -> Attempt:
        path = next(self._names) if upload else BIG if big else SMALL
        size = BIG_BYTES if big and not upload else SMALL_BYTES
        why, peer, ftp.begun = "", "", False
        try:
            with ftp.ntransfercmd(f"{'STOR' if upload else 'RETR'} {path}")[0] as data:
                data.settimeout(_SECONDS)
                peer = data.getpeername()[0]
                self._move(data, path, size, upload=upload, hold=hold)
            ftp.voidresp()
        except (EOFError, OSError, ftplib.Error, Incomplete) as error:
            why = repr(error)
            ftp.close()
        attempt = Attempt(self.address, path, upload, size, ftp.begun, not why, peer, why)
        with self._crowd.news:
            self._crowd.attempts.append(attempt)
            self._crowd.news.notify_all()
        return attempt

    def _move(self, data: socket.socket, path: str, size: int, *, upload: bool, hold: bool) -> None:
        whole, done = content(path, size), 0
        while done < size:
            if hold and done >= size // 2:
                hold = False
                self._hold()
            if upload:
                step = whole[done : done + size // 2]
                data.sendall(step)
            else:
                step = data.recv(65_536)
                if step != whole[done : done + len(step)] or not step:
                    raise Incomplete(f"{done} bytes")
            done += len(step)

    def _hold(self) -> None:
        with self._crowd.news:
            self._crowd.holding += 1
            self._crowd.news.notify_all()
        assert self._crowd.go.wait(_SECONDS * 2)


def reset_uploads(count: int) -> list[str]:
    """So many uploads of each of three clients, reset in the middle → their paths. To be called in their network."""
    paths = []
    for number in (2, 4, 5):  # active, passive over IPv6, passive over IPv4 without a look at the address in the 227
        with Client(Crowd(), number).logged_in() as ftp:
            for one in range(count):
                paths.append(f"reset-{number}-{one}")
                with ftp.ntransfercmd(f"STOR {paths[-1]}")[0] as data:
                    data.sendall(content(paths[-1], SMALL_BYTES))
                    data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with pytest.raises(ftplib.error_temp):
                    ftp.voidresp()
    return paths


class Incomplete(Exception):
    """The data ended before its end."""
