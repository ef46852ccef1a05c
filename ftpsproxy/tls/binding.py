"""OpenSSL's functions, as the cryptography package carries them: which are used, and what it says when one fails.

Why not the standard library's ssl. It copies a session by writing it out and parsing it again, at each look and at
each offer: 280 of the 520 µs of a resumed handshake, where taking a reference costs 1. CPython before 3.12.8 loses a
session, 6 KiB, at each look. And it has whatever OpenSSL the system has: 3.0 seals 2.6 GB/s where 4.0 does 5.2 on a
processor with wide AES instructions.

The binding is no public interface of cryptography's. pyOpenSSL, of the same maintainers, is built on it, and uses most
of these names; nobody else uses the others, those that check a host name among them. So all are looked for at once.
"""

from importlib.metadata import version
from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding

SUPPORTED = ">=45.0.7,<51"
"""Of cryptography, as in pyproject.toml."""

# fmt: off
NAMES = (
    "BIO_free", "BIO_get_mem_data", "BIO_new", "BIO_new_mem_buf", "BIO_read", "BIO_s_mem", "BIO_set_mem_eof_return",
    "BIO_write", "ERR_GET_REASON", "ERR_clear_error", "ERR_get_error", "ERR_peek_error", "ERR_reason_error_string",
    "OPENSSL_VERSION", "OpenSSL_version", "SSL_CIPHER_get_name", "SSL_CTX_check_private_key", "SSL_CTX_clear_mode",
    "SSL_CTX_free", "SSL_CTX_get_cert_store", "SSL_CTX_load_verify_locations", "SSL_CTX_new",
    "SSL_CTX_set_alpn_protos", "SSL_CTX_set_cipher_list", "SSL_CTX_set_max_proto_version",
    "SSL_CTX_set_min_proto_version", "SSL_CTX_set_mode", "SSL_CTX_set_options", "SSL_CTX_set_session_cache_mode",
    "SSL_CTX_set_verify", "SSL_CTX_use_PrivateKey_file", "SSL_CTX_use_certificate_chain_file", "SSL_ERROR_WANT_READ",
    "SSL_ERROR_ZERO_RETURN", "SSL_FILETYPE_PEM", "SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER", "SSL_MODE_AUTO_RETRY",
    "SSL_MODE_ENABLE_PARTIAL_WRITE", "SSL_MODE_RELEASE_BUFFERS", "SSL_OP_NO_COMPRESSION", "SSL_RECEIVED_SHUTDOWN",
    "SSL_SENT_SHUTDOWN", "SSL_SESSION_free", "SSL_SESS_CACHE_OFF", "SSL_VERIFY_NONE", "SSL_VERIFY_PEER",
    "SSL_do_handshake", "SSL_free", "SSL_get0_param", "SSL_get1_session", "SSL_get_current_cipher", "SSL_get_error",
    "SSL_get_peer_cert_chain", "SSL_get_peer_certificate", "SSL_get_shutdown", "SSL_get_verify_result",
    "SSL_get_version", "SSL_new", "SSL_peek", "SSL_read", "SSL_session_reused", "SSL_set_bio",
    "SSL_set_connect_state", "SSL_set_session", "SSL_set_shutdown", "SSL_set_tlsext_host_name", "SSL_shutdown",
    "SSL_write", "TLS1_2_VERSION", "TLS1_3_VERSION", "TLS_client_method", "X509_CHECK_FLAG_NEVER_CHECK_SUBJECT",
    "X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS", "X509_STORE_set_flags", "X509_VERIFY_PARAM_set1_host",
    "X509_VERIFY_PARAM_set1_ip", "X509_VERIFY_PARAM_set_hostflags", "X509_V_FLAG_CRL_CHECK", "X509_V_OK", "X509_free",
    "X509_get_pubkey", "X509_verify_cert_error_string", "EVP_PKEY_free", "d2i_SSL_SESSION", "i2d_PUBKEY_bio",
    "i2d_SSL_SESSION", "i2d_X509_bio", "sk_X509_num", "sk_X509_value",
)
# fmt: on
"""What is used of it."""


class BindingError(ImportError):
    """This cryptography can't be used; `str()` is one plain line."""


def check(lib: object) -> None:
    """Raises BindingError where a name is missing."""
    missing = [name for name in NAMES if not hasattr(lib, name)]
    if missing:
        raise BindingError(
            f"cryptography {version('cryptography')} does not show OpenSSL's {missing[0]}, which is used here: "
            f"install 'cryptography{SUPPORTED}'"
        )


_binding = Binding()
lib: Any = _binding.lib
ffi: Any = _binding.ffi
check(lib)

NULL: Any = ffi.NULL
VERSION: str = ffi.string(lib.OpenSSL_version(lib.OPENSSL_VERSION)).decode()
"""Such as "OpenSSL 4.0.3 29 Sep 2026"."""
_ALERTS = 1000  # SSL_AD_REASON_OFFSET


class TlsError(Exception):
    """OpenSSL refused. `reason` is its number (SSL_R_…), `verify_code` that of a certificate's fault (X509_V_ERR_…), 0
    for none; then `chain` is what the server has shown, in DER, its own first. `str()` is OpenSSL's own words."""

    def __init__(self, words: str, reason: int = 0, verify_code: int = 0) -> None:
        super().__init__(words)
        self.reason = reason
        self.verify_code = verify_code
        self.chain: tuple[bytes, ...] = ()

    @property
    def is_alert(self) -> bool:
        """Whether the peer said so, by an alert, whose number is counted from 1000 on."""
        return self.reason >= _ALERTS


def last_error(fallback: str) -> TlsError:
    """What OpenSSL's queue of errors holds, first one first; the queue is empty afterwards."""
    first = None
    while code := lib.ERR_get_error():
        if first is None:
            words = lib.ERR_reason_error_string(code)
            text = ffi.string(words).decode("ascii", "replace") if words else fallback
            first = TlsError(text, lib.ERR_GET_REASON(code))
    return first if first is not None else TlsError(fallback)


def verify_words(code: int) -> str:
    """OpenSSL's words for a certificate's fault."""
    text: str = ffi.string(lib.X509_verify_cert_error_string(code)).decode("ascii", "replace")
    return text
