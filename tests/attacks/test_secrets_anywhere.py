"""The promise: no password stands in any log, at any level, in any format, wherever it is said, and by whom.

The attack is carelessness once more, but without a list: hypothesis throws a password at every place where a client and
a server can put one, in any order. What must be seen: no line of the log holds it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpsproxy.config import Limits, Listener, Log, LogOutput, Settings, Upstream
from ftpsproxy.ftp.commands import pieces
from ftpsproxy.observe import lines, log, redaction
from ftpsproxy.serve import process
from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.receivers import Message, journal_entry, receiver, until

Format = Literal["json", "logfmt", "console", "ecs", "xferlog", "syslog", "journald"]
FORMATS: tuple[Format, ...] = get_args(Format)
PATIENCE = 20.0

# Where a client puts its password: {} is it.
CLIENT = (
    "PASS {}",
    "pass {} ",
    "PASS first {}",
    "PASS {} second",
    "PAS {}",
    "PASS{}",
    "PASS:{}",
    "PASS\t{}",
    "PASS\x0b{}",
    "\xef\xbb\xbfPASS {}",
    "{}",
    "{} {}",
    "bob {}",
    "xyzzy plugh {}",
    "XPAS {}",
    "XAUT bob {}",
    "ACCT {}",
    "ADAT {}",
    "MIC {}",
    "QUOTE PASS {}",
    "USER bob PASS {}",
    "USER bob\0PASS {}",
    "USER bob\rPASS {}",
    "SITE {}",
    "SITE {} x",
    "SITE PSWD old {}",
    "SITE PSWD {} new",
    "SITE CPWD {}",
    "SITE ADDUSER bob {} *@10.0.0.1",
    "SITE PASS {}",
    "site exec login bob {}",
    "GET /?password={}",
)
# Where a server repeats it.
SERVER = (
    "500 what is {}?",
    "500 '{}' not understood",
    "530-{}\r\n530 {} is wrong",
    "550 {}",
    "550 PASS {} first",
    "250 {} is fine",
    '257 "/home/{}" is current directory',
    "227 entering {} (1,2,3,4,5,6)",
    "{}\r\n500 no",
    "the word was {}\r\n500 no",
    "500 ok\r\n500 {}",
    "421 {} is barred",
    "553 the name {}.txt is not allowed",
    "150 FILE: {}\r\n550 no {}",
    "500 " + "x" * 990 + "{}",
    "500 " + "x " * 495 + "{}",
)
# What a client says besides, to have the server repeat it later.
LATER = ("PWD", "CWD x", "NOOP", "STAT", "RETR a", "STOU", "DELE a", "MKD b", "XYZZY", "SITE HELP", "SIZE a", "PASV")
LETTERS = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f*", exclude_categories=["Cc"])
PASSWORDS = st.text(LETTERS, min_size=8, max_size=20).filter(lambda text: not text.isdigit())


class Answers(dict[str, bytes]):
    """What a server says, once it is `on`, to whatever it is told, but for what it needs to let a client in and out."""

    def __init__(self, answers: list[str]) -> None:
        self.on = False
        self._answers = itertools.cycle([answer.encode("latin-1") + b"\r\n" for answer in answers])

    def get(self, key: str, default: Any = None) -> Any:
        """The server asks for an answer to the verb first, and offers that as default for the whole line."""
        if default is not None or not self.on or key in ("PBSZ", "PROT", "QUIT"):
            return default
        return next(self._answers)


class Written(io.StringIO):
    """A log in memory that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._news = threading.Condition()

    def write(self, text: str) -> int:
        with self._news:
            self._news.notify_all()
            return super().write(text)

    def wait_for(self, event: str) -> str:
        """All of it, once there is such an event."""
        with self._news:
            assert self._news.wait_for(lambda: event in self.getvalue(), PATIENCE), self.getvalue()
            return self.getvalue()


