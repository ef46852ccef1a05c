"""Servers that behave awkwardly and within the law."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.bad_server import Final, Quirks

_MANY = b"%s-Acme Files welcomes you.\r\n   Files are scanned; see https://files.example/%s\r\n%s %s\r\n"


def _many(code: bytes, text: bytes) -> bytes:
    return _MANY % (code, code, code, text)


AWKWARD: Mapping[str, Quirks] = {
    "many-lines": Quirks(
        greeting=b"".join(b"220-line %d of a long greeting, hosted by Acme\r\n" % line for line in range(30))
        + b"220 ready\r\n",
        replies={
            "USER": _many(b"331", b"password please"),
            "PASS": _many(b"230", b"logged in"),
            "CWD": _many(b"250", b"here you are"),
            "QUIT": _many(b"221", b"bye"),
        },
        preliminary=_many(b"150", b"here it comes"),
        final=_many(b"226", b"transfer complete"),
    ),
    # EPSV is refused, and PASV names an address the gateway could not reach.
    "fallback": Quirks(
        replies={"EPSV": b"502 no such command\r\n"},
        passive={"PASV": "227 Entering Passive Mode (10,254,254,254,{p1},{p2})\r\n"},
    ),
    "other-codes": Quirks(preliminary=b"125 already open\r\n", final=b"250 stored\r\n"),
    "slow-226": Quirks(final_when=Final.LATE, final_delay=0.1),
    "early-226": Quirks(final_when=Final.EARLY, final_torn=b""),  # it has said its last word already
}
