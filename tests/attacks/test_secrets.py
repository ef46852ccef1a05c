"""The promise: no password stands in any log, at any level.

The attack is carelessness: a password behind a mistyped verb, on a line of its own, in a SITE command, and a server
that repeats what it was told. What must be seen: at debug, no line holds it.
"""

from __future__ import annotations

import pytest

from tests.faults.profiles import Stages
from tests.support.bad_server import Quirks

SECRET = "Geheim123"


@pytest.mark.parametrize(
    "line",
    [
        f"PASS {SECRET}",
        f"pass {SECRET}",
        f"PAS {SECRET}",
        f"PASS{SECRET}",
        f"PASS\x0b{SECRET}",
        f"PASS\t{SECRET}",
        f"\xef\xbb\xbfPASS {SECRET}",
        SECRET,
        f"XPAS {SECRET}",
        f"XAUT anna {SECRET}",
        f"ACCT {SECRET}",
        f"SITE PSWD old {SECRET}",
        f"SITE CPWD {SECRET}",
        f"USER anna\x00PASS {SECRET}",
    ],
    ids=repr,
)
def test_a_password_is_in_no_log(stages: Stages, line: str) -> None:
    stage = stages("debug")
    verb = line.lstrip("\xef\xbb\xbf").split()[0].upper()
    echo = f"530 what is '{line}' - \"{SECRET}\"?\r\n".encode("latin-1").replace(b"\0", b"")
    stage.play(Quirks(replies={verb: echo, verb[:4]: echo}))
    with stage.client() as client:
        client.send(line.encode("latin-1") + b"\r\n")
        assert client.reply().code >= 500
        client.command("QUIT")
    stage.event("session.closed")
    assert SECRET.lower() not in "\n".join(map(str, stage.events())).lower()


def test_a_password_stays_hidden_whatever_is_said_behind_it(stages: Stages) -> None:
    """z/OS's SITE has many words, each of which may be a password; so may each verb that is in no table."""
    stage = stages("debug")
    refusal = f'550 account anna/{SECRET} may not read report132.pdf of "132"\r\n'.encode()
    stage.play(Quirks(replies={"RETR": refusal}))
    with stage.client() as client:
        client.login(password=SECRET)
        client.command(
            "SITE VARRECFM LRECL=256 RECFM=VB BLKSIZE=6233 PRIMARY=5 SECONDARY=5 UNIT=SYSDA MGMTCLAS=STD X1 Y2"
        )
        client.command("SITE FIXRECFM 132")
        for number in range(20):
            client.command(f"XV{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[number]} word{number}")
        client.command("RETR a")
    text = stage.event("transfer.refused")["text"]
    assert text == 'account anna/*** may not read report132.pdf of "***"'
    assert SECRET.lower() not in "\n".join(map(str, stage.events())).lower()


def test_a_site_of_many_words_hides_its_own_password(stages: Stages) -> None:
    stage = stages("debug")
    stage.play(Quirks(replies={"SITE": f"500 bad: ADDUSER bob {SECRET} nope\r\n".encode()}))
    with stage.logged_in() as client:
        client.command(f"SITE ADDUSER bob {SECRET} *@1 *@2 *@3 *@4 *@5 *@6 *@7 *@8 *@9")
        client.send(f"SITE PSWD old {SECRET}\r\nSITE ALL OF THESE WORDS MAY BE SECRETS AS WELL AS THOSE\r\n".encode())
        client.reply()
        client.reply()
    stage.event("session.closed")
    assert SECRET.lower() not in "\n".join(map(str, stage.events())).lower()
