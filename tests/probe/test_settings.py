"""The settings as text: whatever a server has said, they are valid, and hold what they should and nothing else."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.config import Upstream
from ftpsproxy.probe.settings import Line, lines_of, name_for, table

WORDS = st.text(max_size=200)
VALUES = st.text(st.characters(codec="utf-8"), max_size=200).filter(str.isprintable)  # as the flags take them
SERVER = Upstream("server", "ftp.example.com")


@given(reason=WORDS, note=WORDS, value=VALUES)
def test_no_words_become_settings(reason: str, note: str, value: str) -> None:
    text = table(SERVER, [Line("url", SERVER.url, reason), Line("ca_file", value, reason)], [note])
    assert tomllib.loads(text) == {"upstream": {"server": {"url": "ftpes://ftp.example.com", "ca_file": value}}}
    assert all(line.isprintable() for line in text.splitlines())


@given(note=WORDS, pin=st.text(st.sampled_from("abc+/="), min_size=1))
def test_what_is_only_offered_is_a_comment(note: str, pin: str) -> None:
    text = table(SERVER, [Line("url", SERVER.url, ""), Line("pins", (pin,), "", offered=True)], [note])
    assert tomllib.loads(text) == {"upstream": {"server": {"url": "ftpes://ftp.example.com"}}}
    assert f'#pins = ["{pin}"]' in text.splitlines()


@given(host=WORDS)
def test_the_name_of_a_table(host: str) -> None:
    name = name_for(host)
    assert tomllib.loads(table(Upstream(name, "a.example"), [Line("url", "ftpes://a.example", "")]))["upstream"][name]


def test_only_what_differs_from_the_defaults() -> None:
    assert [line.key for line in lines_of(SERVER, {})] == ["url"]
    odd = Upstream("server", "ftp.example.com", 990, implicit=True, alpn=False, tls_max="1.2", data_mode="pasv")
    assert [line.key for line in lines_of(odd, {})] == ["url", "alpn", "tls_max", "data_mode"]
