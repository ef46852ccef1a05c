"""Addresses of data connections, in every way they are written."""

import contextlib
import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.ftp import addresses
from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.errors import ProtocolError

PORTS = st.integers(1, 65535)
V4 = st.builds(Endpoint, st.ip_addresses(v=4).map(str), PORTS)
V6 = st.builds(
    Endpoint, st.ip_addresses(v=6).filter(lambda one: ipaddress.IPv6Address(one).ipv4_mapped is None).map(str), PORTS
)


@given(V4)
def test_port_round_trip(endpoint: Endpoint) -> None:
    assert addresses.parse_port(addresses.render_port(endpoint)) == endpoint
    assert addresses.parse_passive(b"Entering Passive Mode (%s)." % addresses.render_port(endpoint)) == endpoint


@given(V4 | V6)
def test_eprt_round_trip(endpoint: Endpoint) -> None:
    assert addresses.parse_eprt(addresses.render_eprt(endpoint)) == endpoint


@pytest.mark.parametrize(
    "words",
    [
        b"Entering Passive Mode (192,168,1,2,4,210).",
        b"192,168,1,2,4,210",
        b"=192,168,1,2,4,210",
        b"Passive mode\n (192, 168, 1, 2, 4, 210)\nend",
        b"Entering (-64,-88,1,2,4,-46)",
    ],
)
def test_227_as_servers_write_it(words: bytes) -> None:
    assert addresses.parse_passive(words) == Endpoint("192.168.1.2", 1234)


@pytest.mark.parametrize("words", [b"Entering Extended Passive Mode (|||6446|)", b"EPSV (!!!6446!)", b"|||6446|"])
def test_229_as_servers_write_it(words: bytes) -> None:
    assert addresses.parse_extended_passive(words) == 6446


@pytest.mark.parametrize(
    "argument", [b"", b"1,2,3,4,5", b"1,2,3,4,5,256", b"1,2,3,4,0,0", b"a,b,c,d,e,f", b"1,2,3,4,5,6,7"]
)
def test_bad_port(argument: bytes) -> None:
    with pytest.raises(ProtocolError):
        addresses.parse_port(argument)


@pytest.mark.parametrize(
    "argument",
    [b"", b"|1|1.2.3.4|", b"|3|1.2.3.4|5|", b"|1|::1|5|", b"|2|1.2.3.4|5|", b"|1|1.2.3.4|0|", b"|1|1.2.3.4|x|"],
)
def test_bad_eprt(argument: bytes) -> None:
    with pytest.raises(ProtocolError):
        addresses.parse_eprt(argument)


def test_mapped_and_zoned_addresses_are_plain() -> None:
    assert addresses.plain("::ffff:10.1.2.3") == "10.1.2.3"
    assert addresses.plain("fe80::1%eth0") == "fe80::1"


@given(st.binary(max_size=60))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    for parse in (
        addresses.parse_port,
        addresses.parse_eprt,
        addresses.parse_passive,
        addresses.parse_extended_passive,
    ):
        try:
            parse(data)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "word",
    [b"a", b".", b":", b"|", b"|1", b"|.", b"||1", b"1", b"1 ", b"1,", b"1 ,", b"1,1,1,1,1 ", b"-", b",", b" ", b"-1,"],
    ids=repr,
)
def test_a_line_without_end_is_not_tried_without_end(word: bytes) -> None:
    """A quarter of this took a minute, when a letter could be the delimiter of a 229."""
    words = word * (1_000_000 // len(word))
    for parse in (addresses.parse_passive, addresses.parse_extended_passive):
        began = time.process_time()
        with contextlib.suppress(ProtocolError):
            parse(words)
        assert time.process_time() - began < 5
