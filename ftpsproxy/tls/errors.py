"""What is wrong with a server's TLS, in plain words."""

import dataclasses

from ftpsproxy import errors
from ftpsproxy.config import Upstream
from ftpsproxy.tls import certificate
from ftpsproxy.tls.binding import TlsError, verify_words
from ftpsproxy.tls.certificate import Certificate


class Refused(Exception):
    """There is nothing to be had of this server: a machine word for the log, plain words for the client, and the
    certificate that it is about."""

    def __init__(self, reason: str, detail: str, shown: Certificate | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.shown = shown


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
    62: ("wrong_host", "the server's certificate is for another host name, or has no subjectAltName (see server_name)"),
    64: ("wrong_host", "the server's certificate is for another address, or for names only (see server_name)"),
}
# SSL_R_... of OpenSSL's sslerr.h; an alert of the server's is 1000 and its number (RFC 8446 section 6).
_NO_TLS_BEHIND_A_GREETING = ("handshake_garbage", "handshake_timeout", "closed")
_NO_TLS = ("handshake_garbage", "the server did not answer with TLS")
_VERSION = ("protocol_version", "the server speaks no TLS version allowed here")
_REASONS = {
    198: _NO_TLS,  # packet length too long
    267: _NO_TLS,  # wrong version number
    313: _NO_TLS,  # record layer failure
    258: _VERSION,  # unsupported protocol
    1070: _VERSION,
    338: ("handshake_failed", "the server's TLS is too old to be safe (it knows no secure renegotiation, RFC 5746)"),
    1080: (
        "handshake_refused",
        "the server fails in the handshake (internal error); some do when told of FTP (see alpn)",
    ),
    1112: ("wrong_host", "the server does not know the name it is asked for (see server_name)"),
    1120: ("handshake_refused", "the server does not want to hear in the handshake that this is FTP (see alpn)"),
    1116: ("client_certificate_required", "the server wants a client certificate (see cert_file)"),
    1048: ("client_certificate_refused", "the server does not trust our client certificate"),
    1040: (
        "handshake_refused",
        "the server refused the handshake (no common cipher, or it wants a client certificate: see cert_file)",
    ),
}


def explain(error: Exception, upstream: Upstream) -> Refused:
    """A failed handshake or read in plain words."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TlsError):
        if error.verify_code:
            return _not_verified(error, upstream)
        reason, why = _REASONS.get(error.reason) or ("handshake_failed", f"TLS failed: {error}")
        if reason == "protocol_version":
            why += f' (tls_min = "{upstream.tls_min}", tls_max = "{upstream.tls_max}")'
        return Refused(reason, why)
    return broken_off(error)


def broken_off(error: Exception) -> Refused:
    """The connection has failed in the handshake: an OSError, or another of no TLS."""
    words = errors.words(error) if isinstance(error, OSError) else str(error).lower()
    return Refused("closed", f"the connection failed in the TLS handshake: {words}")


def _not_verified(error: TlsError, upstream: Upstream) -> Refused:
    """A certificate that is refused: why, what would cure it, and what it is."""
    known = _VERIFY.get(error.verify_code)
    reason, why = known or ("certificate", f"the server's certificate is refused: {verify_words(error.verify_code)}")
    try:
        chain = [certificate.read(der) for der in error.chain]
    except ValueError:
        chain = []
    if not chain:
        return Refused(reason, why)
    shown = chain[0]
    if reason == "wrong_host" and shown.names:
        names = certificate.shown_names(shown.names)
        why = f"the server's certificate is for {names}, not for {upstream.server_name} (see server_name)"
    elif reason == "expired":
        late = next((one for one in chain if one.has_expired), None)
        if late is not None and late.not_after is not None:
            whose = (
                "the server's certificate" if late is shown else f"the certificate above the server's, {late.subject},"
            )
            why = f"{whose} expired on {certificate.day(late.not_after)}"
    elif reason == "not_yet_valid" and shown.not_before is not None:
        why = f"the server's certificate is valid from {certificate.day(shown.not_before)} on (is the clock right?)"
    if reason in ("self_signed", "unknown_ca") and upstream.ca_file is not None:
        why = why.replace("(see ca_file)", f"(ca_file {upstream.ca_file.name} does not vouch for it)")
    if shown.is_among(upstream.pins):
        why += '; it is among the pins, which count beside the chain: verify = "pin" would go by the pin alone'
    elif reason in ("self_signed", "unknown_ca"):
        why += '; or compare all of its pin with the partner, and set it: verify = "pin", pins'
    return Refused(reason, f"{why}. Shown: {shown.words}", shown)


def explain_opening(error: Exception, upstream: Upstream) -> Refused:
    """The same of a control connection's handshake, and what else may be behind it."""
    refused = explain(error, upstream)
    if not upstream.implicit:
        if refused.reason == "closed":
            hint = "; a firewall that inspects FTP may have done it, and would let implicit TLS (ftps://) pass"
            return Refused("closed", refused.detail + hint)
        return refused
    if refused.reason == "bytes_after_auth":
        return Refused("bytes_after_greeting", "the server sent more in clear behind its greeting")
    explicit = f"perhaps it is explicit ({dataclasses.replace(upstream, implicit=False).url})"
    if not upstream.tls_first and refused.reason in _NO_TLS_BEHIND_A_GREETING:
        return Refused(refused.reason, f"{refused.detail}; it did greet in clear: {explicit}")
    if refused.reason == "handshake_garbage":
        return Refused(
            "plaintext_on_implicit_port",
            f"the server does not begin with TLS; {explicit}, or says its greeting in clear first "
            '(z/OS: implicit_greeting = "clear")',
        )
    return refused
