"""Socket addresses, with and without a zone; names and who asks for them."""

from __future__ import annotations

import socket

import pytest

from ftpsproxy import net


@pytest.mark.parametrize(
    ("sockaddr", "plain", "zoned"),
    [
        (("192.0.2.1", 21), "192.0.2.1", "192.0.2.1"),
        (("::ffff:192.0.2.1", 21, 0, 0), "192.0.2.1", "192.0.2.1"),
        (("2001:db8::1", 21, 0, 0), "2001:db8::1", "2001:db8::1"),
        (("fe80::1", 21, 0, 4), "fe80::1", "fe80::1%4"),
        (("fe80::1%eth0", 21, 0, 4), "fe80::1", "fe80::1%4"),
    ],
)
def test_a_zone_is_kept_apart(sockaddr: tuple[object, ...], plain: str, zoned: str) -> None:
    assert net.plain_address(sockaddr) == plain
    assert net.zoned_address(sockaddr) == zoned
    assert net.unzoned(zoned) == plain


def test_a_zone_is_part_of_the_socket_address() -> None:
    lo = socket.if_nametoindex("lo")
    assert net.numeric("192.0.2.1", 21) == (socket.AF_INET, ("192.0.2.1", 21))
    assert net.numeric("2001:db8::1", 21) == (socket.AF_INET6, ("2001:db8::1", 21, 0, 0))
    assert net.numeric("fe80::1%4", 21) == (socket.AF_INET6, ("fe80::1", 21, 0, 4))
    assert net.numeric("fe80::1%lo", 21) == (socket.AF_INET6, ("fe80::1", 21, 0, lo))
    with pytest.raises(OSError, match="interface"):
        net.numeric("fe80::1%nosuch", 21)
