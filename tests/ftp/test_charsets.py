"""Names in two charsets: each arrives as itself or not at all, wherever a listing is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp.charsets import Charsets, Listing, Untranslatable, misfit, reply_to_client, to_client, to_server
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.events import ClientSaid, RelayFinished, ServerSaid
from ftpsproxy.ftp.orders import NoteNotUtf8, TellClient
from ftpsproxy.ftp.protocol import Policy, heard
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from tests.ftp.play import CLIENT, Play

CHARSETS = {
    "cp1252": "Übersicht café ÿ €.pdf",
    "shift_jis": "表ソ能 予定.txt",  # their second byte is a backslash
    "euc_kr": "보고서.txt",
    "koi8-r": "Отчёт Ъ.txt",
    "big5": "功許.txt",
    "gb18030": "报告㐀.txt",
}
each = pytest.mark.parametrize("charset", CHARSETS)


def between(charset: str, server: str = "utf-8") -> Charsets:
    return Charsets(charset, server)


@each
def test_a_name_goes_up_and_comes_back(charset: str) -> None:
    name = CHARSETS[charset]
    assert misfit(charset) == ""
    sent = to_server(between(charset), Command(b"STOR", name.encode(charset)))
    assert (sent.argument, sent.unsayable) == (name.encode(), "")
    lines, left_out = to_client(between(charset), (name.encode(),), names=True)
    assert (lines, left_out) == ((name.encode(charset),), 0)
    back = to_server(between("utf-8", charset), Command(b"STOR", name.encode()))
    assert back.argument == name.encode(charset)


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-7", "cp037", "iso2022_jp", "hz", "rot_13", "idna", "unicode_escape"]
)
def test_a_charset_that_ftp_can_not_carry(charset: str) -> None:
    assert misfit(charset) != ""


@given(st.sampled_from(sorted(CHARSETS)), st.binary(max_size=40).filter(lambda line: not set(line) & set(b"\r\n\0")))
def test_what_arrives_is_the_same_name(charset: str, name: bytes) -> None:
    """Whatever a client says: its letters in the server's charset, or a refusal."""
    sent = to_server(between(charset), Command(b"STOR", name))
    if not sent.unsayable:
        assert sent.argument is not None
        assert sent.argument.decode() == name.decode(charset)
        assert not set(sent.argument) & set(b"\r\n\0")


