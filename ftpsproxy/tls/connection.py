"""A TLS connection over memory, client side: `feed` it what the peer sent, `take` what the peer is to get. Nothing of
FTP, no waiting."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ftpsproxy.tls.binding import NULL, TlsError, ffi, last_error, lib

_WANT_READ: int = lib.SSL_ERROR_WANT_READ
_ZERO_RETURN: int = lib.SSL_ERROR_ZERO_RETURN
_SSL_read: Callable[..., int] = lib.SSL_read
_SSL_write: Callable[..., int] = lib.SSL_write
_SSL_get_error: Callable[..., int] = lib.SSL_get_error
_BIO_read: Callable[..., int] = lib.BIO_read
_BIO_write: Callable[..., int] = lib.BIO_write

_RECORD = 16384  # RFC 8446 section 5.1: no record holds more, and a read gives one at most
_LONGEST_NAME = 255  # RFC 1035 section 2.3.4; SNI takes no more
_SCRATCH_SIZE = 65536
_scratch = ffi.new("char[]", _SCRATCH_SIZE)
_pointer = ffi.new("char **")
_SHUTDOWN_WHILE_IN_INIT = 407  # SSL_R_SHUTDOWN_WHILE_IN_INIT
_CERTIFICATE_VERIFY_FAILED = 134  # SSL_R_CERTIFICATE_VERIFY_FAILED


class Buffer:
    """Memory that sockets, through `view`, and OpenSSL both read and write."""

    __slots__ = ("_data", "pointer", "size", "view")

    def __init__(self, size: int) -> None:
        self._data = bytearray(size)
        self.size = size
        self.view = memoryview(self._data)
        self.pointer = ffi.from_buffer("char[]", self._data)


def free(ssl: Any) -> None:
    """A connection that broke would take its session out of use with it, for all others that have it, too."""
    lib.SSL_set_shutdown(ssl, lib.SSL_SENT_SHUTDOWN | lib.SSL_RECEIVED_SHUTDOWN)
    lib.SSL_free(ssl)


Session = Any
"""A TLS session, opaque: see Connection.session."""


def usable(session: Session) -> Session:
    """A copy that can be offered, of a session that a fatal alert has taken out of use. Dear: see above."""
    size = lib.i2d_SSL_SESSION(session, NULL)
    if size <= 0:
        return None
    written = ffi.new("unsigned char[]", size)
    lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", written))
    copy = lib.d2i_SSL_SESSION(NULL, ffi.new("const unsigned char **", written), size)
    lib.ERR_clear_error()
    return None if copy == NULL else ffi.gc(copy, lib.SSL_SESSION_free)


def expect(ssl: Any, server_name: str, *, verify: bool) -> None:
    """Have the server asked for by name (SNI) and its certificate checked for it. Raises TlsError."""
    name, is_address = _name(server_name)
    if not is_address:  # SNI knows no addresses (RFC 6066 section 3)
        lib.SSL_set_tlsext_host_name(ssl, name)  # can't fail for a name that `_ascii` lets through
    if verify:
        parameters = lib.SSL_get0_param(ssl)
        # The subject is no place for a name any more (RFC 9525 section 2), and name constraints do not bind it.
        flags = lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
        lib.X509_VERIFY_PARAM_set_hostflags(parameters, flags)
        expect = lib.X509_VERIFY_PARAM_set1_ip if is_address else lib.X509_VERIFY_PARAM_set1_host
        if expect(parameters, name, len(name)) != 1:
            raise last_error("the server's name can't be checked")


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

    __slots__ = ("_bare", "_in", "_lent", "_out", "_ssl", "_verify", "ended", "failed")

    def __init__(self, ssl: Any, *, verify: bool) -> None:
        self._ssl = ssl
        self._verify = verify
        self._in = lib.BIO_new(lib.BIO_s_mem())
        self._out = lib.BIO_new(lib.BIO_s_mem())
        lib.BIO_set_mem_eof_return(self._in, -1)
        lib.SSL_set_bio(ssl, self._in, self._out)
        lib.SSL_set_connect_state(ssl)
        self._lent: Buffer | None = None
        self._bare: Session = None
        self.ended = self.failed = False

    # --- ciphertext -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what the peer has sent."""
        if data and _BIO_write(self._in, data, len(data)) != len(data):
            raise last_error("out of memory")

    def lend(self, buffer: Buffer, size: int) -> None:
        """The same without a copy, for the first `size` bytes of `buffer`, which stay as they are until `read` has
        nothing more to give, and `take_back` is called. Not before all that was fed has been read."""
        self._read_from(lib.BIO_new_mem_buf(buffer.pointer, size))
        self._lent = buffer

    def take_back(self) -> None:
        """The loan is over: nothing looks into its buffer any more, and what was not read is lost."""
        if self._lent is not None:
            self._read_from(lib.BIO_new(lib.BIO_s_mem()))
            self._lent = None

    def _read_from(self, bio: Any) -> None:
        if bio == NULL:
            raise last_error("out of memory")
        lib.BIO_set_mem_eof_return(bio, -1)
        lib.SSL_set_bio(self._ssl, bio, self._out)  # which frees the one before
        self._in = bio

    def take(self) -> bytes:
        """What the peer is to get now."""
        got = _BIO_read(self._out, _scratch, _SCRATCH_SIZE)
        if got <= 0:
            return b""
        data: bytes = ffi.unpack(_scratch, got)
        if got == _SCRATCH_SIZE:
            data += self.take()
        return data

    def take_into(self, buffer: Buffer) -> int:
        """The same into `buffer`, as much as it holds → how many bytes."""
        return max(0, _BIO_read(self._out, buffer.pointer, buffer.size))

    @property
    def unread(self) -> int:
        """Bytes of the peer's that TLS has not looked at yet."""
        return int(lib.BIO_get_mem_data(self._in, _pointer))

    def peek(self) -> bytes:
        """Those bytes; behind the handshake they begin with a record."""
        size = self.unread
        data: bytes = ffi.unpack(_pointer[0], size) if size > 0 else b""
        return data

    @property
    def outgoing(self) -> int:
        """How many bytes the peer is to get."""
        return int(lib.BIO_get_mem_data(self._out, _pointer))

    # --- cleartext --------------------------------------------------------------------------------------------------

    def shake_hands(self) -> bool:
        """Go on with the handshake → whether it is done. Raises TlsError; `take` then has any alert."""
        result = lib.SSL_do_handshake(self._ssl)
        if result != 1:
            self._stopped(result)
            return False
        lib.ERR_clear_error()  # left over, it would be taken for what went wrong in the next operation
        if self._verify and (code := lib.SSL_get_verify_result(self._ssl)) != lib.X509_V_OK:
            raise self._not_verified(TlsError("certificate verify failed"), code)
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
        data: bytes = ffi.unpack(_scratch, got)
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
        got = lib.SSL_peek(self._ssl, _scratch, 1)
        if got > 0:
            return True
        if not self.ended:
            self._stopped(got)
        return self.ended

    def end(self) -> bool:
        """Say that nothing more is sent (`take` has it) → False in the middle of a new handshake, whose end comes
        first."""
        return lib.SSL_shutdown(self._ssl) >= 0 or last_error("").reason != _SHUTDOWN_WHILE_IN_INIT

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
        error = last_error("unexpected end")
        if error.reason == _CERTIFICATE_VERIFY_FAILED:
            error = self._not_verified(error, lib.SSL_get_verify_result(self._ssl))
        raise error

    def _not_verified(self, error: TlsError, code: int) -> TlsError:
        error.verify_code, error.chain = code, self.chain
        return error

    def _heard_close_notify(self) -> bool:
        """The state tells, and no error: behind user_canceled, which Java says before each close_notify, OpenSSL calls
        it an error of the system. A fatal alert ends the peer's side, too, but leaves an error."""
        if self.failed or lib.ERR_peek_error():
            return False
        return bool(lib.SSL_get_shutdown(self._ssl) & lib.SSL_RECEIVED_SHUTDOWN)

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """Such as "TLSv1.3"."""
        text: str = ffi.string(lib.SSL_get_version(self._ssl)).decode()
        return text

    @property
    def cipher(self) -> str:
        """The cipher suite's name."""
        cipher = lib.SSL_get_current_cipher(self._ssl)
        return "" if cipher == NULL else ffi.string(lib.SSL_CIPHER_get_name(cipher)).decode()

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up the session that was offered."""
        return bool(lib.SSL_session_reused(self._ssl))

    @property
    def session(self) -> Session:
        """The session as it is now, to be offered by another connection of the same context; None for none.

        In TLS 1.3 there is one once a ticket has been read: each makes a new object of the session.
        """
        session = self._session()
        return None if session == self._bare else session

    def _session(self) -> Session:
        session = lib.SSL_get1_session(self._ssl)
        return None if session == NULL else ffi.gc(session, lib.SSL_SESSION_free)

    @property
    def certificate(self) -> bytes | None:
        """The server's, in DER."""
        shown = self._shown()
        return None if shown is None else _written(lib.i2d_X509_bio, shown)

    @property
    def public_key(self) -> bytes | None:
        """The key that the server has proved to have, in DER (SubjectPublicKeyInfo), as OpenSSL itself has understood
        the certificate: another reader could be led to another key in the same bytes. None where it knows no such
        key."""
        shown = self._shown()
        key = NULL if shown is None else lib.X509_get_pubkey(shown)
        return None if key == NULL else _written(lib.i2d_PUBKEY_bio, ffi.gc(key, lib.EVP_PKEY_free))

    def _shown(self) -> Any:
        certificate = lib.SSL_get_peer_certificate(self._ssl)
        return None if certificate == NULL else ffi.gc(certificate, lib.X509_free)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """All that the server has shown, verified or not, in DER, its own first; nothing where a session is resumed."""
        chain = lib.SSL_get_peer_cert_chain(self._ssl)
        if chain == NULL:
            return ()
        return tuple(_written(lib.i2d_X509_bio, lib.sk_X509_value(chain, at)) for at in range(lib.sk_X509_num(chain)))


def _written(write: Callable[[Any, Any], int], what: Any) -> bytes:
    """A certificate, or a key, in DER."""
    bio = lib.BIO_new(lib.BIO_s_mem())
    try:
        if write(bio, what) != 1:
            raise last_error("the certificate can't be written out")
        size = lib.BIO_get_mem_data(bio, _pointer)
        der: bytes = ffi.unpack(_pointer[0], size)
        return der
    finally:
        lib.BIO_free(bio)
