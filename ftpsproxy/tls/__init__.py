"""TLS towards the upstream: `openssl`, connections over memory; `upstream`, what a server must prove, and the session
that is resumed; `certificate`, what it has shown; `words`, what is wrong in plain ones."""

from ftpsproxy.tls.certificate import Certificate, certificate_of, check_pins
from ftpsproxy.tls.openssl import Buffer, Connection, Context, Session, TlsError
from ftpsproxy.tls.upstream import Resumption, TlsConfigError, build_context
from ftpsproxy.tls.words import Refused, explain, explain_opening

Tls = Connection
"""One TLS connection with an upstream."""

__all__ = [
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
