"""One written value → one setting. Each parser takes what TOML or the environment gave and returns the setting's value,
or raises ValueError with the words the operator reads after the key."""

import base64
import contextlib
import difflib
import ipaddress
import itertools
import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftpsproxy import errors
from ftpsproxy.config import names

_MOST_KNOWN = 40  # words in one line
_MOST_SHOWN = 200  # of a value that is wrong
_DIGEST_BYTES = 32
_LEAST_KEY_BYTES, _MOST_KEY_BYTES = 16, 4096
# 64 digits, as they are written by openssl (`sha256 Fingerprint=AB:CD:…`), browsers and our own log.
_OPENSSL = re.compile(r"sha-?256 +fingerprint=", re.IGNORECASE)
_HEX_PIN = re.compile(r"(?:sha-?256)?(?: fingerprint)?[=:/ ]*((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)

Parser = Callable[[object], Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PortRange = tuple[int, int]
"""Lowest and highest port, both included."""


class Cores(int):
    """A number of workers that was counted, as the operator said `auto`."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with a secret key, and what it held when it was read."""

    path: Path
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)


class ConfigError(Exception):
    """The configuration cannot be used. Each of `faults` is one line for the operator: where, which key, what, what to
    do; `str()` is all of them in one."""

    def __init__(self, *faults: str) -> None:
        self.faults = tuple(map(errors.printable, faults))
        super().__init__("; ".join(self.faults))


class Text(str):
    """A value from the environment, a flag or a secret file: numbers, booleans and lists are read out of its words."""

    __slots__ = ()


def nearest(word: str, known: Iterable[str]) -> str:
    """What to do about an unknown word: `did you mean 'x'?` for the known word most like it, else the known words. What
    all of them begin with makes no word like another."""
    names = sorted(known)
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(word, *names, strict=False))
    common = "".join(letters[0] for letters in same)
    close = difflib.get_close_matches(
        word.removeprefix(common), [name.removeprefix(common) for name in names], n=1, cutoff=0.6
    )
    if close:
        return f"did you mean '{common}{close[0]}'?"
    if len(names) > _MOST_KNOWN:
        return "all that are known stand in config/ftpsproxy.toml"
    return f"known: {', '.join(names)}" if names else "there is none"


def _shown(value: object) -> str:
    try:
        shown = repr(str(value) if isinstance(value, str) else value)
    except ValueError:  # more digits than Python writes out
        return "so large a number"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"


def text(value: object) -> str:
    """Any non-empty text without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {_shown(value)}")
    if not value or not value.isprintable():
        raise ValueError("must not be empty or hold control characters")
    return str(value)


def choice(*allowed: str) -> Parser:
    """One of a few words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            hint = nearest(value, allowed) if isinstance(value, str) else ""
            hint = f" ({hint})" if hint.startswith("did") else ""
            raise ValueError(f"must be one of {', '.join(allowed)}, not {_shown(value)}{hint}")
        return str(value)

    return parse


def boolean(value: object) -> bool:
    """true or false; in the environment also 1, 0, yes, no, on, off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Text):
        word = value.lower()
        if word in ("true", "1", "yes", "on"):
            return True
        if word in ("false", "0", "no", "off"):
            return False
    raise ValueError(f"must be true or false, not {_shown(value)}")


def whole(low: int, high: int) -> Parser:
    """A whole number within bounds, both included."""

    def parse(value: object) -> int:
        if isinstance(value, Text) and re.fullmatch(r"[0-9]{1,18}", value.replace("_", "")):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {_shown(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {_shown(value)}")
        return value

    return parse


def seconds(low: float, high: float) -> Parser:
    """A number of seconds within bounds, both included."""

    def parse(value: object) -> float:
        if isinstance(value, Text):
            try:
                value = float(value)
            except ValueError:
                raise ValueError(f"must be a number of seconds, not {_shown(value)}") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError(f"must be a number of seconds, not {_shown(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g} seconds, not {_shown(value)}")
        return float(value)

    return parse


def workers(value: object) -> int:
    """A number of processes, or auto: as many as this one may use cores."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return Cores(len(os.sched_getaffinity(0)))
    return whole(1, 256)(value)  # type: ignore[no-any-return] # a Parser gives what it parses


def _items(value: object) -> list[object]:
    """A list; in the environment words separated by commas or spaces."""
    if isinstance(value, Text):
        return [Text(word) for word in re.split(r"[,\s]+", value) if word]
    if isinstance(value, list):
        return value
    raise ValueError(f"must be a list, not {_shown(value)}")


