"""TLS towards the upstream: contexts, verification, pins, the session to resume, and what went wrong in plain words.

The engine is OpenSSL behind memory BIOs: whoever moves the bytes feeds it and takes from it, so it never waits.
"""

import base64
import contextlib
import hashlib
import ssl
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ftpsproxy.config import Upstream

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# CPython before 3.12.8, and 3.13.0, loses a session, some 6 KiB, at every look at SSLObject.session
# (issue 116810).
_SESSION_LEAKS = sys.version_info < (3, 12, 8) or sys.version_info[:3] == (3, 13, 0)
# There one ticket serves for this long; tickets live for minutes to hours (ProFTPD and OpenSSL: 300 s and more).
_YOUNG_SECONDS = 60.0


class TlsConfigError(Exception):
    """The TLS settings of an upstream can't work; `str()` is one plain line."""


class TlsRefused(Exception):
    """The upstream's TLS is not acceptable: a machine word and plain words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def build_context(upstream: Upstream) -> ssl.SSLContext:
    """The context for all connections to `upstream`. Raises TlsConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[upstream.tls_min]
    context.maximum_version = _VERSIONS[upstream.tls_max]
    if upstream.alpn:
        context.set_alpn_protocols(["ftp"])  # against cross-protocol attacks (ALPACA)
    where = f"upstream {upstream.name}"
    if upstream.verify == "pin":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # `check_pins` verifies instead, on every full handshake
        if not upstream.pins:
            raise TlsConfigError(f'{where}: verify = "pin" needs pins = ["sha256/..."]')
    else:
        _load(context, upstream, where)
    if upstream.cert_file is not None:
        try:
            context.load_cert_chain(upstream.cert_file, upstream.key_file, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            key = f" with key {upstream.key_file}" if upstream.key_file else ""
            raise TlsConfigError(
                f"{where}: cert_file {upstream.cert_file}{key} can't be used: {_words(error)}"
            ) from None
    return context


def _no_password() -> str:
    raise TlsConfigError("the key is encrypted; give one without a passphrase, readable by this user only")


def _load(context: ssl.SSLContext, upstream: Upstream, where: str) -> None:
    if upstream.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(upstream.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsConfigError(f"{where}: ca_file {upstream.ca_file} can't be used: {_words(error)}") from None
    if upstream.crl_file is not None:
        try:
            context.load_verify_locations(upstream.crl_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsConfigError(f"{where}: crl_file {upstream.crl_file} can't be used: {_words(error)}") from None
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


# --- certificates -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the log says of a server's certificate. `pin` is `sha256/` and base64 of its public key (SPKI)."""

    fingerprint: str
    subject: str
    pin: str
    not_after: datetime

    @property
    def days_left(self) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after - datetime.now(UTC)).days


@lru_cache(maxsize=256)
def _certificate(der: bytes) -> Certificate:
    parsed = x509.load_der_x509_certificate(der)
    key = parsed.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = "sha256/" + base64.b64encode(hashlib.sha256(key).digest()).decode()
    return Certificate(
        hashlib.sha256(der).hexdigest(), parsed.subject.rfc4514_string(), pin, parsed.not_valid_after_utc
    )


# --- one connection ---------------------------------------------------------------------------------------------------


class Tls:
    """One TLS connection, client side, over memory: `incoming` takes the peer's bytes, `outgoing` holds ours."""

    __slots__ = ("engine", "incoming", "outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None = None) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.engine = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name, session=session)

    @property
    def version(self) -> str:
        """Such as "TLSv1.3"."""
        return self.engine.version() or ""

    @property
    def cipher(self) -> str:
        """The cipher suite's name."""
        cipher = self.engine.cipher()
        return cipher[0] if cipher else ""

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up the session that was offered."""
        return bool(self.engine.session_reused)

    def certificate(self) -> Certificate:
        """The server's. Raises TlsRefused when there is none or it can't be read."""
        der = self.engine.getpeercert(True)
        if der is None:
            raise TlsRefused("no_certificate", "the server showed no certificate")
        try:
            return _certificate(der)
        except ValueError as error:
            raise TlsRefused("certificate", f"the server's certificate can't be read: {error}") from None

    def check_pins(self, pins: tuple[str, ...]) -> None:
        """Raises TlsRefused unless the server's key is one of `pins` (none: any)."""
        if pins and (pin := self.certificate().pin) not in pins:
            raise TlsRefused("wrong_pin", f"the server's key is not among the pins; it is {pin}")

    def close_notify(self) -> bytes:
        """Say that nothing more is sent → the bytes to send (and any answer already due)."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.engine.unwrap()
        return self.outgoing.read()


class Resumption:
    """The session that data connections of one control connection offer: its own newest, and nobody else's.

    vsftpd, ProFTPD, FileZilla Server refuse a data connection that resumes none, or that of another control
    connection. In TLS 1.3 tickets come behind the handshake, with the first bytes read.
    """

    __slots__ = ("_control", "_session", "_since", "_worked")

    def __init__(self, control: Tls) -> None:
        self._control = control
        self._session: ssl.SSLSession | None = None
        self._since = 0.0
        self._worked = False

    @property
    def version(self) -> str:
        """The control connection's TLS version."""
        return self._control.version

    def offer(self) -> ssl.SSLSession | None:
        """What the next data connection should offer."""
        if self._session is None:
            self._keep(self._control)
        return self._session

    def learn(self, data: Tls) -> None:
        """A data connection has ended; its session is the newest, if it brought one.

        Where what was offered did resume, and now does not, it has expired over there and is of no use any more.
        """
        expired = self._worked and not data.resumed
        self._worked = data.resumed
        if not _SESSION_LEAKS or expired or time.monotonic() - self._since > _YOUNG_SECONDS:
            self._keep(data)

    def start_again(self) -> None:
        """The server did not take what was offered: back to the control connection's own."""
        self._session = None

    def _keep(self, tls: Tls) -> None:
        session = tls.engine.session
        if session is not None and (session.has_ticket or (session.id and tls.engine.version() != "TLSv1.3")):
            self._session = session
            self._since = time.monotonic()


# --- plain words ------------------------------------------------------------------------------------------------------

# X509_V_ERR_... of OpenSSL's x509_vfy.h
_VERIFY = {
    2: ("unknown_ca", "the server's certificate is from an issuer that is not trusted here (see ca_file)"),
    3: ("revocation_unknown", "there is no revocation list of the certificate's issuer (see crl_file)"),
    9: ("not_yet_valid", "the server's certificate is not valid yet (is the clock right?)"),
    10: ("expired", "the server's certificate has expired"),
    12: ("revocation_unknown", "the revocation list has expired (see crl_file)"),
    18: ("self_signed", "the server's certificate is self-signed and not trusted here (see ca_file)"),
    19: ("unknown_ca", "the server's certificate is from a private issuer that is not trusted here (see ca_file)"),
    20: ("unknown_ca", "the server's certificate is from an issuer that is not trusted here (see ca_file)"),
    21: ("unknown_ca", "the server's certificate can't be traced to a trusted issuer (see ca_file)"),
    23: ("revoked", "the server's certificate has been revoked"),
    62: ("wrong_host", "the server's certificate is for another host name"),
    64: ("wrong_host", "the server's certificate is for another address"),
}
_REASONS = {
    "WRONG_VERSION_NUMBER": ("handshake_garbage", "the server did not answer with TLS"),
    "RECORD_LAYER_FAILURE": ("handshake_garbage", "the server did not answer with TLS"),
    "UNSUPPORTED_PROTOCOL": ("protocol_version", "the server speaks no TLS version allowed here (1.2 or newer)"),
    "TLSV1_ALERT_PROTOCOL_VERSION": (
        "protocol_version",
        "the server speaks no TLS version allowed here (1.2 or newer)",
    ),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "client_certificate_required",
        "the server wants a client certificate (see cert_file)",
    ),
    "TLSV1_ALERT_UNKNOWN_CA": ("client_certificate_refused", "the server does not trust our client certificate"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "handshake_refused",
        "the server refused the handshake (no common cipher, or it wants a client certificate: see cert_file)",
    ),
}


def explain(error: Exception) -> TlsRefused:
    """A failed handshake or read in plain words."""
    if isinstance(error, TlsRefused):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _VERIFY.get(error.verify_code)
        if known is not None:
            return TlsRefused(*known)
        return TlsRefused("certificate", f"the server's certificate is refused: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError):
        return TlsRefused("closed", "the server closed the connection in the TLS handshake")
    if isinstance(error, ssl.SSLError):
        known = _REASONS.get(error.reason or "")
        if known is not None:
            return TlsRefused(*known)
        words = (error.reason or "protocol error").lower().replace("_", " ")
        return TlsRefused("handshake_failed", f"TLS failed: {words}")
    return TlsRefused("closed", f"the connection failed in the TLS handshake: {str(error).lower()}")


def explain_opening(error: Exception, upstream: Upstream) -> TlsRefused:
    """The same of a control connection's handshake, and what else may be behind it."""
    refused = explain(error)
    if not upstream.implicit:
        if refused.reason == "closed":
            hint = "; a firewall that inspects FTP may have done it, and would let implicit TLS (ftps://) pass"
            return TlsRefused("closed", refused.detail + hint)
        return refused
    if refused.reason == "bytes_after_auth":
        return TlsRefused("bytes_after_greeting", "the server sent more in clear behind its greeting")
    if refused.reason == "handshake_garbage" and upstream.tls_first:
        return TlsRefused(
            "plaintext_on_implicit_port",
            "the server speaks no TLS at once; perhaps it is explicit (ftpes://), or says its greeting in clear first "
            '(z/OS: implicit_greeting = "clear")',
        )
    return refused
