"""The promise: what is refused here never reaches the server, however it is written.

The attack: another byte than a blank behind a verb. ProFTPD ends one at any white space, so `PROT<TAB>C` would turn
protection off there, and `PASV<TAB>` have the file come past the gateway, in clear. What must be seen: 500, the line in
the log, and nothing of it at the server.
"""

from __future__ import annotations

import pytest

from tests.faults.stage import Stage

BEHIND = ["\t", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\xc2\xa0", "\u2003", "-", ";", "\x00", "\xff"]
VERBS = ["PROT", "PBSZ", "CCC", "AUTH", "REIN", "PASV", "EPSV", "PORT", "EPRT", "LPSV", "SPSV", "P@SW"]


@pytest.mark.parametrize("behind", BEHIND, ids=ascii)
def test_a_verb_ends_at_a_blank(stage: Stage, behind: str) -> None:
    with stage.logged_in() as client:
        before = len(stage.server.last.commands)
        for verb in VERBS[:8]:
            client.send(f"{verb}{behind}C 127,0,0,1,4,1\r\n".encode())
            assert client.reply().code == 500
        assert client.command("PWD").code == 257
        assert stage.server.last.commands[before:] == [b"PWD"]
    stage.event("command.refused", 8)


@pytest.mark.parametrize("before", ["\t", " \t ", "\xff\xf4\xff\xf2", "\xef\xbb\xbf", "\x00", "\r"], ids=ascii)
@pytest.mark.parametrize("verb", VERBS)
def test_what_stands_before_a_verb_changes_nothing(stage: Stage, before: str, verb: str) -> None:
    with stage.logged_in() as client:
        count = len(stage.server.last.commands)
        client.send(f"{before}{verb.lower()} C\r\n".encode("latin-1"))
        assert client.reply().code >= 200
        assert client.command("PWD").code == 257
        said = [command.split()[0] for command in stage.server.last.commands[count:]]
    assert set(said) <= {b"EPSV", b"PASV", b"PWD"}  # ours, without the argument
    assert not any(b"C" in command.split()[1:] for command in stage.server.last.commands[count:])
