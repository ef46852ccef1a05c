"""The header by which a load balancer says for whom it connects: read from a socket, whatever pieces it comes in."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Literal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from ftpsproxy.net import Introductions, NoHeader, Origin, proxy_protocol
from ftpsproxy.net.introductions import HEADER_SECONDS
from ftpsproxy.net.proxy_protocol import SIGNATURE, HeaderError, HeaderReader, header, parse

V4 = Origin("192.0.2.7", 4711, "198.51.100.1", 21)
V6 = Origin("2001:db8::7", 4711, "2001:db8::1", 21)


def _origins(version: Literal[4, 6]) -> st.SearchStrategy[Origin]:
    address = st.ip_addresses(v=version).filter(lambda one: not one.is_unspecified and not one.is_multicast).map(str)
    return st.builds(Origin, address, st.integers(0, 65535), address, st.integers(0, 65535))


ORIGINS = st.one_of(_origins(4), _origins(6)).filter(lambda one: "::ffff:" not in one.client + one.reached)


def test_the_lines_of_version_1_are_those_of_its_definition() -> None:
    assert header("v1", V4) == b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 21\r\n"
    assert header("v1", V6) == b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 21\r\n"
    assert header("v2", V4).hex() == "0d0a0d0a000d0a515549540a" + "2111000c" + "c0000207" + "c6336401" + "1267" + "0015"


@given(ORIGINS, st.sampled_from(["v1", "v2"]))
def test_what_is_written_is_read(origin: Origin, version: str) -> None:
    assert parse(header(version, origin)) == origin


def test_addresses_of_two_families_are_told_in_one() -> None:
    mixed = Origin(V4.client, 4711, V6.reached, 21)
    assert header("v1", mixed).startswith(b"PROXY TCP6 ::ffff:")
    assert parse(header("v1", mixed)) == parse(header("v2", mixed)) == mixed  # IPv4 in IPv6 is IPv4


def _binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


@pytest.mark.parametrize(
    "said",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        _binary(0x20, 0x00, b""),
        _binary(0x20, 0x11, bytes(12)),
        _binary(0x21, 0x00, b"\x04\0\x01x"),
    ],
)
def test_a_balancer_may_speak_for_itself(said: bytes) -> None:
    assert parse(said) is None


def test_extensions_are_passed_over() -> None:
    said = header("v2", V4)
    assert parse(_binary(0x21, 0x11, said[16:] + b"\x01\0\x03ftp")) == V4


@pytest.mark.parametrize(
    "said",
    [
        b"USER device\r\n",
        b"PROXY",  # and the end
        b"PROXYTCP4 192.0.2.7 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 192.0.2.007 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 21\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 21\r\n",
        b"PROXY TCP6 fe80::1%1 2001:db8::1 4711 21\r\n",
        b"PROXY TCP4 0.0.0.0 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 224.0.0.1 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 21\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +471 21\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 21\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 21\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        b"\x16\x03\x01\x02\x00\x01\x00",
        SIGNATURE[:5],  # and the end
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12),  # 0.0.0.0
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_all_else_is_refused(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(HeaderError):
            HeaderReader(ours).read_nowait()


@given(st.binary(max_size=300), st.booleans())
def test_whatever_comes_is_a_header_or_refused(said: bytes, binary: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall((SIGNATURE if binary else b"PROXY ") + said)
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(HeaderError):
            assert HeaderReader(ours).read_nowait()


@given(ORIGINS, st.sampled_from(["v1", "v2"]), st.lists(st.integers(1, 60), max_size=5), st.binary(max_size=40))
def test_pieces_are_joined_and_nothing_behind_the_header_is_taken(
    origin: Origin, version: str, cuts: list[int], behind: bytes
) -> None:
    said = header(version, origin) + behind
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader, at = HeaderReader(ours), 0
        for cut in (*cuts, len(said)):
            theirs.sendall(said[at : at + cut])
            at += cut
            if reader.read_nowait():
                break
        theirs.sendall(said[at:])
        theirs.close()
        assert reader.origin == origin
        assert ours.recv(1000) == behind


class _Heard:
    """What an introduction has come to."""

    def __init__(self) -> None:
        self.known: list[Origin | None] = []
        self.failed: list[str] = []

    def fail(self, why: NoHeader) -> None:
        self.failed.append(str(why))


async def test_who_is_slow_is_waited_for_and_not_for_ever(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = _Heard()
    async with trio.open_nursery() as tasks:
        introductions = Introductions(tasks.start_soon)
        pairs = [socket.socketpair() for _ in range(4)]
        for ours, _ in pairs:
            ours.setblocking(False)
            introductions.introduce(ours, heard.known.append, heard.fail)
        (_, quick), (_, silent), (_, left), (_, gone) = pairs
        quick.sendall(header("v1", V4))
        left.close()
        gone.sendall(b"PROXY ")
        gone.close()
        await wait_all_tasks_blocked()
        assert heard.known == [V4]
        assert sorted(heard.failed) == ["", "it closed before its PROXY header was complete"]
        await trio.sleep(HEADER_SECONDS + 1)  # of the autojump clock
        assert heard.failed[-1] == "no PROXY header came within 5 s"
        monkeypatch.setattr("ftpsproxy.net.introductions._MOST", 0)
        introductions.introduce(pairs[1][0], heard.known.append, heard.fail)
        assert "wait for their PROXY header already" in heard.failed[-1]
        silent.close()
        quick.close()
        for ours, _ in pairs:
            ours.close()


def test_its_beginning_is_known() -> None:
    assert all(proxy_protocol.begins_proxy_header(header(version, V4)) for version in ("v1", "v2"))
    assert not proxy_protocol.begins_proxy_header(b"\r\nUSER device\r\n")
