"""What connections to one server have in common: trust, versions, ciphers, our own certificate."""

import os
from pathlib import Path

from ftpsproxy.tls.binding import NULL, TlsError, ffi, last_error, lib
from ftpsproxy.tls.connection import Connection, Session, expect, free

_VERSIONS = {"1.2": lib.TLS1_2_VERSION, "1.3": lib.TLS1_3_VERSION}
# For TLS 1.2: forward secrecy and no SHA-1; the suites of 1.3 are all well. No DHE: the group is the server's to
# choose, and one of 10,000 bits costs half a second of everybody's time.
_CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# One key share, X25519, keeps the ClientHello within one packet, as old servers and middleboxes want it; a server that
# prefers the hybrid with ML-KEM asks for it. Libraries that can't skip unknown names get the second list;
# cryptography before 47 has no way to say either.
_GROUPS = (b"X25519:?X25519MLKEM768:P-256:X448:P-384:P-521", b"X25519:P-256:X448:P-384:P-521")

_KEY_MISMATCH = 116  # X509_R_KEY_VALUES_MISMATCH
_OTHER_KEY = "the key is not the certificate's"


class Context:
    """What connections to one server have in common. Raises TlsError where the files given are of no use."""

    __slots__ = ("_alpn", "_context", "_verify")

    def __init__(self, *, verify: bool, minimum: str, maximum: str, alpn: bytes = b"") -> None:
        lib.ERR_clear_error()
        context = lib.SSL_CTX_new(lib.TLS_client_method())
        if context == NULL:
            raise last_error("no context")
        self._context = ffi.gc(context, lib.SSL_CTX_free)
        self._verify = verify
        # OpenSSL's own cache would make a session useless at its first offer.
        lib.SSL_CTX_set_session_cache_mode(context, lib.SSL_SESS_CACHE_OFF)
        lib.SSL_CTX_set_options(context, lib.SSL_OP_NO_COMPRESSION)
        lib.SSL_CTX_set_mode(
            context,
            lib.SSL_MODE_AUTO_RETRY | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | lib.SSL_MODE_RELEASE_BUFFERS,
        )
        lib.SSL_CTX_clear_mode(context, lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
        self._must(lib.SSL_CTX_set_cipher_list(context, _CIPHERS), "no ciphers")
        set_groups = getattr(lib, "SSL_CTX_set1_curves_list", None)
        if set_groups is not None and not any(set_groups(context, groups) == 1 for groups in _GROUPS):
            raise last_error("no groups")
        lib.ERR_clear_error()
        self._must(lib.SSL_CTX_set_min_proto_version(context, _VERSIONS[minimum]), "no such version")
        self._must(lib.SSL_CTX_set_max_proto_version(context, _VERSIONS[maximum]), "no such version")
        if alpn:
            offer = bytes([len(alpn)]) + alpn
            if lib.SSL_CTX_set_alpn_protos(context, offer, len(offer)) != 0:  # 0 is well, for this one
                raise last_error("ALPN")
        lib.SSL_CTX_set_verify(context, lib.SSL_VERIFY_PEER if verify else lib.SSL_VERIFY_NONE, NULL)

    def _must(self, result: int, what: str) -> None:
        if result != 1:
            raise last_error(what)

    def trust(self, file: Path | str | None, folder: str | None = None) -> None:
        """Trust the certificates in a PEM file, or in a folder that c_rehash made; revocation lists count too."""
        lib.ERR_clear_error()
        self._must(
            lib.SSL_CTX_load_verify_locations(
                self._context,
                os.fsencode(file) if file is not None else NULL,
                os.fsencode(folder) if folder is not None else NULL,
            ),
            "no certificates in it",
        )

    def check_revocation(self) -> None:
        """Refuse a server's certificate that is on a list, or whose issuer has no list."""
        store = lib.SSL_CTX_get_cert_store(self._context)
        lib.X509_STORE_set_flags(store, lib.X509_V_FLAG_CRL_CHECK)

    def identify(self, certificate: Path, key: Path) -> None:
        """Show this certificate (with its chain) to servers that ask for one. The key must have no passphrase: OpenSSL
        would ask for it at the terminal, and a callback of ours would need memory that can be written and executed,
        which hardened systems do not give (systemd's MemoryDenyWriteExecute)."""
        lib.ERR_clear_error()
        context = self._context
        self._must(lib.SSL_CTX_use_certificate_chain_file(context, os.fsencode(certificate)), "no certificate in it")
        if lib.SSL_CTX_use_PrivateKey_file(context, os.fsencode(key), lib.SSL_FILETYPE_PEM) != 1:
            error = last_error("no key in it")
            raise TlsError(_OTHER_KEY) if error.reason == _KEY_MISMATCH else error
        if lib.SSL_CTX_check_private_key(context) != 1:  # one of another kind
            lib.ERR_clear_error()
            raise TlsError(_OTHER_KEY)

    def connect(self, server_name: str, session: Session | None = None) -> Connection:
        """A connection that expects `server_name`, a host name or an address, and offers `session`."""
        ssl = lib.SSL_new(self._context)
        if ssl == NULL:
            raise last_error("no connection")
        ssl = ffi.gc(ssl, free)
        expect(ssl, server_name, verify=self._verify)
        if session is not None and lib.SSL_set_session(ssl, session) != 1:
            lib.ERR_clear_error()  # a full handshake, then
        return Connection(ssl, verify=self._verify)
