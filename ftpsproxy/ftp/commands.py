"""Commands: reading a client's line, and what the gateway thinks of each verb.

A verb that stands in no table passes as it is, known or not; what its replies may bring is for protocol.py to say.
"""

import enum
import re
from dataclasses import dataclass

from ftpsproxy.ftp.errors import ProtocolError


class Direction(enum.Enum):
    """Which way the bytes of a transfer go."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: verb in upper case; argument as it stood, None when there was no space behind the verb. `unsayable`:
    why the server can't be told it, in one plain line."""

    verb: bytes
    argument: bytes | None = None
    unsayable: str = ""

    def encode(self) -> bytes:
        """The command as it goes over the wire."""
        if self.argument is None:
            return self.verb + b"\r\n"
        return b"%s %s\r\n" % (self.verb, self.argument)

    @property
    def text(self) -> str:
        """The argument as text, with escapes for what is not UTF-8."""
        return (self.argument or b"").decode("utf-8", "backslashreplace")

    @property
    def known_verb(self) -> str:
        """The verb, if it stands in some table."""
        return self.verb.decode() if self.verb in _KNOWN else ""

    @property
    def shown_verb(self) -> str:
        """The verb for a log: one in no table may be a password on the wrong line, or have one behind it."""
        return self.known_verb or f"({len(self.verb)} letters, in no table)"

    @property
    def shown(self) -> str:
        """The argument for a log: nothing of one that is, or may be, secret."""
        if self.argument is None:
            return ""
        if self.verb == b"SITE":
            word, space, _ = self.argument.partition(b" ")
            if word.upper() in _HARMLESS_SITE:
                return self.text
            shown = word.decode() if word.upper() in _SECRET_SITE else ""
            return " ".join(filter(None, (shown, "****" if space or not shown else "")))
        if self.verb == b"USER":
            return _BEHIND_USER.sub(r"\1 ****", self.text)
        return self.text if self.verb in _HARMLESS else "****"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must not be shown anywhere, if a server should repeat it."""
        if self.verb == b"USER":
            behind_user = _BEHIND_USER.search(self.text)
            return (behind_user[2], *behind_user[2].split()) if behind_user is not None else ()
        if self.verb in _HARMLESS or (self.verb == b"SITE" and "****" not in self.shown):
            return ()
        if self.verb == b"SITE":
            return pieces(self.text)
        if self.verb in _KNOWN:
            return (self.text, *self.text.split())
        return (self.text, *pieces(self.verb.decode("ascii", "replace")), *pieces(self.text))


LOGIN_VERBS = frozenset({b"USER", b"PASS", b"ACCT"})
# Arguments that stand in no log (RFC 959: PASS, ACCT; RFC 2228: ADAT; others carry one now and then).
SECRET = frozenset({b"PASS", b"XPAS", b"ACCT", b"ADAT"})
# A line that goes on: "USER anna PASS secret".
_BEHIND_USER = re.compile(rf"(?i)(?<=\s)({'|'.join(sorted(verb.decode() for verb in SECRET))})\s+(.*)", re.DOTALL)
# And these of SITE do (ProFTPD, vsftpd, Pure-FTPd, z/OS); those that carry a password are shown without it, and of all
# others nothing is: they may be one.
_HARMLESS_SITE = frozenset(
    b"""CHMOD CHGRP UMASK UTIME IDLE HELP WHO SYMLINK MKDIR RMDIR CPFR CPTO QUOTA ALIAS ZONE DIRSTYLE LRECL RECFM
    BLKSIZE FILETYPE TRACKS CYLINDERS PRIMARY SECONDARY SBDATACONN INDEX GROUPS NEWER MINFO CHECKMETHOD CHECKSUM TIME
    VERSION""".split()
)
_SECRET_SITE = frozenset(
    b"""PSWD CPWD PASS PASSWD PASSWORD CHPASS CHPW CHPWD GPASS GROUP AUTH ADDUSER GADDUSER DELUSER CHANGE ADDIP LOGIN
    EXEC""".split()
)

# Verbs that open a data connection (RFC 959 section 4.1.3, RFC 3659 section 7).
DATA_VERBS = {
    b"RETR": Direction.DOWNLOAD,
    b"LIST": Direction.DOWNLOAD,
    b"NLST": Direction.DOWNLOAD,
    b"MLSD": Direction.DOWNLOAD,
    b"STOR": Direction.UPLOAD,
    b"STOU": Direction.UPLOAD,
    b"APPE": Direction.UPLOAD,
}

# Of these a client sees with its own eyes what it got: no file is made of them.
LISTINGS = frozenset({b"LIST", b"NLST", b"MLSD"})

# Verbs known to carry no data, whatever a server says on the way: some answer 150 to a DELE that takes long. All others
# may turn out to: nobody knows all verbs there are. (RFC 959, 2228, 2389, 2640, 3659, 7151; drafts; old names.)
NO_DATA_VERBS = frozenset(
    b"""USER PASS ACCT CWD CDUP SMNT QUIT REIN TYPE STRU MODE ALLO REST RNFR RNTO ABOR DELE RMD MKD PWD SYST STAT HELP
    NOOP FEAT OPTS LANG MDTM SIZE MLST HOST MFMT MFCT MFF CSID CLNT AVBL DSIZ HASH RANG MD5 MMD5 XCRC XMD5 XSHA XSHA1
    XSHA256 XSHA512 XCUP XCWD XMKD XPWD XRMD PRET COMB""".split()
)

# Verbs over which a server may have to work for a while: it fetches a tape, reads a whole file, moves or joins some.
LONG_VERBS = DATA_VERBS.keys() | frozenset(
    b"RNTO DELE RMD COMB HASH RANG MD5 MMD5 XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512 SITE".split()
)

# Other spellings. P@SW is PASV for firewalls that forbid that; vsftpd, Pure-FTPd and FileZilla Server 0.9 know it, and
# some old clients say it.
ALIASES = {b"P@SW": b"PASV"}

# Answered here with 502, each with its reason.
REFUSED = {
    b"AUTH": "This gateway speaks plain FTP to you and TLS to the server.",
    b"PBSZ": "Protection is this gateway's affair, not the client's.",
    b"PROT": "Protection is this gateway's affair, not the client's.",
    b"CCC": "The control connection to the server stays protected.",
    b"ADAT": "Security data is not accepted here.",
    b"MIC": "Protected commands are not accepted here.",
    b"CONF": "Protected commands are not accepted here.",
    b"ENC": "Protected commands are not accepted here.",
    b"SSCN": "Transfers between two servers are not possible here.",
    b"CPSV": "Transfers between two servers are not possible here.",
    b"LPRT": "Use EPRT or PORT.",
    b"LPSV": "Use EPSV or PASV.",
    b"SPSV": "Use EPSV or PASV.",  # Pure-FTPd's own
    # RFC 4217 section 11: REIN takes the TLS of the control connection back, so it can't go to the server.
    b"REIN": "Open a new connection instead.",
}

_KNOWN = NO_DATA_VERBS | DATA_VERBS.keys() | SECRET | REFUSED.keys() | frozenset(b"SITE PASV EPSV PORT EPRT".split())
VERBS = _KNOWN
"""All that stand in some table."""
_HARMLESS = _KNOWN - SECRET - frozenset(b"SITE MIC CONF ENC".split())

# Old names to try again under the new one when the server knows only that (RFC 775 against RFC 959).
MODERN = {b"XCWD": b"CWD", b"XPWD": b"PWD", b"XMKD": b"MKD", b"XRMD": b"RMD", b"XCUP": b"CDUP"}

# What browsers and scanners of other protocols say first. None of these is a verb of any FTP document.
HTTP_VERBS = frozenset(
    {b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"DELETE", b"HOST:"}
)

# Features that would promise a client what it can't have here.
_HIDDEN_FEATURES = REFUSED.keys()


_BLANKS = re.compile(r"[\s\0]+")
_UNPRINTED = re.compile(r"[^\x21-\x7e]+")
_MOST_WORDS, _MOST_PARTS = 24, 4  # nobody says a password behind more
_WORD = re.compile(rb"[A-Za-z0-9]*")
_VERB = re.compile(rb"[A-Z][A-Z0-9]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # UTF-8, from scripts that a Windows editor has written


def pieces(text: str) -> tuple[str, ...]:
    """What of a text that may hold a password anywhere must not be shown: its first words, what stands behind PASS in
    one without a blank, behind a colon or an equals sign, and between what does not print."""
    words = [word for word in _BLANKS.split(text.strip(), maxsplit=_MOST_WORDS)[:_MOST_WORDS] if word]
    behind = [word[len(name) :] for word in words for name in SECRET if word.upper().startswith(name.decode())]
    parts = [part for word in words for part in (*word.partition(":")[2:], *word.partition("=")[2:]) if part]
    printed = [
        part
        for word in words
        for part in _UNPRINTED.split(word, maxsplit=_MOST_PARTS)[:_MOST_PARTS]
        if part and part != word
    ]
    return (*words, *behind, *parts, *printed)


def parse(line: bytes) -> Command | None:
    """A client's line → the command in it; None for an empty line.

    Raises ProtocolError for NUL and CR inside: they end a line for some servers, so what follows would be a command of
    its own; and for a first word that is no verb: ProFTPD ends one at any white space, so `PROT<TAB>C` would be PROT.
    """
    line = line.lstrip(b"\r\0").rstrip(b"\r")  # of endings such as LF CR, a C string's NUL, CR CR LF
    if b"\0" in line or b"\r" in line:
        raise ProtocolError("NUL or CR inside a command")
    line = line.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \t")
    word, space, argument = line.partition(b" ")
    if not word:
        return None
    verb = word.upper()
    verb = ALIASES.get(verb, verb)
    if _VERB.fullmatch(verb) is None and verb not in HTTP_VERBS:
        raise ProtocolError("a command begins with a word of letters and a blank behind it")
    return Command(verb, argument if space else None)


def is_http(command: Command) -> bool:
    """Whether this is the first word of an HTTP request, or of somebody who takes GET for a command of FTP."""
    return command.verb in HTTP_VERBS


def is_proxy_header(command: Command) -> bool:
    """Whether this is the line by which a load balancer says for whom it connects (PROXY protocol, version 1)."""
    return command.verb == b"PROXY" and (command.argument or b"").startswith((b"TCP", b"UNKNOWN"))


def is_http_request(command: Command) -> bool:
    """Whether this is HTTP for sure (cross-protocol attacks send it through a browser)."""
    return is_http(command) and b" HTTP/" in (command.argument or b"")


def visible_features(lines: tuple[bytes, ...], *, utf8: bool | None = None) -> tuple[bytes, ...]:
    """The lines of a FEAT reply without what promises TLS to a plain client, with the EPSV and EPRT spoken here; with
    UTF8 or without, where names are translated.

    Each feature stands in a line that begins with a space (RFC 2389); IIS lists `AUTH TLS;TLS-C;SSL;TLS-P;` in one.
    """
    if len(lines) < 3:
        return lines
    kept = []
    names = set()
    for line in lines[1:-1]:
        name = _WORD.match(line.removeprefix(lines[0][:3] + b"-").lstrip())[0].upper()  # type: ignore[index] # or ""
        if name not in _HIDDEN_FEATURES and not (utf8 is False and name == b"UTF8"):
            kept.append(line)
            names.add(name)
    kept += [b" " + name for name in (b"EPRT", b"EPSV", *([b"UTF8"] if utf8 else [])) if name not in names]
    return (lines[0], *kept, lines[-1])