def networks(value: object) -> tuple[Network, ...]:
    """A list of addresses or networks in CIDR form."""
    if not (found := balancers(value)):
        raise ValueError("an empty list lets nobody in; leave the key out for loopback and private networks")
    return found


def balancers(value: object) -> tuple[Network, ...]:
    """The same, which may be empty."""
    found: list[Network] = []
    for item in _items(value):
        try:
            found.append(ipaddress.ip_network(text(item)))
        except ValueError:
            try:
                wide = ipaddress.ip_network(str(item), strict=False)
            except ValueError:
                raise ValueError(f"{_shown(item)} is no network; write it like 10.0.0.0/8 or fd00::/8") from None
            raise ValueError(f"{_shown(item)} has bits set right of its mask; write {wide}") from None
    return tuple(found)


def ports(value: object) -> PortRange:
    """A range such as "50000-50099", or one port."""
    match = re.fullmatch(r"\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5})\s*)?", str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError(f"must be a range of ports like '50000-50099', not {_shown(value)}")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1024 <= low <= high <= 65535:
        raise ValueError(f"must lie within 1024-65535, the lower port first, not {_shown(value)}")
    return low, high


def address(value: object) -> str:
    """The IPv4 or IPv6 address of a host, without port."""
    try:
        found = ipaddress.ip_address(text(value).removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"must be an IPv4 or IPv6 address, not {_shown(value)}") from None
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"must be an address of one host, not {_shown(value)}")
    return str(found)


def listen(value: object) -> tuple[str, int]:
    """ADDR:PORT with an IPv4 address, or an IPv6 address in brackets."""
    written = text(value)
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]]*)):([0-9]{1,5})", written)
    if match is None:
        raise ValueError(f"must be ADDR:PORT like 127.0.0.1:2121 or [::1]:2121, not {_shown(written)}")
    port = int(match[3])
    if port > 65535:
        raise ValueError(f"port {port} does not exist; the highest is 65535")
    host = match[2] if match[1] is None else match[1]
    if match[1] is None and ":" in host:
        if not names.is_ipv6(host) and names.is_ipv6(written):  # its last colon is the address's own
            raise ValueError(f"a port is missing, and an IPv6 address needs brackets: [{written}]:2121")
        raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
    if host in ("", "*"):
        raise ValueError(f"the address is missing; write 0.0.0.0:{port} for all of IPv4 or [::]:{port} for all of IPv6")
    try:
        return str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)), port
    except ValueError:
        raise ValueError(f"{_shown(host)} is no IP address; a listener needs one, like 127.0.0.1:{port}") from None


def url(value: object) -> tuple[str, int, bool]:
    """Host, port and whether TLS is implicit, from ftpes://host[:21] or ftps://host[:990]."""
    written = text(value)
    scheme, found, rest = written.partition("://")
    if "@" in rest or (not found and "@" in written):  # never echoed: there may be a password in it
        raise ValueError("a URL must not hold a user name or password; leave them out, the client logs in with its own")
    scheme = scheme.lower()
    if found and scheme == "ftp":
        raise ValueError(
            "ftp:// would send passwords and files in clear, which this gateway never does; "
            "use ftpes:// (AUTH TLS, port 21) or ftps:// (implicit TLS, port 990)"
        )
    if not found or scheme not in ("ftpes", "ftps"):
        raise ValueError(f"must be ftpes://HOST[:PORT] or ftps://HOST[:PORT], not {_shown(written)}")
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w-]+\]|[^\[\]/?#:%\s]+)(?::([0-9]{1,5}))?/?", rest)
    if match is None:
        if names.is_ipv6(rest):
            raise ValueError(f"an IPv6 address needs brackets: {scheme}://[{rest}]")
        more = " (no path, only a host)" if re.search(r"[/?#]", rest) else ""
        raise ValueError(f"must be {scheme}://HOST[:PORT]{more}, not {_shown(written)}")
    implicit = scheme == "ftps"
    port = int(match[2]) if match[2] else 990 if implicit else 21
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} does not exist; use 1 to 65535")
    return names.host(match[1]), port, implicit


def server_name(value: object) -> str:
    """A host name or address as certificates have it."""
    return names.server_name(text(value))


def readable(value: object) -> Path:
    """The path of a file that can be read now; better said at the start than in the first session."""
    path = Path(text(value))
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ValueError(f"cannot read {path}: not a file")  # a pipe would be waited for, a device never end
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot read {path}: {errors.words(error)}") from None


