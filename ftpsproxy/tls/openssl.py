"""OpenSSL, as the cryptography package carries it: contexts, and connections over memory. Nothing of FTP, no waiting.

Why not the standard library's ssl. It copies a session by writing it out and parsing it again, at each look and at
each offer: 280 of the 520 µs of a resumed handshake, where taking a reference costs 1. CPython before 3.12.8 loses a
session, 6 KiB, at each look. And it has whatever OpenSSL the system has: 3.0 seals 2.6 GB/s where 4.0 does 5.2 on a
processor with wide AES instructions. The names used here are those pyOpenSSL is built on.

A connection is a pipe in memory: `feed` it what the peer sent, `take` what the peer is to get.
"""

import ipaddress
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding

_binding = Binding()
_lib: Any = _binding.lib
_ffi: Any = _binding.ffi

_NULL = _ffi.NULL
_WANT_READ: int = _lib.SSL_ERROR_WANT_READ
_ZERO_RETURN: int = _lib.SSL_ERROR_ZERO_RETURN
_SSL_read: Callable[..., int] = _lib.SSL_read
_SSL_write: Callable[..., int] = _lib.SSL_write
_SSL_get_error: Callable[..., int] = _lib.SSL_get_error
_BIO_read: Callable[..., int] = _lib.BIO_read
_BIO_write: Callable[..., int] = _lib.BIO_write

VERSION: str = _ffi.string(_lib.OpenSSL_version(_lib.OPENSSL_VERSION)).decode()
"""Such as "OpenSSL 4.0.3 29 Sep 2026"."""

_VERSIONS = {"1.2": _lib.TLS1_2_VERSION, "1.3": _lib.TLS1_3_VERSION}
# For TLS 1.2: forward secrecy and no SHA-1; the suites of 1.3 are all well. No DHE: the group is the server's to
# choose, and one of 10,000 bits costs half a second of everybody's time.
_CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# One key share, X25519, keeps the ClientHello within one packet, as old servers and middleboxes want it; a server that
# prefers the hybrid with ML-KEM asks for it. Libraries that can't skip unknown names get the second list;
# cryptography before 47 has no way to say either.
_GROUPS = (b"X25519:?X25519MLKEM768:P-256:X448:P-384:P-521", b"X25519:P-256:X448:P-384:P-521")

_RECORD = 16384  # RFC 8446 section 5.1: no record holds more, and a read gives one at most
_LONGEST_NAME = 255  # RFC 1035 section 2.3.4; SNI takes no more
_SCRATCH_SIZE = 65536
_scratch = _ffi.new("char[]", _SCRATCH_SIZE)
_pointer = _ffi.new("char **")


class TlsError(Exception):
    """OpenSSL refused. `reason` is its number (SSL_R_…), `verify_code` that of a certificate's fault (X509_V_ERR_…), 0
    for none; `str()` is OpenSSL's own words."""

    def __init__(self, words: str, reason: int = 0, verify_code: int = 0) -> None:
        super().__init__(words)
        self.reason = reason
        self.verify_code = verify_code

    @property
    def is_alert(self) -> bool:
        """Whether the peer said so, by an alert, whose number is counted from 1000 on."""
        return self.reason >= _ALERTS


def _error(fallback: str) -> TlsError:
    """What OpenSSL's queue of errors holds, first one first; the queue is empty afterwards."""
    first = None
    while code := _lib.ERR_get_error():
        if first is None:
            words = _lib.ERR_reason_error_string(code)
            text = _ffi.string(words).decode("ascii", "replace") if words else fallback
            first = TlsError(text, _lib.ERR_GET_REASON(code))
    return first if first is not None else TlsError(fallback)


def verify_words(code: int) -> str:
    """OpenSSL's words for a certificate's fault."""
    text: str = _ffi.string(_lib.X509_verify_cert_error_string(code)).decode("ascii", "replace")
    return text


