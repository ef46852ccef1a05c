"""The page of the admin server, and who may see it.

Metrics say how much, the page says who and what: addresses, users, files, certificates. So it is for whoever sits at
this machine, and for others only with the token. Whoever asks from here is believed only if it names this machine by
its address or as localhost: a browser can be led here by another site's name, which then reads along. Nor is a proxy
believed that asks for somebody else.
"""

import base64
import binascii
import hmac
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftpsproxy.config import Admin

TEXT = "text/plain; charset=utf-8"
_FILES = {
    b"/": ("index.html", "text/html; charset=utf-8"),
    b"/page.css": ("page.css", "text/css; charset=utf-8"),
    b"/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
STATUS = b"/status.json"
_FOLDER = Path(__file__).parent / "page"
_BY_A_PROXY = {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"}
_CLOSED = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer. The body is whole, or made in parts while it is sent."""

    status: int
    kind: str
    body: bytes | Iterator[bytes]
    more: Mapping[str, str] = field(default_factory=dict)


Headers = Mapping[bytes, bytes]
"""Of a request, by their names in lower case."""


def is_ours(path: bytes) -> bool:
    """Whether this is the page, or a part of it."""
    return path in _FILES or path == STATUS


def file(path: bytes) -> Page:
    """The page itself, in which nothing stands yet."""
    name, kind = _FILES[path]
    return Page(200, kind, (_FOLDER / name).read_bytes(), _CLOSED)


def data(found: Mapping[str, Any]) -> Page:
    """What is to stand in it."""
    return Page(200, "application/json", json.dumps(found, separators=(",", ":")).encode(), _CLOSED)


def refusal(admin: Admin, peer: str, headers: Headers) -> Page | None:
    """Why whoever asks may not see it; None where it may."""
    local = ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    if local and _is_here(headers.get(b"host", b"")) and not _BY_A_PROXY & headers.keys():
        return None
    if admin.token_file is None:
        return Page(403, TEXT, b"Only from this machine, at localhost; for others set admin.token_file.\n")
    if hmac.compare_digest(_token(headers.get(b"authorization", b"")), admin.token_file.key):
        return None
    asks = {"WWW-Authenticate": 'Basic realm="ftpsproxy: any user, the token as password"'}
    return Page(401, TEXT, b"The token of admin.token_file is needed, as a password or a bearer token.\n", asks)


def _is_here(host: bytes) -> bool:
    name = host.decode("ascii", "replace")
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _token(said: bytes) -> bytes:
    kind, _, value = said.partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip()
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2] if kind.lower() == b"basic" else b""
    except binascii.Error:
        return b""
