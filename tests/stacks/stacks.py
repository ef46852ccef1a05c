"""The TLS stacks, and what each can do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tests.stacks.programs import SOURCES, Program

# What TLS can be told to do in mid-transfer: see servers/README.md.
TICKET, UPDATE, REQUEST, RENEGOTIATE = "ticket", "update", "request", "renegotiate"


@dataclass(frozen=True, slots=True)
class Stack:
    """One TLS library and its server.

    `name` begins what the server calls itself; `deeds` are what it can do, by version. `tells_updates`: it says so when
    the peer sends a KeyUpdate. `takes_ends`: it takes close_notify in place of the new handshake that it has asked for.
    `renegotiates_new_sessions`: it can do so on a connection that has resumed nothing.
    """

    name: str
    program: Program
    deeds: Mapping[str, frozenset[str]]
    tells_updates: bool = False
    takes_ends: bool = True
    renegotiates_new_sessions: bool = True

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(self.deeds)


def _in_c(source: str, *libraries: str) -> Program:
    return Program(
        command=("{out}/server",),
        build=("gcc", "-O2", "-Wall", "-Wextra", "-o", "{out}/server", "c/ftp.c", source, *libraries),
        sources=("c/ftp.c", "c/stack.h", source),
    )


_HANDSHAKES = frozenset({RENEGOTIATE})
_TICKETS_AND_KEYS = frozenset({TICKET, UPDATE, REQUEST})
_NOTHING: frozenset[str] = frozenset()

STACKS: Mapping[str, Stack] = {
    "jsse": Stack(
        "JSSE ",
        Program(
            # By default JSSE takes any end for a good one.
            command=("java", "-Dcom.sun.net.ssl.requireCloseNotify=true", "-cp", "{out}", "Server"),
            build=("javac", "-d", "{out}", "jsse/Server.java"),
            sources=("jsse/Server.java",),
        ),
        deeds={"1.2": _HANDSHAKES, "1.3": frozenset({REQUEST})},
        takes_ends=False,
    ),
    "gnutls": Stack(
        "GnuTLS 3.",
        _in_c("c/gnutls.c", "-lgnutls"),
        deeds={"1.2": _HANDSHAKES, "1.3": _TICKETS_AND_KEYS},
        tells_updates=True,
        # OpenSSL resumes the very session then, and GnuTLS 3.7 fails over the ticket that it still owes for it.
        renegotiates_new_sessions=False,
    ),
    "go": Stack(
        "Go crypto/tls go1.",
        Program(
            command=("{out}/server",),
            build=("go", "build", "-o", "{out}/server", "go/server.go"),
            sources=("go/server.go",),
            environment={"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOCACHE": "{out}/cache"},
        ),
        deeds={"1.2": _NOTHING, "1.3": _NOTHING},
    ),
    "mbedtls": Stack(
        "Mbed TLS ",
        _in_c("c/mbedtls.c", "-lmbedtls", "-lmbedx509", "-lmbedcrypto"),
        deeds={"1.2": _HANDSHAKES},
    ),
    "openssl": Stack(
        "OpenSSL 3.",
        _in_c("c/openssl.c", "-lssl", "-lcrypto"),
        deeds={"1.2": _HANDSHAKES, "1.3": _TICKETS_AND_KEYS},
        tells_updates=True,
    ),
    "cryptography": Stack(
        "OpenSSL ",
        Program(command=(sys.executable, str(SOURCES / "cryptography_openssl.py"))),
        deeds={"1.2": _HANDSHAKES, "1.3": _NOTHING},
    ),
}