class InProcess:
    """A gateway in this process, whose log is kept, before a server that does as it is told."""

    def __init__(self, server: BadServer, certificates: Certificates) -> None:
        self._server = server
        self._certificates = certificates
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._port = 0
        self._thread = threading.Thread(target=lambda: trio.run(self._serve), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    async def _serve(self) -> None:
        roots, server = self._certificates.ca_file, self._server
        upstream = Upstream("u", server.host, server.port, server_name="localhost", ca_file=roots)
        limits = Limits(sessions_per_second=100_000, refused_logins=1_000_000, login_attempts=1000, bad_lines=1000)
        chosen = Settings((Listener("a", "127.0.0.1", 0, "u"),), {"u": upstream}, Log("json", "debug"), limits)
        token, over = trio.lowlevel.current_trio_token(), trio.Event()
        self._stop = lambda: token.run_sync_soon(over.set)
        async with trio.open_nursery() as nursery:
            _, real = await nursery.start(partial(process.serve, chosen, stop=over))
            self._port = real.listeners[0].port
            self._ready.set()

    def close(self) -> None:
        self._stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def play(self, format: Format, said: list[str], answers: list[str], *, login: bool) -> str:
        """The client says this, and the server that in turn → the log of that session."""
        if format == "xferlog" or format == "syslog" or format == "journald":
            return self._play_to_another(format, said, answers, login=login)
        written = Written()
        log.configure(format, "debug", written)
        self._play(said, answers, login=login)
        return written.wait_for("session.closed")

    def _play_to_another(self, format: Format, said: list[str], answers: list[str], *, login: bool) -> str:
        """The same, where the log goes to a file or a daemon, too; JSON says when it is over."""
        with tempfile.TemporaryDirectory() as folder:
            place, whole = Path(folder, "place"), Path(folder, "whole")
            output = LogOutput("it", str(place), "xferlog")
            if format != "xferlog":
                output = LogOutput("it", format, "json", "debug", address=str(place), max_bytes=65_000)
            with contextlib.ExitStack() as stack:
                daemon = stack.enter_context(receiver(place)) if format != "xferlog" else None
                log.Prepared(Log(outputs=(output, LogOutput("whole", str(whole), "json", "debug")))).use()
                self._play(said, answers, login=login)
                until("session over", lambda: "session.closed" in whole.read_text())
                log.configure("json", "info", Written())
                if daemon is None:
                    return place.read_text()
                got = daemon.wait_for_text(b"session.closed")
        return "\n".join(
            Message.read(one).message if format == "syslog" else "\n".join(journal_entry(one).values()) for one in got
        )

    def _play(self, said: list[str], answers: list[str], *, login: bool) -> None:
        pair = self._certificates.server
        told = Answers(answers)
        self._server.play(Quirks(replies=told), {}, certificate=(pair.certificate_file, pair.key_file))
        with BadClient(self._port) as client:
            if login:
                client.login()
            told.on = True
            client.send(b"".join(line.encode("latin-1") + b"\r\n" for line in [*said, "QUIT"]))
            client.rest()


@pytest.fixture(scope="module")
def gateway(fault_certificates: Certificates) -> Iterator[InProcess]:
    pair = fault_certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        gateway = InProcess(server, fault_certificates)
        try:
            yield gateway
        finally:
            gateway.close()
            log.flush()
            log.configure("json", "info")


def shown(written: str, format: Format) -> str:
    """What a log says, without the escapes of its format."""
    if format in ("json", "syslog"):
        return "\n".join(str(value) for line in written.splitlines() for value in json.loads(line).values())
    return written.replace('\\"', '"').replace("\\\\", "\\")


@settings(max_examples=60)
@given(
    data=st.data(),
    password=PASSWORDS,
    format=st.sampled_from(FORMATS),
    login=st.booleans(),
    answer=st.sampled_from(SERVER),
)
def test_no_password_is_in_any_log(
    gateway: InProcess, data: st.DataObject, password: str, format: Format, login: bool, answer: str
) -> None:
    places = st.lists(st.sampled_from(CLIENT), min_size=1, max_size=4)
    said = [line.replace("{}", password) for line in data.draw(places)] + data.draw(st.lists(st.sampled_from(LATER)))
    written = gateway.play(format, said, [answer.replace("{}", password)], login=login)
    text = shown(written, format).lower()
    ascii_only = password.encode("ascii", "backslashreplace").decode()
    raw = password.encode("latin-1").decode("utf-8", "backslashreplace")
    for form in {password, ascii_only, raw, json.dumps(password)[1:-1]}:
        assert form.lower() not in text, written


@pytest.mark.parametrize("place", CLIENT)
def test_each_place(gateway: InProcess, place: str) -> None:
    """All of them once, with one password, whatever hypothesis draws."""
    password = "Geheim!123"
    said = [line.replace("{}", password) for line in [place, "PWD", "RETR a"] * len(SERVER)]
    answers = [answer.replace("{}", password) for answer in SERVER]
    written = gateway.play("json", said, answers, login=True)
    assert "geheim" not in written.lower(), [line for line in written.splitlines() if "geheim" in line.lower()]


def test_many_words_are_not_dear() -> None:
    """Each word of a verb that is in no table may be a password, and is looked for in all that is said later; a client
    that says 8 KiB of them again and again must not stop the others by that."""
    log.bind("s1", "10.0.0.1:3333", "scanners", "archive")
    try:
        for number in range(100):
            redaction.hide("", *(f"w{number}x{word}" for word in range(1000)))
        mine = lines.bound.get()
        assert mine is not None
        assert sum(len(secrets) for times in mine.secrets.values() for secrets in times) <= 4096
        assert len(pieces(" ".join("a:b=é" for _ in range(2000)))) < 200
        assert redaction.redact("w99x0 is no word") == "*** is no word"
    finally:
        log.unbind()