@given(st.sampled_from(sorted(CHARSETS)), st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")))
def test_what_a_client_is_shown_it_can_ask_for(charset: str, name: bytes) -> None:
    lines, left_out = to_client(between(charset), (name,), names=True)
    if not left_out and b"\xff\xff" not in lines[0]:
        assert to_server(between(charset), Command(b"RETR", lines[0])).argument == name


NAMES = st.lists(
    st.one_of(st.sampled_from(list(CHARSETS.values())), st.text(max_size=12)).map(
        lambda name: name.replace("\n", "").encode("utf-8", "replace")
    )
    | st.binary(max_size=6).map(lambda name: name.replace(b"\n", b"")),
    max_size=6,
)


@given(st.sampled_from(sorted(CHARSETS)), NAMES, st.sampled_from([b"\r\n", b"\n"]), st.booleans(), st.data())
def test_a_listing_may_be_cut_anywhere(
    charset: str, names: list[bytes], end: bytes, ended: bool, data: st.DataObject
) -> None:
    whole = b"".join(name + end for name in names) + (b"" if ended else b"last \xc3\xa9"[: len(names)])
    expected, lost = [], 0
    for line in whole.split(b"\n"):
        line_end = b"\n"
        try:
            coded = line.decode().encode(charset)
            same = coded.decode(charset) == line.decode()
        except UnicodeError:
            same = False
        if same:
            expected.append(coded + line_end)
        else:
            lost += 1
    told = b"".join(expected)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    listing, said = Listing(between(charset)), b""
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        said += listing.feed(whole[start:stop])
    said += listing.end()
    assert said + b"\n" == told or (lost and said == told)
    assert listing.left_out == lost


@each
def test_a_listing_cut_at_each_byte(charset: str) -> None:
    names = (CHARSETS[charset].encode(), b"plain", b"\xff")
    whole = b"".join(b"-rw-r--r-- 1 a b 5 Jan 1 12:00 %s\r\n" % name for name in names)
    told = whole.rpartition(b"-rw-")[0].decode().encode(charset)
    for at in range(len(whole)):
        listing = Listing(between(charset))
        assert listing.feed(whole[:at]) + listing.feed(whole[at:]) + listing.end() == told
        assert listing.left_out == 1


def test_a_line_of_a_listing_has_a_bound() -> None:
    listing = Listing(between("cp1252"))
    listing.feed(b"x" * 60_000)
    with pytest.raises(Untranslatable):
        listing.feed(b"x" * 60_000)


@pytest.mark.parametrize(
    ("charset", "name", "why"),
    [
        ("cp1252", b"\x81", "the name is not in cp1252"),
        ("shift_jis", b"\x95", "the name is not in shift_jis"),
        ("cp1252", b"a\xff\xffb", "two bytes 0xFF"),
    ],
)
def test_what_can_not_be_said(charset: str, name: bytes, why: str) -> None:
    assert to_server(between(charset), Command(b"STOR", name)).unsayable.startswith(why)


def test_a_yen_sign_is_no_backslash() -> None:
    assert to_client(between("shift_jis"), ("¥".encode(),), names=True) == ((), 1)
    assert to_server(between("utf-8", "shift_jis"), Command(b"STOR", "¥".encode())).unsayable


def test_words_for_people_are_escaped_and_names_left_out() -> None:
    cp1252 = between("cp1252")
    said, left_out = reply_to_client(cp1252, Reply(226, ("226 “done” ☃ \xff".encode(),)))
    assert (said.lines[0], left_out) == (b"226 \x93done\x94 \\u2603 \xff", 0)
    status = tuple(line.encode() for line in ("213-Status", " é", " ☃", "213 End ☃"))
    said, left_out = reply_to_client(cp1252, Reply(213, status))
    assert (said.lines, left_out) == ((b"213-Status", b" \xe9", b"213 End \\u2603"), 1)


# --- at the rules -----------------------------------------------------------------------------------------------------


class Translated(Play):
    def __init__(self, charsets: Charsets) -> None:
        super().__init__(Policy(client=CLIENT, charsets=charsets))
        self.charsets = charsets

    def client(self, line: str) -> list[str]:
        """A line of a client that has this charset."""
        assert self.charsets.client_charset is not None
        event = heard(line.encode(self.charsets.client_charset), self.charsets)
        return self.happens(event) if event is not None else []


def logged_in(charset: str = "cp1252") -> Translated:
    play = Translated(between(charset))
    play.opened()
    assert play.client("USER bob") == ["S USER bob"]
    assert play.server("230 in") == ["login bob ok", "S OPTS UTF8 ON"]
    assert play.server("500 what?") == ["C 230 in"]
    return play


def test_what_can_not_be_said_is_refused_and_never_replaced() -> None:
    play = logged_in()
    assert play.client("REST 5") == ["S REST 5"]
    play.server("350 ok")
    play.passive()
    event = heard(b"STOR \x81", play.charsets)
    assert event is not None
    assert play.happens(event) == ["S REST 0"]
    refused = "553 Not possible: the name is not in cp1252."
    assert play.server("350 ok") == ["drop server's end, refused", f"C {refused}"]
    event = heard(b"DELE \x81", play.charsets)
    assert event is not None
    assert play.happens(event) == [f"C {refused}"]


def test_a_directory_that_can_not_be_told() -> None:
    play = logged_in()
    assert play.client("PWD") == ["S PWD"]
    said = play.happens(ServerSaid(Reply(257, ('257 "/☃"'.encode(),))))
    assert said == ["C 553 cp1252 has no letters for that name."]
    assert play.client("MKD é") == ["S MKD Ã©"]
    assert play.happens(ServerSaid(Reply(257, ('257 "/☃/é" made'.encode(),)))) == ['C 257 "Ã©" made.']


def test_a_client_that_says_its_names_are_utf_8() -> None:
    play = logged_in()
    assert play.client("OPTS UTF8 ON") == ["C 504 Names are in cp1252 here."]
    assert play.client("OPTS MLST type;") == ["S OPTS MLST type;"]
    play.server("200 ok")
    assert play.client("FEAT") == ["S FEAT"]
    assert play.server("211-a\n UTF8\n SIZE\n211 z") == ["C 211-a| SIZE| EPRT| EPSV|211 z"]
    assert play.client("FEAT") == ["C 211-a| SIZE| EPRT| EPSV|211 z"], "what is not asked again hides it, too"
    play = logged_in("utf-8")
    assert play.client("OPTS UTF8 ON") == ["C 200 UTF8 is on."]
    assert play.client("FEAT") == ["S FEAT"]
    assert play.server("211-a\n SIZE\n211 z") == ["C 211-a| SIZE| EPRT| EPSV| UTF8|211 z"]


@pytest.mark.parametrize("mode", ["MODE B", "MODE C", "TYPE E"])
def test_listings_that_can_not_be_translated(mode: str) -> None:
    play = logged_in()
    assert play.client(mode) == [f"S {mode}"]
    play.server("200 ok")
    play.passive()
    assert play.client("LIST")[-1].startswith("C 504 ")
    play.passive()
    assert play.client("RETR a") == ["S RETR a"]


def test_what_was_left_out_is_said_at_the_end() -> None:
    play = logged_in()
    play.transfer("LIST")
    assert play.server("226 done") == []
    orders = play.happens(RelayFinished(1, True, left_out=2))
    assert orders == [
        "end 1 whole complete",
        "C 226 Done, but for 2 names that have letters which your charset has not.",
    ]


def hints(play: Play) -> int:
    return sum(isinstance(order, NoteNotUtf8) for order in play.orders)


def test_a_name_that_is_not_utf_8_leaves_a_hint_once_and_passes() -> None:
    play = Play().logged_in()
    assert play.client("DELE \xe9") == ["S DELE \xe9"]
    play.server("250 ok")
    assert hints(play) == 0, "the server has not said that it takes UTF-8"
    play.client("FEAT")
    play.server("211-a\n UTF8\n211 z")
    for line in ("DELE \xe9", "DELE \xe9", "DELE \xc3\xa9"):
        assert f"S {line}" in play.client(line)
        play.server("250 ok")
    assert hints(play) == 1
    play = Play(quirks=UpstreamQuirks(says_utf8=True)).logged_in()
    play.client("DELE \xc3\xa9")
    play.server("250 ok")
    assert hints(play) == 0
    play.client("DELE \xe9")
    assert hints(play) == 1


def test_without_charsets_a_line_is_what_it_was() -> None:
    assert heard(b"STOR \xff\xff\xe9") == ClientSaid(Command(b"STOR", b"\xff\xff\xe9"))
    assert TellClient(reply_to_client(Charsets(), Reply(226, (b"226 \xff",)))[0]).reply.encode() == b"226 \xff\r\n"
