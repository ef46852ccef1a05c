"""One report, from a log's first line to its last."""

from datetime import datetime
from pathlib import Path

from ftpsproxy.reading.choosing import Choice
from ftpsproxy.reading.decoding import Decoder
from ftpsproxy.reading.report import chapters, statement
from ftpsproxy.reading.report.chapters import Read
from ftpsproxy.reading.report.document import Document
from ftpsproxy.reading.report.gathering import Gathered
from ftpsproxy.reading.report.proof import Proof, Witness
from ftpsproxy.reading.sessions import Sessions


class Accounting:
    """`witness`: for a statement, what says whether the log is as it was written; None: a report is wanted."""

    def __init__(self, choice: Choice, window: str, witness: Witness | None) -> None:
        self._test = choice.test
        self._window = window
        self._witness = witness
        self._proof = Proof()
        self._decoder = Decoder()
        self._sessions = Sessions()
        self._gathered = Gathered()
        self._where = ""
        self._number = 0

    def of(self, path: Path | None) -> None:
        """The lines that come now are of this file; None: of standard input."""
        self._where, self._number = str(path or "-"), 0

    def take(self, lines: list[bytes]) -> None:
        """More lines."""
        decode, hear, test, take = self._decoder.event, self._sessions.hear, self._test, self._gathered.take
        witness, proof = self._witness, self._proof
        for line in lines:
            if witness is not None:
                self._number += 1
                witness.line(line, f"{self._where}:{self._number}")
            event = decode(line)
            if event is None:
                continue
            hear(event)
            chosen = test is None or test(event)
            if witness is not None:
                proof.take(event, chosen=chosen)
            if chosen:
                take(event)

    def end(self, faults: list[str], now: datetime) -> Document:
        """There are no more; `faults`: what could not be read."""
        read = Read(self._decoder.counts, self._sessions.forgotten, tuple(faults), self._window, now)
        if self._witness is None:
            return chapters.report(self._gathered, read)
        self._witness.end()
        return statement.statement(self._gathered, read, self._proof, self._witness)
