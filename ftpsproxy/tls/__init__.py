"""TLS towards the upstream.

`binding` is OpenSSL, `context` and `connection` TLS over memory, `handshake` its beginning over a socket;
`requirements` is what a server must prove, `certificate` what it has shown; `sessions` are resumed; `errors` say what
is wrong in plain words.
"""

from ftpsproxy.tls.binding import BindingError, TlsError
from ftpsproxy.tls.certificate import Certificate
from ftpsproxy.tls.connection import Buffer, Connection, Session
from ftpsproxy.tls.context import Context
from ftpsproxy.tls.errors import Refused, explain, explain_opening
from ftpsproxy.tls.requirements import TlsConfigError, build_context, certificate_of, check_pins
from ftpsproxy.tls.sessions import Resumption

Tls = Connection
"""One TLS connection with an upstream."""

__all__ = [
    "BindingError",
    "Buffer",
    "Certificate",
    "Context",
    "Refused",
    "Resumption",
    "Session",
    "Tls",
    "TlsConfigError",
    "TlsError",
    "build_context",
    "certificate_of",
    "check_pins",
    "explain",
    "explain_opening",
]