def private(value: object) -> Path:
    """The same for a file with a private key: its owner's, perhaps a group's to read, and nobody else's.

    A group may read: systemd's credentials and ACME clients give services their keys so.
    """
    path = readable(value)
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        who = "change" if mode & (stat.S_IWOTH | stat.S_IWGRP) else "read"
        raise ValueError(
            f"{path} holds a private key, and others may {who} it (mode {stat.S_IMODE(mode):04o}); "
            "chmod 0600 or 0640, in Kubernetes defaultMode: 0440"
        )
    return path


def key_file(value: object) -> KeyFile:
    """The same for a file with a secret key: bytes, of which line ends at its end are no part."""
    path = private(value)
    with path.open("rb") as file:
        key = file.read(_MOST_KEY_BYTES + 1).rstrip(b"\r\n")
    if not _LEAST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES:
        raise ValueError(
            f"{path} holds {len(key)} bytes, and a key has {_LEAST_KEY_BYTES} to {_MOST_KEY_BYTES}; "
            "openssl rand -hex 32 makes one"
        )
    return KeyFile(path, key)


PLACES = ("stdout", "stderr", "syslog", "journald")
"""Where a log may go besides a file."""


def destination(value: object) -> str:
    """One of PLACES, or the path of a file that can be written, or made, now."""
    written = text(value)
    if written in PLACES:
        return written
    if "/" not in written:
        hint = nearest(written, PLACES)
        raise ValueError(f"must be one of {', '.join(PLACES)}, or a path with a /, not {_shown(written)} ({hint})")
    path = Path(written)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        _check_folder(path.parent)
        return written
    except OSError as error:
        raise ValueError(f"cannot write {path}: {errors.words(error)}") from None
    if stat.S_ISDIR(kind):
        raise ValueError(f"{path} is a directory; name a file in it")
    if stat.S_ISSOCK(kind):
        raise ValueError(f'{path} is a socket; write to = "syslog" and address = {json.dumps(written)}')
    if not os.access(path, os.W_OK):
        raise ValueError(f"cannot write {path}: permission denied")
    return written


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"the directory {folder} does not exist; make it, for the user the gateway runs as")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"no file can be made in {folder}: permission denied, or it is read-only")


def log_address(value: object) -> str | tuple[str, int]:
    """The path of a unix socket, or host and port of udp://HOST[:514]."""
    written = text(value)
    scheme, found, rest = written.partition("://")
    if not found and "/" in written:
        return written
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w-]+\]|[^\[\]/?#:@%\s]+)(?::([0-9]{1,5}))?", rest)
    if scheme.lower() != "udp" or match is None:
        raise ValueError(f"must be the path of a socket, such as /dev/log, or udp://HOST:PORT, not {_shown(written)}")
    port = int(match[2]) if match[2] else 514
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} does not exist; use 1 to 65535")
    return names.host(match[1]), port


def app_name(value: object) -> str:
    """As RFC 5424 has it: up to 48 characters of ASCII, no blank."""
    written = text(value)
    if not re.fullmatch(r"[!-~]{1,48}", written):
        raise ValueError(f"must be 1 to 48 characters of ASCII without blanks, not {_shown(written)}")
    return written


def pins(value: object) -> tuple[str, ...]:
    """SHA-256 digests: of public keys (SPKI) as sha256/BASE64; of these, or of whole certificates, as 64 digits in hex,
    with colons or without (`openssl x509 -fingerprint -sha256` writes them so)."""
    if isinstance(value, Text):
        value = Text(_OPENSSL.sub("", value))  # there blanks stand between two
    return tuple(_pin(item) for item in _items(value))


def _pin(item: object) -> str:
    written = text(item)
    if (digits := _HEX_PIN.fullmatch(written)) is not None:
        return digits[1].replace(":", "").lower()
    kind, _, digest = written.partition("/")
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(digest, validate=True)
        if kind == "sha256" and len(raw) == _DIGEST_BYTES:
            return f"{kind}/{base64.b64encode(raw).decode()}"
    raise ValueError(
        f"{_shown(item)} can't be a pin: write sha256/ and the 44 characters of base64, or the 64 hexadecimal digits "
        "of the SHA-256 of the certificate or of its public key"
    )


def auth(value: object) -> tuple[str, ...]:
    """The words to try after AUTH, in order."""
    words = tuple(text(item).upper() for item in _items(value))
    if not words or any(word not in ("TLS", "SSL") for word in words):
        raise ValueError("must list TLS, SSL or both")
    return words
