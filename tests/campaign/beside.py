"""The well-behaved session beside every faulty one: file after file, each of them whole and prompt."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType
from typing import Self

from tests.support.bad_client import BadClient, Ended
from tests.support.servers import Endpoint

PROMPT_SECONDS = 8.0
"""More than ten times what it takes on a machine that is busy with something else."""

_UP, _DOWN = 100_000, 300_000
_PAUSE = 0.05


class Beside(threading.Thread):
    """Works while the `with` block lasts; ``troubles`` says what was wrong, ``done`` counts files."""

    def __init__(self, end: Endpoint, blob: bytes, number: int) -> None:
        super().__init__(name="beside", daemon=True)
        self._end = end
        self._blob = blob
        self._name = f"beside-{number}"
        self._stopping = threading.Event()
        self.ready = threading.Event()
        self.draining = False
        self.troubles: list[str] = []
        self.done = 0
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self.start()
        self.ready.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.join(60)
        if self.is_alive():
            self.troubles.append("hangs")

    def run(self) -> None:
        try:
            with BadClient(self._end.port, self._end.host, patience=20) as client:
                client.login(self._end.user, self._end.password)
                assert client.command("TYPE I").code == 200
                self.ready.set()
                while not self._stopping.is_set():
                    started = time.monotonic()
                    self._one(client)
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    self.done += 1
                    self._stopping.wait(_PAUSE)
                with contextlib.suppress(Ended):
                    client.command(f"DELE {self._name}")
                    client.command("QUIT")
        except Exception as error:
            if not self.draining:
                self.troubles.append(repr(error))
        finally:
            self.ready.set()
        if self.slowest > PROMPT_SECONDS:
            self.troubles.append(f"a pair of transfers took {self.slowest:.1f} s")

    def _one(self, client: BadClient) -> None:
        """Both ways. Torn is trouble even while the gateway drains."""
        replies = client.upload(self._blob[:_UP], self._name)
        assert replies[-1].good or self.draining, replies
        while replies[-1].code < 200:
            replies.append(client.reply())
        if self.draining:
            return
        data = client.passive()
        assert client.command(f"RETR down-{_DOWN}").code < 200
        downloaded = data.read_to_end()
        while (reply := client.reply()).code < 200:
            pass
        whole = downloaded.data == self._blob[:_DOWN] and downloaded.ended == "fin"
        if not whole and (reply.good or downloaded.ended == "fin"):
            self.troubles.append(f"{len(downloaded.data)} bytes, {downloaded.ended}, {reply}")
        assert (whole and reply.good) or self.draining, reply
