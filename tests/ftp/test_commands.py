"""Commands as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp import commands
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.errors import ProtocolError


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", Command(b"NOOP")),
        (b"user Bob", Command(b"USER", b"Bob")),
        (b"  retr  a b ", Command(b"RETR", b" a b ")),
        (b"PWD ", Command(b"PWD", b"")),
        (b"stor gr\xfc\xdfe", Command(b"STOR", b"gr\xfc\xdfe")),
        (b"", None),
        (b"   ", None),
    ],
)
def test_parse(line: bytes, command: Command | None) -> None:
    assert commands.parse(line) == command


@pytest.mark.parametrize("line", [b"RETR a\0b", b"RETR a\rDELE b", b"RETR\0a"])
def test_what_could_be_two_commands_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        commands.parse(line)


@given(st.binary(max_size=80))
def test_what_goes_out_is_one_line_and_means_the_same(data: bytes) -> None:
    try:
        command = commands.parse(data.replace(b"\n", b""))
    except ProtocolError:
        return
    if command is not None:
        wire = command.encode()
        assert wire.count(b"\n") == wire.count(b"\r") == 1
        assert commands.parse(wire[:-2]) == command


@pytest.mark.parametrize("line", [b"PASS geheim", b"pass geheim", b"ACCT geheim", b"ADAT geheim"])
def test_secrets_are_not_shown(line: bytes) -> None:
    command = commands.parse(line)
    assert command is not None
    assert "geheim" not in command.shown


def test_features_promise_no_tls() -> None:
    lines = (
        b"211-Features:",
        b" AUTH TLS;TLS-C;SSL;TLS-P;",
        b" PBSZ",
        b" PROT C;P;",
        b" MLST a*;b*;",
        b" UTF8",
        b"211 End",
    )
    assert commands.visible_features(lines) == (
        b"211-Features:",
        b" MLST a*;b*;",
        b" UTF8",
        b" EPRT",
        b" EPSV",
        b"211 End",
    )


def test_no_features_stay_no_features() -> None:
    assert commands.visible_features((b"211 no features",)) == (b"211 no features",)