class Buffer:
    """Memory that sockets, through `view`, and OpenSSL both read and write."""

    __slots__ = ("_data", "pointer", "size", "view")

    def __init__(self, size: int) -> None:
        self._data = bytearray(size)
        self.size = size
        self.view = memoryview(self._data)
        self.pointer = _ffi.from_buffer("char[]", self._data)


class Context:
    """What connections to one server have in common. Raises TlsError where the files given are of no use."""

    __slots__ = ("_alpn", "_context", "_verify")

    def __init__(self, *, verify: bool, minimum: str, maximum: str, alpn: bytes = b"") -> None:
        _lib.ERR_clear_error()
        context = _lib.SSL_CTX_new(_lib.TLS_client_method())
        if context == _NULL:
            raise _error("no context")
        self._context = _ffi.gc(context, _lib.SSL_CTX_free)
        self._verify = verify
        # OpenSSL's own cache would make a session useless at its first offer.
        _lib.SSL_CTX_set_session_cache_mode(context, _lib.SSL_SESS_CACHE_OFF)
        _lib.SSL_CTX_set_options(context, _lib.SSL_OP_NO_COMPRESSION)
        _lib.SSL_CTX_set_mode(
            context,
            _lib.SSL_MODE_AUTO_RETRY | _lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | _lib.SSL_MODE_RELEASE_BUFFERS,
        )
        _lib.SSL_CTX_clear_mode(context, _lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
        self._must(_lib.SSL_CTX_set_cipher_list(context, _CIPHERS), "no ciphers")
        set_groups = getattr(_lib, "SSL_CTX_set1_curves_list", None)
        if set_groups is not None and not any(set_groups(context, groups) == 1 for groups in _GROUPS):
            raise _error("no groups")
        _lib.ERR_clear_error()
        self._must(_lib.SSL_CTX_set_min_proto_version(context, _VERSIONS[minimum]), "no such version")
        self._must(_lib.SSL_CTX_set_max_proto_version(context, _VERSIONS[maximum]), "no such version")
        if alpn:
            offer = bytes([len(alpn)]) + alpn
            if _lib.SSL_CTX_set_alpn_protos(context, offer, len(offer)) != 0:  # 0 is well, for this one
                raise _error("ALPN")
        _lib.SSL_CTX_set_verify(context, _lib.SSL_VERIFY_PEER if verify else _lib.SSL_VERIFY_NONE, _NULL)

    def _must(self, result: int, what: str) -> None:
        if result != 1:
            raise _error(what)

    def trust(self, file: Path | str | None, folder: str | None = None) -> None:
        """Trust the certificates in a PEM file, or in a folder that c_rehash made; revocation lists count too."""
        _lib.ERR_clear_error()
        self._must(
            _lib.SSL_CTX_load_verify_locations(
                self._context,
                os.fsencode(file) if file is not None else _NULL,
                os.fsencode(folder) if folder is not None else _NULL,
            ),
            "no certificates in it",
        )

    def check_revocation(self) -> None:
        """Refuse a server's certificate that is on a list, or whose issuer has no list."""
        store = _lib.SSL_CTX_get_cert_store(self._context)
        _lib.X509_STORE_set_flags(store, _lib.X509_V_FLAG_CRL_CHECK)

    def identify(self, certificate: Path, key: Path) -> None:
        """Show this certificate (with its chain) to servers that ask for one. The key must have no passphrase: OpenSSL
        would ask for it at the terminal, and a callback of ours would need memory that can be written and executed,
        which hardened systems do not give (systemd's MemoryDenyWriteExecute)."""
        _lib.ERR_clear_error()
        context = self._context
        self._must(_lib.SSL_CTX_use_certificate_chain_file(context, os.fsencode(certificate)), "no certificate in it")
        if _lib.SSL_CTX_use_PrivateKey_file(context, os.fsencode(key), _lib.SSL_FILETYPE_PEM) != 1:
            error = _error("no key in it")
            raise TlsError(_OTHER_KEY) if error.reason == _KEY_MISMATCH else error
        if _lib.SSL_CTX_check_private_key(context) != 1:  # one of another kind
            _lib.ERR_clear_error()
            raise TlsError(_OTHER_KEY)

    def connect(self, server_name: str, session: "Session | None" = None) -> "Connection":
        """A connection that expects `server_name`, a host name or an address, and offers `session`."""
        ssl = _lib.SSL_new(self._context)
        if ssl == _NULL:
            raise _error("no connection")
        ssl = _ffi.gc(ssl, _free)
        _expect(ssl, server_name, verify=self._verify)
        if session is not None and _lib.SSL_set_session(ssl, session) != 1:
            _lib.ERR_clear_error()  # a full handshake, then
        return Connection(ssl, verify=self._verify)


def _free(ssl: Any) -> None:
    """A connection that broke would take its session out of use with it, for all others that have it, too."""
    _lib.SSL_set_shutdown(ssl, _lib.SSL_SENT_SHUTDOWN | _lib.SSL_RECEIVED_SHUTDOWN)
    _lib.SSL_free(ssl)


Session = Any
"""A TLS session, opaque: see Connection.session."""


def usable(session: Session) -> Session:
    """A copy that can be offered, of a session that a fatal alert has taken out of use. Dear: see above."""
    size = _lib.i2d_SSL_SESSION(session, _NULL)
    if size <= 0:
        return None
    written = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", written))
    copy = _lib.d2i_SSL_SESSION(_NULL, _ffi.new("const unsigned char **", written), size)
    _lib.ERR_clear_error()
    return None if copy == _NULL else _ffi.gc(copy, _lib.SSL_SESSION_free)


def _expect(ssl: Any, server_name: str, *, verify: bool) -> None:
    """Have the server asked for by name (SNI) and its certificate checked for it. Raises TlsError."""
    name, is_address = _name(server_name)
    if not is_address:  # SNI knows no addresses (RFC 6066 section 3)
        _lib.SSL_set_tlsext_host_name(ssl, name)  # can't fail for a name that `_ascii` lets through
    if verify:
        parameters = _lib.SSL_get0_param(ssl)
        # The subject is no place for a name any more (RFC 9525 section 2), and name constraints do not bind it.
        flags = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
        _lib.X509_VERIFY_PARAM_set_hostflags(parameters, flags)
        expect = _lib.X509_VERIFY_PARAM_set1_ip if is_address else _lib.X509_VERIFY_PARAM_set1_host
        if expect(parameters, name, len(name)) != 1:
            raise _error("the server's name can't be checked")


@lru_cache(maxsize=256)
def _name(server_name: str) -> tuple[bytes, bool]:
    """A host name or address as OpenSSL wants it, and which of the two it is. Raises TlsError."""
    try:
        return ipaddress.ip_address(server_name.partition("%")[0]).packed, True
    except ValueError:
        return _ascii(server_name), False


def _ascii(name: str) -> bytes:
    encoded = name.removesuffix(".").encode("ascii", "backslashreplace")  # RFC 6066 section 3: without a final dot
    if not 0 < len(encoded) <= _LONGEST_NAME or encoded.startswith(b".") or b"\0" in encoded:
        raise TlsError(f"not a host name: {name!a}")  # an empty name would be no check at all
    return encoded


class Connection:
    """One TLS connection, client side, over memory. `ended`: the server has said close_notify; `failed`: TLS broke."""

    __slots__ = ("_bare", "_in", "_kept", "_out", "_ssl", "_verify", "ended", "failed")

    def __init__(self, ssl: Any, *, verify: bool) -> None:
        self._ssl = ssl
        self._verify = verify
        self._in = _lib.BIO_new(_lib.BIO_s_mem())
        self._out = _lib.BIO_new(_lib.BIO_s_mem())
        _lib.BIO_set_mem_eof_return(self._in, -1)
        _lib.SSL_set_bio(ssl, self._in, self._out)
        _lib.SSL_set_connect_state(ssl)
        self._kept: Buffer | None = None
        self._bare: Session = None
        self.ended = self.failed = False

    # --- ciphertext -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what the peer has sent."""
        if data and _BIO_write(self._in, data, len(data)) != len(data):
            raise _error("out of memory")

    def lend(self, buffer: Buffer, size: int) -> None:
        """The same without a copy, for the first `size` bytes of `buffer`, which stay as they are until `read` has
        nothing more to give. Not before all that was fed has been read; after it, only lending will do."""
        bio = _lib.BIO_new_mem_buf(buffer.pointer, size)
        if bio == _NULL:
            raise _error("out of memory")
        _lib.BIO_set_mem_eof_return(bio, -1)
        _lib.SSL_set_bio(self._ssl, bio, self._out)  # which frees the one before
        self._in = bio
        self._kept = buffer

    def take(self) -> bytes:
        """What the peer is to get now."""
        got = _BIO_read(self._out, _scratch, _SCRATCH_SIZE)
        if got <= 0:
            return b""
        data: bytes = _ffi.unpack(_scratch, got)
        if got == _SCRATCH_SIZE:
            data += self.take()
        return data

    def take_into(self, buffer: Buffer) -> int:
        """The same into `buffer`, as much as it holds → how many bytes."""
        return max(0, _BIO_read(self._out, buffer.pointer, buffer.size))

    @property
    def unread(self) -> int:
        """Bytes of the peer's that TLS has not looked at yet."""
        return int(_lib.BIO_get_mem_data(self._in, _pointer))

    def peek(self) -> bytes:
        """Those bytes; behind the handshake they begin with a record."""
        size = self.unread
        data: bytes = _ffi.unpack(_pointer[0], size) if size > 0 else b""
        return data

    @property
    def outgoing(self) -> int:
        """How many bytes the peer is to get."""
        return int(_lib.BIO_get_mem_data(self._out, _pointer))

    # --- cleartext --------------------------------------------------------------------------------------------------

    def shake_hands(self) -> bool:
        """Go on with the handshake → whether it is done. Raises TlsError; `take` then has any alert."""
        result = _lib.SSL_do_handshake(self._ssl)
        if result != 1:
            self._stopped(result)
            return False
        _lib.ERR_clear_error()  # left over, it would be taken for what went wrong in the next operation
        if self._verify and (code := _lib.SSL_get_verify_result(self._ssl)) != _lib.X509_V_OK:
            raise TlsError("certificate verify failed", verify_code=code)
        if not self.resumed and self.version == "TLSv1.3":
            self._bare = self._session()
        return True

    def read(self, buffer: Buffer) -> int:
        """Cleartext that is there, gathered into `buffer` → how many bytes. Raises TlsError.

        Less than the buffer's size means that TLS needs more from the peer, or, with `ended`, that there is no more.
        """
        ssl, pointer, size, filled = self._ssl, buffer.pointer, buffer.size, 0
        while filled < size:
            got = _SSL_read(ssl, pointer + filled, size - filled)
            if got <= 0:
                if not self.ended:
                    self._stopped(got)
                break
            filled += got
            if got < _RECORD and not self.unread:
                break
        return filled

    def read_some(self) -> bytes:
        """The same as bytes, 64 KiB at most; empty when there is nothing, or nothing more."""
        got = _SSL_read(self._ssl, _scratch, _SCRATCH_SIZE)
        if got <= 0:
            if not self.ended:
                self._stopped(got)
            return b""
        data: bytes = _ffi.unpack(_scratch, got)
        return data

    def write(self, data: bytes) -> bool:
        """Seal all of `data`, which is not empty → False when TLS must read first; say the same again then. Raises
        TlsError."""
        return self._wrote(_SSL_write(self._ssl, data, len(data)))

    def write_from(self, buffer: Buffer, size: int) -> bool:
        """The same for the first `size` bytes of `buffer`."""
        return self._wrote(_SSL_write(self._ssl, buffer.pointer, size))

    def _wrote(self, result: int) -> bool:
        if result > 0:
            return True
        self._stopped(result)
        return False

    def speaks(self) -> bool:
        """Whether the peer has sent cleartext, or its end; tickets and keys are none. Raises TlsError."""
        got = _lib.SSL_peek(self._ssl, _scratch, 1)
        if got > 0:
            return True
        if not self.ended:
            self._stopped(got)
        return self.ended

    def end(self) -> bool:
        """Say that nothing more is sent (`take` has it) → False in the middle of a new handshake, whose end comes
        first."""
        return _lib.SSL_shutdown(self._ssl) >= 0 or _error("").reason != _SHUTDOWN_WHILE_IN_INIT

    def close_notify(self) -> bytes:
        """The same, if it can be said now → the bytes to send, with any that were due."""
        self.end()
        return self.take()

    def _stopped(self, result: int) -> None:
        """An operation did not go through: note the peer's end, or that more is needed; raise for all else."""
        why = _SSL_get_error(self._ssl, result)
        if why == _WANT_READ:
            return
        if why == _ZERO_RETURN or self._heard_close_notify():
            self.ended = True
            return
        self.failed = True
        error = _error("unexpected end")
        if error.reason == _CERTIFICATE_VERIFY_FAILED:
            error.verify_code = _lib.SSL_get_verify_result(self._ssl)
        raise error

    def _heard_close_notify(self) -> bool:
        """The state tells, and no error: behind user_canceled, which Java says before each close_notify, OpenSSL calls
        it an error of the system. A fatal alert ends the peer's side, too, but leaves an error."""
        if self.failed or _lib.ERR_peek_error():
            return False
        return bool(_lib.SSL_get_shutdown(self._ssl) & _lib.SSL_RECEIVED_SHUTDOWN)

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """Such as "TLSv1.3"."""
        text: str = _ffi.string(_lib.SSL_get_version(self._ssl)).decode()
        return text

    @property
    def cipher(self) -> str:
        """The cipher suite's name."""
        cipher = _lib.SSL_get_current_cipher(self._ssl)
        return "" if cipher == _NULL else _ffi.string(_lib.SSL_CIPHER_get_name(cipher)).decode()

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up the session that was offered."""
        return bool(_lib.SSL_session_reused(self._ssl))

    @property
    def session(self) -> Session:
        """The session as it is now, to be offered by another connection of the same context; None for none.

        In TLS 1.3 there is one once a ticket has been read: each makes a new object of the session.
        """
        session = self._session()
        return None if session == self._bare else session

    def _session(self) -> Session:
        session = _lib.SSL_get1_session(self._ssl)
        return None if session == _NULL else _ffi.gc(session, _lib.SSL_SESSION_free)

    @property
    def certificate(self) -> bytes | None:
        """The server's, in DER."""
        certificate = _lib.SSL_get_peer_certificate(self._ssl)
        if certificate == _NULL:
            return None
        bio = _lib.BIO_new(_lib.BIO_s_mem())
        try:
            if _lib.i2d_X509_bio(bio, certificate) != 1:
                raise _error("the certificate can't be written out")
            size = _lib.BIO_get_mem_data(bio, _pointer)
            der: bytes = _ffi.unpack(_pointer[0], size)
            return der
        finally:
            _lib.BIO_free(bio)
            _lib.X509_free(certificate)


_ALERTS = 1000  # SSL_AD_REASON_OFFSET
_SHUTDOWN_WHILE_IN_INIT = 407  # SSL_R_SHUTDOWN_WHILE_IN_INIT
_CERTIFICATE_VERIFY_FAILED = 134  # SSL_R_CERTIFICATE_VERIFY_FAILED
_KEY_MISMATCH = 116  # X509_R_KEY_VALUES_MISMATCH
_OTHER_KEY = "the key is not the certificate's"
