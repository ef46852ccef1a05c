"""TLS towards the upstream.

`binding` is OpenSSL, `context` and `connection` TLS over memory; `upstream` says what a server must prove, and keeps
the session that is resumed; `certificate` is what it has shown; `words` say what is wrong in plain ones.
"""

from ftpsproxy.tls.binding import BindingError, TlsError
from ftpsproxy.tls.certificate import Certificate, certificate_of, check_pins
from ftpsproxy.tls.connection import Buffer, Connection, Session
from ftpsproxy.tls.context import Context
from ftpsproxy.tls.upstream import Resumption, TlsConfigError, build_context
from ftpsproxy.tls.words import Refused, explain, explain_opening

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
