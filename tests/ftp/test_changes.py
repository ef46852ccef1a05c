"""Which commands change files, and what the log hears of that."""

import pytest

from ftpsproxy.ftp import changes, commands
from ftpsproxy.ftp.changes import Change, Changes
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.events import ServerLost
from ftpsproxy.ftp.orders import BeginTransfer, NoteFileChanged
from ftpsproxy.ftp.protocol import heard
from tests.ftp.play import Play, reply


def shown(change: Change | None) -> str | None:
    if change is None:
        return None
    return f"{change.action.value} {change.path}" + (f" -> {change.to}" if change.to is not None else "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("DELE old report.pdf", "deleted old report.pdf"),
        ("dele x", "deleted x"),
        ("MKD a/b", "directory_made a/b"),
        ("XMKD a", "directory_made a"),
        ("RMD a", "directory_removed a"),
        ("XRMD a", "directory_removed a"),
        ("SITE CHMOD 644 a b", "mode a b"),
        ("site chmod 644 a", "mode a"),
        ("SITE CHMOD 644", "mode None"),
        ("SITE CHGRP staff a", "other a"),
        ("SITE MKDIR a", "directory_made a"),
        ("SITE RMDIR a", "directory_removed a"),
        ("SITE SYMLINK a b", "other a -> b"),
        ("SITE SYMLINK a b c", "other None"),
        ("SITE UTIME 20260101120000 a b", "time a b"),
        ("SITE UTIME a 20260101120000 20260101120000 20260101120000 UTC", "time a"),
        ("SITE UTIME x", "time None"),
        ("MFMT 20260101120000 a", "time a"),
        ("MFCT 20260101120000.123 a", "time a"),
        ("MFF UNIX.mode=0644;Modify=20260101120000; a; b", "other a; b"),
        ("MDTM 20260101120000 a", "time a"),
        ("MDTM 20260101120000 +3600 a", "time a"),
        ("MDTM a", None),
        ("COMB whole a b", "other whole a b"),
        ("DELE", None),
        ("SITE PSWD old new", None),
        ("SITE UMASK 022", None),
        ("NOOP", None),
        ("STOR a", None),
    ],
)
def test_what_a_command_changes(line: str, expected: str | None) -> None:
    command = commands.parse(line.encode())
    assert command is not None
    change = changes.read(command)
    assert shown(change) == expected
    assert change is None or command.verb in changes.VERBS


def renamed(*said: str, places: tuple[Place | None, ...] = (Place(b"/"), Place(b"/"))) -> list[str | None]:
    """What is heard behind commands and replies in turn, each said in one of these places."""
    known, found = Changes(), []
    for line, answer, place in zip(said[::2], said[1::2], places, strict=True):
        command = commands.parse(line.encode())
        assert command is not None
        found.append(shown(known.answered(command, reply(answer), place)))
    return found


def test_a_rename_has_both_names() -> None:
    assert renamed("RNFR a", "350 go on", "RNTO b", "250 ok") == [None, "renamed a -> b"]
    assert renamed("RNFR a", "550 no such file", "RNTO b", "503 RNFR first") == ["renamed a", "renamed None -> b"]
    assert renamed("SITE CPFR a", "350 go on", "SITE CPTO b", "250 ok") == [None, "other a -> b"]


def test_a_name_of_another_directory_is_none_in_this() -> None:
    two = Place(b"/a"), Place(b"/b")
    assert renamed("RNFR a", "350 go on", "RNTO b", "250 ok", places=two)[1] == "renamed None -> b"
    assert renamed("RNFR /x/a", "350 go on", "RNTO b", "250 ok", places=two)[1] == "renamed /x/a -> b"
    assert renamed("RNFR a", "350 go on", "RNTO b", "250 ok", places=(None, None))[1] == "renamed None -> b"


def test_a_time_asked_for_is_no_change() -> None:
    assert renamed("MDTM 20260101120000 a", "213 20260101120000", "MDTM 20260101120000 a", "213 set") == [
        None,
        "time a",
    ]


def notes(play: Play, line: str, answer: str) -> list[NoteFileChanged]:
    event = heard(line.encode())
    assert event is not None
    play.protocol.handle(event)
    event_of_server = ServerLost("gone") if not answer else None
    if event_of_server is not None:
        orders = play.protocol.handle(event_of_server)
    else:
        play.orders = []
        play.server(answer)
        orders = play.orders
    return [order for order in orders if isinstance(order, NoteFileChanged)]


def test_a_change_is_told_with_its_reply_and_directory() -> None:
    play = Play().logged_in()
    play.client("CWD daily")
    play.server("250 ok")
    (note,) = notes(play, "DELE a", "250 gone")
    assert (shown(note.change), note.code, note.place) == ("deleted a", 250, Place(b"daily", relative=True))
    (note,) = notes(play, "DELE a", "550 no")
    assert note.code == 550
    assert notes(play, "RNFR a", "350 go on") == []
    (note,) = notes(play, "RNTO b", "250 ok")
    assert (note.change.path, note.change.to) == ("a", "b")
    assert notes(play, "SITE HELP", "214 ok") == []


def test_an_old_name_that_had_to_be_tried_again_is_one_change() -> None:
    play = Play().logged_in()
    assert play.client("XMKD a") == ["S XMKD a"]
    assert play.server("500 what") == ["S MKD a"]
    play.orders = []
    assert play.server('257 "/a" created') == ['C 257 "/a" created']
    (note,) = [order for order in play.orders if isinstance(order, NoteFileChanged)]
    assert (note.change.verb, note.code) == ("XMKD", 257)


def test_a_change_that_nobody_has_answered_may_be_done() -> None:
    (note,) = notes(Play().logged_in(), "DELE a", "")
    assert (shown(note.change), note.code) == ("deleted a", None)
    assert notes(Play().logged_in(), "RNFR a", "") == []
    assert notes(Play().logged_in(), "NOOP", "") == []


def begun(play: Play, command: str) -> BeginTransfer:
    play.orders = []
    play.passive()
    play.client(command)
    play.server("150 here")
    (begin,) = [order for order in play.orders if isinstance(order, BeginTransfer)]
    return begin


@pytest.mark.parametrize(
    ("before", "offset", "provable"),
    [
        ((), 0, True),
        (("REST 5", "350 ok"), 5, True),
        (("REST 5", "501 no"), 0, True),
        (("REST 5", "350 ok", "REST 7", "350 ok"), 7, True),
        (("REST marker", "350 ok"), None, False),
        (("REST " + "9" * 30, "350 ok"), None, False),
        (("RANG 10 20", "350 ok"), 10, False),
        (("RANG 10 20", "501 no"), 0, True),
        (("RANG 10 20", "350 ok", "RANG 1 0", "350 ok"), 0, True),
        (("RANG 10 20", "350 ok", "HASH a", "213 x"), None, False),
        (("REST 5", "350 ok", "HASH a", "213 x"), 5, True),
        (("RANG", "350 ok"), None, False),
    ],
    ids=repr,
)
def test_where_a_transfer_begins(before: tuple[str, ...], offset: int | None, provable: bool) -> None:
    play = Play().logged_in()
    play.client("TYPE I")
    play.server("200 ok")
    for line, answer in zip(before[::2], before[1::2], strict=True):
        play.client(line)
        play.server(answer)
    begin = begun(play, "RETR a")
    assert (begin.transfer.offset, begin.transfer.type) == (offset, b"I")
    exchange = play.protocol._state.exchange
    assert exchange is not None
    assert (exchange.size_of is not None) == provable
    play.ended(1)
    play.server("226 done")
    assert begun(play, "RETR a").transfer.offset == 0  # it was for one
