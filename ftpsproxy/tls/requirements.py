"""What an upstream must prove, and how we prove ourselves, from its settings."""

import ssl
from pathlib import Path

from ftpsproxy import errors
from ftpsproxy.config import Upstream
from ftpsproxy.tls import certificate
from ftpsproxy.tls.binding import TlsError
from ftpsproxy.tls.certificate import Certificate
from ftpsproxy.tls.connection import Connection
from ftpsproxy.tls.context import Context
from ftpsproxy.tls.errors import Refused


class TlsConfigError(Exception):
    """The TLS settings of an upstream can't work; `str()` is one plain line."""


def build_context(upstream: Upstream) -> Context:
    """The context for all connections to `upstream`. Raises TlsConfigError."""
    where = f"upstream {upstream.name}"
    by_chain = upstream.verify == "chain"
    if not by_chain and not upstream.pins:
        raise TlsConfigError(f'{where}: verify = "pin" needs pins = ["sha256/..."]')
    context = Context(
        verify=by_chain,  # else `check_pins` verifies, on every full handshake
        minimum=upstream.tls_min,
        maximum=upstream.tls_max,
        alpn=b"ftp" if upstream.alpn else b"",  # against cross-protocol attacks (ALPACA)
    )
    if by_chain:
        _trust(context, upstream, where)
    if upstream.cert_file is not None:
        _identify(context, upstream.cert_file, upstream.key_file, where)
    try:
        context.connect(upstream.server_name)
    except (TlsError, UnicodeError) as error:
        raise TlsConfigError(f"{where}: server_name {upstream.server_name} can't be used: {error}") from None
    return context


def certificate_of(tls: Connection) -> Certificate:
    """The server's certificate. Raises Refused when there is none or it can't be read."""
    der, key = tls.certificate, tls.public_key
    if der is None or key is None:
        raise Refused("no_certificate", "the server showed no certificate, or none with a key that is known here")
    try:
        return certificate.read(der, key)
    except ValueError as error:
        raise Refused("certificate", f"the server's certificate can't be read: {error}") from None


def check_pins(tls: Connection, pins: tuple[str, ...]) -> None:
    """Raises Refused unless the server's certificate, or its key, is one of `pins` (none: any)."""
    if pins and not (shown := certificate_of(tls)).is_among(pins):
        raise Refused("wrong_pin", f"the server's certificate is not among the pins. Shown: {shown.words}", shown)


def _trust(context: Context, upstream: Upstream, where: str) -> None:
    if upstream.ca_file is None:
        # Where the system keeps its roots is for the system's own OpenSSL to say, not for the one used here.
        system = ssl.get_default_verify_paths()
        if system.cafile or system.capath:
            try:
                context.trust(system.cafile, system.capath)
            except TlsError as error:
                what = system.cafile or system.capath
                raise TlsConfigError(f"{where}: the system's roots {what} can't be used: {error}") from None
    else:
        _load(context, upstream.ca_file, f"{where}: ca_file")
    if upstream.crl_file is not None:
        _check_lists(upstream.crl_file, f"{where}: crl_file")
        _load(context, upstream.crl_file, f"{where}: crl_file")
        context.check_revocation()


def _check_lists(file: Path, what: str) -> None:
    """OpenSSL would take certificates from it, too, and trust them."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TlsConfigError(f"{what} {file} can't be used: {_words(error)}") from None
    if b"CERTIFICATE-----" in content:
        raise TlsConfigError(f"{what} {file} can't be used: it holds a certificate, which belongs into ca_file")
    if b"-----BEGIN X509 CRL-----" not in content:
        raise TlsConfigError(f"{what} {file} can't be used: no revocation list in it")


def _load(context: Context, file: Path, what: str) -> None:
    try:
        _readable(file)
        if cure := _cure(file.read_bytes()[:_BEGINNING]):
            raise TlsConfigError(f"{what} {file} can't be used: it is {cure.format(file=file)}")
        context.trust(file)
    except (OSError, TlsError) as error:
        raise TlsConfigError(f"{what} {file} can't be used: {_words(error)}") from None


def _identify(context: Context, file: Path, key: Path | None, where: str) -> None:
    try:
        if b"CERTIFICATE-----" not in file.read_bytes():
            raise TlsConfigError(f"no certificate in {file} (PEM is wanted)")
        content = (key or file).read_bytes()
        if b"PRIVATE KEY-----" not in content:
            raise TlsConfigError(f"no private key in {key or file} (PEM is wanted)")
        if b"ENCRYPTED" in content:
            raise TlsConfigError("the key is encrypted; give one without a passphrase, readable by this user only")
        context.identify(file, key or file)
    except (OSError, TlsError, TlsConfigError) as error:
        with_key = f" with key {key}" if key else ""
        raise TlsConfigError(f"{where}: cert_file {file}{with_key} can't be used: {_words(error)}") from None


_BEGINNING = 4096
_PKCS7 = bytes.fromhex("06092a864886f70d010702")  # id-signedData, RFC 2315 section 14


def _cure(content: bytes) -> str:
    """What a file is that should be PEM, and how it becomes so; "" for one that may be."""
    if b"-----BEGIN PKCS7-----" in content:
        return "PKCS#7, and PEM certificates are wanted: openssl pkcs7 -print_certs -in {file} -out {file}.pem"
    if b"-----BEGIN" in content or not content.startswith(b"\x30"):
        return ""
    if _PKCS7 in content[:64]:
        return (
            "PKCS#7 in DER, and PEM certificates are wanted: "
            "openssl pkcs7 -inform der -print_certs -in {file} -out {file}.pem"
        )
    return "DER, and PEM is wanted: openssl x509 -inform der -in {file} -out {file}.pem"


def _readable(file: Path) -> None:
    """Raises OSError, whose words are plainer than OpenSSL's."""
    file.open("rb").close()


def _words(error: Exception) -> str:
    return errors.words(error) if isinstance(error, OSError) else str(error)
