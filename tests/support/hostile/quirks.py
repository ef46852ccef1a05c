"""The switches of the misbehaving FTPS server: one frozen value says how it behaves from the first byte to the last."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

Aside = tuple[int, bytes]
"""A TLS record: the kind and the content, from `tests.support.records`."""

NOTHING: Mapping[str, bytes] = MappingProxyType({})


class Handshake(Enum):
    """What follows on the control connection once TLS should start."""

    NORMAL = "normal"
    HANG = "hang"  # never a byte
    GARBAGE = "garbage"  # bytes that are no TLS record
    PLAIN = "plain"  # goes on in clear, as if nothing had happened
    FIN = "fin"  # an ALG between the two closes at once (U31)
    RESET = "reset"
    OLD_TLS = "old_tls"  # speaks TLS 1.1 at most
    ALERT = "alert"  # a fatal alert: handshake_failure


class Fault(Enum):
    """How a data connection goes wrong at `Quirks.fault_at`."""

    NONE = "none"
    FIN = "fin"  # TCP FIN at a record boundary, no close_notify
    RESET = "reset"  # TCP RST
    CUT_RECORD = "cut_record"  # half a TLS record, then FIN
    CUT_RECORD_RESET = "cut_record_reset"  # half a TLS record, then RST
    CORRUPT = "corrupt"  # one bit of a record flipped; the stream goes on
    ALERT = "alert"  # a fatal TLS alert, then FIN
    STALL = "stall"  # no byte more, the connection stays
    HALF_RECORD = "half_record"  # half a TLS record and no byte more, the connection stays
    PLAIN = "plain"  # the rest of the file in clear


class Control(Enum):
    """What becomes of the control connection when the data connection has reached `Quirks.fault_at`."""

    OPEN = "open"
    FIN = "fin"
    RESET = "reset"
    SHUTS_DOWN = "421"  # says 421 and closes


class Final(Enum):
    """When the final reply is given."""

    AFTER = "after"  # once the data is through, as it should be
    EARLY = "early"  # right after the 150, before any data is read or sent
    LATE = "late"  # `Quirks.final_delay` seconds after the end of the data
    HELD = "held"  # when the test calls `BadServer.release()`
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Quirks:
    """How the server behaves. The default is a well-behaved, strict server. Replies are raw bytes, CRLF included."""

    # Greeting and TLS on the control connection
    implicit: bool = False
    greeting: bytes = b"220 hostile ready\r\n"  # b"" says nothing at all
    greeting_after: float = 0.0  # seconds before it is said
    instead_of_greeting: bytes = b""  # said four times a second, as long as there is somebody to hear it
    max_sessions: int | None = None  # 421 to every further one, as servers do that count by address (U28)
    greeting_in_clear: bool = False  # implicit, but the greeting comes before TLS (U20)
    greets_again: bool = False  # and behind it, too: the one in clear was somebody else's
    after_greeting: bytes = b""  # then goes out in the same segment as that greeting
    auth: Mapping[str, bytes] = field(
        default_factory=lambda: {"TLS": b"234 go ahead\r\n", "TLS-C": b"234 go ahead\r\n"}
    )
    auth_lies: bool = False  # what it says to AUTH is not followed by TLS
    after_auth: bytes = b""  # goes out in the same segment as the 234
    close_after_auth: bool = False
    handshake: Handshake = Handshake.NORMAL
    tls_max: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    tickets: bool = True  # False: TLS 1.2 session ids, no TLS 1.3 tickets at all
    ciphers: str = ""  # of TLS 1.2
    client_ca: Path | None = None  # ask for a client certificate of this CA
    alert_in_finished: bool = False  # a fatal alert comes in one piece with the end of data handshakes
    alpn: tuple[str, ...] = ("ftp",)
    renegotiate_at: int | None = None  # renegotiate (TLS 1.2) after this many bytes of a data connection (U10)
    asides: tuple[Aside, ...] = ()  # TLS 1.3: said beside the data of data connections
    asides_at: int | None = None  # after so many bytes of the file; None: at its end, before a download's close_notify
    control_asides: Mapping[str, tuple[Aside, ...]] = field(
        default_factory=dict
    )  # TLS 1.3: before these verbs' replies
    strict_sni: str | None = None  # refuse the handshake unless this name is asked for (U24)

    # Commands. Keys are a whole line ("SITE WHO") or a verb; b"" is silence.
    clear_replies: Mapping[str, bytes] = field(default_factory=dict)  # before TLS
    replies: Mapping[str, bytes] = field(default_factory=dict)
    slow: Mapping[str, float] = field(default_factory=dict)  # seconds before these verbs are answered
    slow_lines: Mapping[str, float] = field(default_factory=dict)  # seconds between the lines of their replies
    flood: Mapping[str, bytes] = field(default_factory=dict)  # sent without end behind the replies to these verbs
    aside_flood: float = 0.0  # seconds for which `asides` are said again and again
    flood_record: int = 0  # TLS 1.3: a flood comes in records of so many bytes
    alert_after: frozenset[str] = frozenset()  # a fatal alert, and the end, behind the replies to these verbs
    clear_under_tls: frozenset[str] = frozenset()  # verbs answered in clear on a connection under TLS (U30)
    close_after: frozenset[str] = frozenset()  # the connection ends after these verbs were answered
    prot_after_login: bool = False  # 503 to PBSZ and PROT before the login
    prot_assumed: bool = False  # data is protected without PROT (MS-FTPS implicit)
    requires_pret: bool = False
    closes_port_on_refusal: bool = False  # a transfer command that is refused takes the passive port with it (vsftpd)

    # Data connections: replies to EPSV and PASV with the fields {port} {p1} {p2}, {dead} (refused), {deaf} (no answer)
    passive: Mapping[str, str] = field(default_factory=dict)
    data_certificate: tuple[Path, Path] | None = None  # (chain, key) shown on data connections only
    bare_end: str = ""  # "fin" or "reset": data connections end without a byte of TLS, and all is said to be well
    never_calls: bool = False  # it does not connect to the port it was told by PORT or EPRT
    data_hangs: bool = False  # the TLS handshake on the data connection is never answered
    requires_reuse: bytes = b""  # this reply, after the 150, to a data connection that does not resume
    forget_sessions_after: int | None = None  # earlier TLS sessions are worthless from this transfer of a session on
    new_sessions_after: int | None = None  # from then on only sessions made since then are known (U9)
    requires_same_tls: bytes = (
        b""  # this reply to a data connection of another TLS version or cipher than control (U34)
    )
    refuse_data_tls: bytes = b""  # after the 150 this reply at once, no TLS handshake on the data connection
    receive_buffer: int | None = None  # SO_RCVBUF of data connections in bytes
    read_pause: float = 0.0  # seconds between two reads of an upload

    # Transfers
    preliminary: bytes = b"150 here it comes\r\n"  # b"": the transfer starts without a word
    final: bytes = b"226 transfer complete\r\n"
    final_torn: bytes = b"426 failure reading network stream\r\n"  # when an upload ended without close_notify
    final_when: Final = Final.AFTER
    final_delay: float = 0.0
    fault: Fault = Fault.NONE
    deeds: tuple[str, ...] = ()  # what an upload's server does, one after the other, at `fault_at`: see `Transfer._do`
    fault_at: int | None = None  # bytes of the file after which `fault` and `control` happen; None: at the end of it
    control: Control = Control.OPEN
    end_mark: bytes = b""  # MODE B, C: what ends a file; the data connection stays open behind it
    extra_data_verbs: Mapping[str, bytes] = field(default_factory=dict)  # verb → what it sends, unknown to any RFC
    extra_upload_verbs: frozenset[str] = frozenset()  # unknown to any RFC, too
    alert_in_data_handshake: int | None = None  # the data connection of this number in a session, from 1, is refused so

    # ABOR: what is said in mid-transfer and otherwise; the data connection is closed first
    abor: bytes = b"426 transfer aborted\r\n226 abort successful\r\n"
    abor_idle: bytes = b"225 nothing to abort\r\n"
    abor_closes_data: bool = True
