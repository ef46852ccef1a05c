"""The log as evidence: one line says which file went where, by whom, at which server; what else became of files."""

from __future__ import annotations

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Fault, Quirks
from tests.support.gateway import Event

WHO = ("user", "server", "server_address", "certificate_sha256", "verified_by")


def who(stage: Stage, event: Event) -> None:
    """Assert that an event about a file says by itself whose it was, and at which server."""
    secured = stage.event("upstream.secured")
    expected = ("anna", f"127.0.0.1:{stage.server.port}", "127.0.0.1", secured["certificate_sha256"], "chain")
    assert tuple(event[key] for key in WHO) == expected


def test_a_transfer_stands_alone(stages: Stages) -> None:
    stage = stages("debug")
    with stage.logged_in() as client:
        client.command("TYPE I")
        client.command("REST 300000")
        downloaded, _ = client.download()
        assert downloaded.data == FILE[300_000:]
        client.command("TYPE A")
        client.upload(b"x" * 5)
    first, second = stage.event("transfer.finished"), stage.event("transfer.finished", 2)
    for event in (first, second):
        who(stage, event)
        assert (event["directory"], event["directory_relative"]) == (".", True)
        assert 0 <= event["ttfb_seconds"] <= event["seconds"]
    assert (first["type"], first["offset"], first["bytes"]) == ("I", 300_000, 20_000)
    assert (second["type"], second["offset"], second["bytes"]) == ("A", 0, 5)
    started = stage.events("transfer.started")
    assert [(event["level"], event["number"], event["verb"]) for event in started] == [
        ("debug", 1, "RETR"),
        ("debug", 2, "STOR"),
    ]
    who(stage, started[0])


def test_a_transfer_is_in_the_directory_it_was_asked_for_in(stage: Stage) -> None:
    """Of one that is torn, the end is noted when the client may be elsewhere already."""
    stage.play(Quirks(fault=Fault.RESET, fault_at=16384))
    with stage.logged_in() as client:
        client.command("CWD daily")
        client.download()
        client.command("CWD /other")
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["directory"], finished["directory_relative"]) == ("torn", "daily", True)


@pytest.mark.parametrize(
    ("said", "directory"),
    [
        (b'257 "/home/anna" is the current directory\r\n', "/home/anna"),
        (b"257 /home/anna\r\n", None),
        (b'257 "/a""b" is current directory\r\n', None),
        (b'257 "/a\x1b[2J" is current directory\r\n', None),
        (b'257 "/' + b"x" * 1_000_000 + b'"\r\n', None),
        (b'257-"/a"\r\n257 "/b"\r\n', None),
    ],
    ids=lambda said: repr(said)[:30],
)
def test_a_server_that_lies_about_its_directory_costs_the_directory(
    stage: Stage, said: bytes, directory: str | None
) -> None:
    stage.play(Quirks(replies={"PWD": said}))
    with stage.logged_in() as client:
        client.command("PWD")
        client.download()
    finished = stage.event("transfer.finished")
    assert finished["outcome"] == "complete"
    assert finished["directory"] == directory
    assert "directory_relative" not in finished


def test_what_becomes_of_files_is_told(stage: Stage) -> None:
    stage.play(Quirks(replies={"RMD": b"550 not empty\r\n", "MDTM": b"213 20260101120000\r\n"}))
    lines = """DELE old
        RNFR a
        RNTO b
        MKD new
        RMD new
        SITE CHMOD 600 c d
        MFMT 20260101120000 e
        SITE UMASK 022
        MDTM f
        RNFR unused""".splitlines()
    with stage.logged_in() as client:
        for line in lines:
            client.command(line.strip())
    stage.event("session.closed")
    told = stage.events("file.changed")
    shown = [(e["action"], e.get("path"), e.get("to"), e["ok"], e["reply"], e["level"]) for e in told]
    assert shown == [
        ("deleted", "old", None, True, 250, "info"),
        ("renamed", "a", "b", True, 250, "info"),
        ("directory_made", "new", None, True, 257, "info"),
        ("directory_removed", "new", None, False, 550, "warning"),
        ("mode", "c d", None, True, 250, "info"),
        ("time", "e", None, True, 250, "info"),
    ]
    for event in told:
        who(stage, event)
        assert event["directory"] == "."


def test_no_file_that_is_gone_goes_unsaid(stage: Stage) -> None:
    """Of what only fails some hundred lines are enough; of what is done none is left out."""
    stage.play(Quirks())
    with stage.logged_in() as client:
        for start in range(0, 400, 50):
            numbers = range(start, start + 50)
            client.send(b"".join(b"DELE file%d\r\n" % number for number in numbers))
            assert all(client.reply().good for _ in numbers)
    stage.event("session.closed")
    assert [event["path"] for event in stage.events("file.changed")] == [f"file{number}" for number in range(400)]


def test_what_was_never_answered_may_be_done(stage: Stage) -> None:
    stage.play(Quirks(replies={"DELE": b""}, close_after=frozenset({"DELE"})))
    with stage.logged_in() as client:
        client.send(b"DELE a\r\n")
        client.rest()
    told = stage.event("file.changed")
    assert (told["path"], told["level"]) == ("a", "warning")
    assert not {"ok", "reply"} & told.keys()


def test_a_refused_transfer_says_whose_it_was(stage: Stage) -> None:
    stage.play(Quirks(replies={"STOR": b"553 name not allowed\r\n"}))
    with stage.logged_in() as client:
        client.command("CWD /in")
        client.passive()
        client.command("STOR a")
    refused = stage.event("transfer.refused")
    assert (refused["verb"], refused["path"], refused["reply"], refused["directory"]) == ("STOR", "a", 553, "/in")
    who(stage, refused)


def test_a_transfer_that_lasts_says_so_from_time_to_time(stages: Stages) -> None:
    stage = stages("progress")
    with stage.logged_in() as client:
        client.command("TYPE I")
        data = client.passive()
        assert client.command("STOR slow").code == 150
        data.send(b"x" * 1000)
        stage.event("transfer.progress", 2)
        data.fin()
        assert client.reply().good
        client.upload(b"y")
    finished = stage.event("transfer.finished")
    (started,) = stage.events("transfer.started")
    first, second = stage.events("transfer.progress")[:2]
    for event in (started, first):
        who(stage, event)
        assert (event["level"], event["number"], event["path"], event["direction"]) == ("info", 1, "slow", "upload")
    assert (first["bytes"], second["bytes"], finished["bytes"]) == (1000, 1000, 1000)
    assert 0.5 <= started["seconds"] == first["seconds"] < second["seconds"] < finished["seconds"]
    assert first["ttfb_seconds"] == finished["ttfb_seconds"]
