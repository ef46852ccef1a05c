"""What a device may do: whatever it says, in whatever order, nothing else is done at a server that takes every word in
the most liberal way."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpsproxy.ftp import commands
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.directory import Place
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.rights import _TABLE, Judge, Rights
from tests.ftp.model_server import PATHS, Device, ModelServer, allowed
from tests.ftp.play import CLIENT, Play

Allow = Literal["all", "upload", "download", "read"]
ALLOWS: list[Allow] = ["all", "upload", "download", "read"]
PARTS = [
    "in", "out", "sub", "deep", "a", "b", "d.csv", "e.txt", "more", "f.csv", "home", "etc", "passwd", "IN", "new.csv",
    "..", ".", "", "...", ".. ", "~", "*", "?n", ".*", "*.csv", "{in,etc}", "[ei]*", "x y", "in\\..", "..\\etc",
    "C:", "'x'", '"a"', "-R", "\u00e4", "|ls", "x;y", " ",
]  # fmt: skip
NAMES = st.builds(
    lambda parts, root, tail: root + "/".join(parts) + tail,
    st.lists(st.sampled_from(PARTS), max_size=4),
    st.sampled_from(["/", "/", "", "//", "C:\\", "~/", " /", "/in/", "/out/"]),
    st.sampled_from(["", "", "", "/", " ", "  ", ".", "\\"]),
)
OPTIONS = st.sampled_from(["", "", "-la ", "-R ", "-laR ", "-", "-d -R "])


def one_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split(","))


WORDS = one_of(
    "CHMOD 777,CHGRP x,UTIME 202601011200,CPFR,CPTO,SYMLINK /etc/passwd,SYMLINK,EXEC,MKDIR,RMDIR,RM,DELE,LRECL=80,"
    "FILETYPE=JES,LRECL=80 FILETYPE=JES,HELP"
)
VERBS = one_of(
    "RETR,STOR,APPE,STOU,DELE,RNFR,RNTO,MKD,RMD,XMKD,XRMD,SIZE,MDTM,MLST,CWD,CWD,CWD,XCWD,HASH,XCRC,XMD5,XDEL,COMB,SMNT,"
    "PRET,AVBL,MLSD,dele,Stor,XFOO"
)
LINES = st.one_of(
    st.builds("{} {}".format, VERBS, NAMES),
    st.builds("{} {}{}".format, st.sampled_from(["LIST", "NLST", "STAT", "MLSD"]), OPTIONS, NAMES),
    st.builds("SITE {} {}".format, WORDS, NAMES),
    st.builds("{} 20260101120000 {}".format, st.sampled_from(["MDTM", "MFMT", "MFCT"]), NAMES),
    st.builds("MFF UNIX.mode=0777; {}".format, NAMES),
    st.builds("PRET STOR {}".format, NAMES),
    st.sampled_from(["LIST", "NLST", "MLSD", "MLST", "STAT", "CDUP", "XCUP", "PWD", "STOU", "REST 5", "ALLO 9"]),
)
# Where chance alone would seldom come. No path is named that a link is part of: that can't be seen from here.
TRICKS = one_of(
    "LIST .*,NLST /in/.*,LIST /in/sub/..,NLST /in/.. /etc,CWD link,CWD /in/link,CWD /in,CWD /flat,CWD sub,LIST -R,"
    "LIST -R /flat,LIST *,NLST /flat/*,STAT -R /flat/,RETR passwd,RETR .. /etc/passwd,STOR /in/.. /etc/x,STOR ../x,"
    "DELE g,CDUP,LIST -la -R .,LIST sub -R,STOU,MLSD /flat,PRET STOR /etc/x,RNFR passwd,RNTO x,RNFR /in/a,RNTO /etc/x"
)
SESSIONS = st.lists(st.one_of(LINES, TRICKS), min_size=1, max_size=12)


def played(rights: Rights, lines: list[str], *, windows: bool = False, cwd: str = "/home") -> ModelServer:
    server = ModelServer(windows=windows, cwd=cwd)
    device = Device(rights, server)
    for line in lines:
        if line.partition(" ")[0].upper().encode() in commands.DATA_VERBS:
            device.say("PASV")
        device.say(line)
    return server


@given(SESSIONS, st.booleans(), st.sampled_from(ALLOWS), st.sampled_from(["/home", "/in", "/"]))
@settings(max_examples=400)
def test_nothing_outside_the_paths_is_touched(lines: list[str], windows: bool, allow: Allow, cwd: str) -> None:
    server = played(Rights(allow, (), PATHS), lines, windows=windows, cwd=cwd)
    assert {path for path in server.touched if not allowed(path)} == set(), server.lines


@given(st.lists(TRICKS, min_size=1, max_size=12), st.booleans(), st.sampled_from(["/in", "/flat", "/in/sub"]))
@settings(max_examples=600)
def test_no_trick_leads_out_of_the_paths(lines: list[str], windows: bool, cwd: str) -> None:
    server = played(Rights("all", (), PATHS), lines, windows=windows, cwd=cwd)
    assert {path for path in server.touched if not allowed(path)} == set(), server.lines


@given(SESSIONS)
def test_who_may_download_changes_nothing(lines: list[str]) -> None:
    server = played(Rights("download"), lines)
    assert [server.made, server.changed, server.renamed] == [set(), set(), []], server.lines


@given(SESSIONS)
def test_who_may_read_moves_nothing(lines: list[str]) -> None:
    server = played(Rights("read"), lines)
    assert [server.made, server.changed, server.renamed, server.read] == [set(), set(), [], set()], server.lines


@given(SESSIONS)
def test_who_may_upload_gets_nothing_and_takes_nothing_away(lines: list[str]) -> None:
    server = played(Rights("upload"), lines)
    own = server.made | {to for _, to in server.renamed}
    assert server.read <= own, server.lines
    assert server.changed <= own, server.lines
    assert {before for before, _ in server.renamed} <= own, server.lines


@given(SESSIONS)
def test_what_is_denied_is_never_said(lines: list[str]) -> None:
    server = played(Rights(deny=("DELE", "SITE CHMOD", "XMKD", "RMD", "STOR")), lines)
    said = [line.upper().split() for line in server.lines]
    assert not {words[0] for words in said} & {"DELE", "MKD", "XMKD", "RMD", "XRMD", "STOR"}
    site = {words[1] for words in said if words[0] == "SITE" and len(words) > 1}
    assert not site & {"CHMOD", "MKDIR", "RMDIR"}


def verdict(rights: Rights, line: str, place: str | None = "/in") -> str:
    command = commands.parse(line.encode())
    assert command is not None
    where = Place(place.encode(), named=True) if place is not None else None
    refusal = Judge(rights).refusal(command, where)
    return "ok" if refusal is None else f"{refusal.reply.code} {refusal.setting}"


IN = Rights(paths=("/in/**",))
CSV = Rights(paths=("/out/*.csv", "/out"))


@pytest.mark.parametrize(
    ("rights", "line", "place", "expected"),
    [
        (IN, "STOR /in/a", None, "ok"),
        (IN, "STOR /in//a", None, "ok"),
        (IN, "STOR /in/./a", None, "ok"),
        (IN, "STOR a", "/in", "ok"),
        (IN, "STOR a b.pdf", "/in/sub", "ok"),
        (IN, "STOR a", None, "550 paths"),
        (IN, "STOR a", "/", "550 paths"),
        (IN, "STOR", "/in", "550 paths"),
        (IN, "STOR /in", None, "550 paths"),
        (IN, "RMD /in", None, "550 paths"),
        (IN, "RMD /in/sub/", None, "ok"),
        (IN, "STOR /in/../etc/x", None, "550 paths"),
        (IN, "STOR /in/.. /etc/x", None, "550 paths"),
        (IN, "STOR /IN/a", None, "550 paths"),
        (IN, "STOR /in\\a", None, "550 paths"),
        (IN, "STOR ~/a", "/in", "550 paths"),
        (IN, "LIST", "/in", "ok"),
        (IN, "LIST", "/", "550 paths"),
        (IN, "LIST", None, "550 paths"),
        (IN, "LIST /in", "/", "ok"),
        (IN, "LIST -la /in/sub", "/", "ok"),
        (IN, "LIST -laR", "/in", "ok"),
        (IN, "LIST --sort /in", "/", "550 paths"),
        (IN, "LIST a -R", "/in", "550 paths"),
        (IN, "NLST *.pdf", "/in", "ok"),
        (IN, "NLST .*", "/in", "550 paths"),
        (IN, "NLST /*/x", "/in", "550 paths"),
        (IN, "NLST {a,/etc}", "/in", "550 paths"),
        (IN, "STAT", "/", "ok"),
        (IN, "STAT /", "/in", "550 paths"),
        (IN, "STOU", "/in", "ok"),
        (IN, "STOU /out/x", "/in", "550 paths"),
        (IN, "CWD /", "/in", "ok"),
        (IN, "CWD /etc", "/in", "ok"),
        (IN, "SIZE /etc/passwd", "/in", "550 paths"),
        (IN, "SITE CHMOD 644 a", "/in", "ok"),
        (IN, "SITE CHMOD 644 /etc/x", "/in", "550 paths"),
        (IN, "SITE EXEC ls", "/in", "550 paths"),
        (IN, "SITE SYMLINK /etc a", "/in", "550 paths"),
        (IN, "SITE HELP", "/in", "ok"),
        (IN, "COMB a b c", "/in", "550 paths"),
        (IN, "XFOO", "/in", "550 paths"),
        (IN, "PRET STOR /etc/x", "/in", "550 paths"),
        (IN, "PRET STOR a", "/in", "ok"),
        (IN, "PRET", "/in", "550 paths"),
        (IN, "XMKD /in/x", None, "ok"),
        (IN, "XMKD /x", None, "550 paths"),
        (CSV, "RETR /out/a.csv", None, "ok"),
        (CSV, "RETR /out/a.txt", None, "550 paths"),
        (CSV, "RETR /out/more/a.csv", None, "550 paths"),
        (CSV, "LIST /out", None, "ok"),
        (CSV, "LIST -R /out", None, "550 paths"),
        (CSV, "NLST /out/*.csv", None, "550 paths"),
        (Rights("upload"), "STOR a", None, "ok"),
        (Rights("upload"), "MKD a", None, "ok"),
        (Rights("upload"), "SIZE a", None, "ok"),
        (Rights("upload"), "RETR a", None, "550 allow"),
        (Rights("upload"), "DELE a", None, "550 allow"),
        (Rights("upload"), "RNFR a", None, "550 allow"),
        (Rights("upload"), "XCRC a", None, "550 allow"),
        (Rights("upload"), "SITE LRECL=80 RECFM=FB", None, "ok"),
        (Rights("upload"), "SITE LRECL=80 FILETYPE=JES", None, "550 allow"),
        (Rights("upload"), "MDTM 20260101120000 a", None, "550 allow"),
        (Rights("download"), "RETR a", None, "ok"),
        (Rights("download"), "HASH a", None, "ok"),
        (Rights("download"), "SITE UTIME 202601011200 a", None, "550 allow"),
        (Rights("download"), "STOR a", None, "550 allow"),
        (Rights("download"), "MDTM a", None, "ok"),
        (Rights("read"), "LIST -la", None, "ok"),
        (Rights("read"), "RETR a", None, "550 allow"),
        (Rights("read"), "HASH a", None, "550 allow"),
        (Rights("read"), "XFOO", None, "550 allow"),
        (Rights("read"), "PRET RETR a", None, "550 allow"),
        (Rights("read"), "EPSV ALL", None, "ok"),
        (Rights(deny=("SITE CHMOD",)), "SITE  chmod 644 a", None, "550 deny"),
        (Rights(deny=("SITE CHMOD",)), "SITE UMASK 022", None, "ok"),
        (Rights(deny=("SITE",)), "SITE UMASK 022", None, "550 deny"),
        (Rights(deny=("MKD",)), "XMKD a", None, "550 deny"),
        (Rights(deny=("MKD",)), "SITE MKDIR a", None, "550 deny"),
        (Rights(deny=("PRET",)), "PRET STOR a", None, "550 deny"),
        (Rights(max_file_bytes=9), "ALLO 10", None, "552 max_file_bytes"),
        (Rights(max_file_bytes=9), "ALLO 9 R 80", None, "ok"),
        (Rights(max_file_bytes=9), "STOR a", None, "ok"),
    ],
)  # fmt: skip
def test_verb_by_verb(rights: Rights, line: str, place: str | None, expected: str) -> None:
    assert verdict(rights, line, place) == expected


def test_each_verb_of_any_table_has_its_row() -> None:
    without = commands.VERBS - _TABLE.keys() - commands.REFUSED.keys() - commands.MODERN.keys()
    assert without == {b"SITE", b"STAT", b"PRET"}, "these are read by their arguments"


@pytest.mark.parametrize("allow", ["upload", "download", "read"])
def test_no_right_but_all_allows_a_verb_that_nobody_knows(allow: Allow) -> None:
    assert verdict(Rights(allow), "XDEL a") == "550 allow"
    assert verdict(Rights(deny=("DELE",)), "XDEL a") == "ok"


def test_a_command_is_judged_by_the_name_it_goes_out_under() -> None:
    assert Judge(Rights("read")).refusal(Command(b"XRMD", b"a"), None) is not None


def policy(rights: Rights, *, greet_first: bool = False) -> Policy:
    return Policy(client=CLIENT, rights=rights, greet_first=greet_first)


def logged_in(rights: Rights, where: str = "/home") -> Play:
    """A client that is in; with `paths` the server is asked where before the client hears so."""
    play = Play(policy(rights)).opened()
    assert play.client("USER bob") == ["S USER bob"]
    if rights.paths is None:
        assert play.server("230 in") == ["login bob ok", "C 230 in"]
    else:
        assert play.server("230 in") == ["login bob ok", "S PWD"]
        assert play.client("NOOP") == []
        assert play.server(f'257 "{where}" is the directory') == ["C 230 in", "S NOOP"]
        assert play.server("200 ok") == ["C 200 ok"]
    return play


def test_a_device_that_never_says_pwd_may_use_its_directory() -> None:
    logged_in(IN, "/in").transfer("STOR a")


def test_a_link_is_seen_where_the_server_says_where_it_leads() -> None:
    play = logged_in(IN, "/in")
    assert play.client("CWD link") == ["S CWD link"]
    assert play.server("250 ok") == ["S PWD"]
    assert play.server('257 "/etc"') == ["C 250 ok"]
    assert play.client("DELE passwd") == [
        "C 550 That path is not allowed here, or it can't be told from here which one it is."
    ]
    assert play.noted[-1].endswith("(paths)")


def test_up_out_of_a_directory_is_known_again() -> None:
    play = logged_in(IN, "/in/sub")
    assert play.client("CDUP") == ["S CDUP"]
    assert play.server("200 ok") == ["S PWD"]
    assert play.server('257 "/in"') == ["C 200 ok"]
    assert play.client("DELE a") == ["S DELE a"]


def test_a_server_that_does_not_say_where_it_is_leaves_names_from_the_root() -> None:
    play = Play(policy(IN)).opened()
    assert play.client("USER bob") == ["S USER bob"]
    assert play.server("230 in") == ["login bob ok", "S PWD"]
    assert play.server("500 what?") == ["C 230 in"]
    assert play.client("DELE a")[0].startswith("C 550 ")
    assert play.client("DELE /in/a") == ["S DELE /in/a"]


def test_a_refused_transfer_leaves_its_passive_port_and_takes_its_rest_back() -> None:
    play = logged_in(Rights("download"))
    assert play.client("REST 5") == ["S REST 5"]
    assert play.server("350 ok") == ["C 350 ok"]
    play.passive()
    assert play.client("STOR a") == ["S REST 0"]
    refused = "550 Only downloads and listings are allowed here."
    assert play.server("350 ok") == ["drop server's end, refused", f"C {refused}"]
    assert play.noted[-2:] == [f"refused STOR: {refused[4:]} (allow)", f"no transfer STOR: {refused}"]
    assert play.client("RETR a")[0] == "S EPSV", "the client's own port still stands"


def test_nothing_refused_here_costs_a_server_that_was_not_reached() -> None:
    play = Play(policy(Rights("read"), greet_first=True))
    assert play.client("DELE a") == ["C 550 Only listings are allowed here."]
    assert play.client("USER bob") == ["Dial"]


def uploaded(play: Play, line: str) -> None:
    play.transfer(line)
    assert play.ended(1) == []
    assert play.server("226 done") == ["end 1 whole complete", "C 226 done"]


def test_an_upload_gets_its_real_name_its_time_and_its_digest() -> None:
    play = logged_in(Rights("upload"))
    uploaded(play, "STOR a.tmp")
    assert play.client("RNFR b")[0].startswith("C 550")
    assert play.client("RNFR a.tmp") == ["S RNFR a.tmp"]
    assert play.server("350 go on") == ["C 350 go on"]
    assert play.client("RNTO a.pdf") == ["S RNTO a.pdf"]
    assert play.server("250 ok") == ["C 250 ok"]
    assert play.client("RNFR a.tmp")[0].startswith("C 550"), "somebody else's may have that name by now"
    times = ["MFMT 20260101120000 a.pdf", "MDTM 20260101120000 a.pdf", "SITE UTIME 202601011200 a.pdf"]
    for line in (*times, "XCRC a.pdf"):
        assert play.client(line) == [f"S {line}"]
        play.server("250 ok")
    assert play.client("DELE a.pdf")[0].startswith("C 550")


@pytest.mark.parametrize("line", ["APPE b", "STOR c"])
def test_what_was_there_before_is_not_ones_own(line: str) -> None:
    play = logged_in(Rights("upload"))
    if line == "STOR c":
        play.client("REST 5")
        play.server("350 ok")
    uploaded(play, line)
    assert play.client(f"RNFR {line[5:]}")[0].startswith("C 550")


def test_what_is_there_already_counts_for_appe() -> None:
    play = logged_in(Rights(max_file_bytes=100))
    play.passive()
    assert play.client("APPE a") == ["S SIZE a"]
    assert play.server("213 40") == ["S APPE a"]
    assert play.server("150 here") == ["begin 1 upload", "C 150 here"]
    assert [order.transfer.offset for order in play.begun] == [40]
    play.ended(1)
    play.server("226 done")
    play.passive()
    assert play.client("APPE a") == ["S SIZE a"]
    too_large = "C 552 Files of more than 100 bytes are not allowed here."
    assert play.server("213 101") == ["drop server's end, refused", too_large]
    play.passive()
    assert play.client("APPE new") == ["S SIZE new"]
    assert play.server("550 no such file") == ["S APPE new"]


def test_an_offset_beyond_the_bound_is_too_large_at_once() -> None:
    play = logged_in(Rights(max_file_bytes=100))
    assert play.client("REST 101") == ["S REST 101"]
    play.server("350 ok")
    play.passive()
    assert play.client("STOR a") == ["S REST 0"]
    assert play.server("350 ok")[-1] == "C 552 Files of more than 100 bytes are not allowed here."


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 21"])
def test_another_protocol_is_no_matter_of_rights(line: str) -> None:
    assert Play(Policy(client=CLIENT, rights=Rights("read"))).opened().client(line) == ["NoteForeign", "hang up"]
