"""TLS contexts of the misbehaving server: one per session, so that no ticket of another session is worth anything."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
import threading
import warnings
from functools import lru_cache
from pathlib import Path

from tests.support.hostile.quirks import Handshake, Quirks
from tests.support.hostile.seen import SeenData, SeenSession

_warnings_lock = threading.Lock()


@lru_cache(maxsize=1)
def _scratch() -> str:
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="ftpsproxy-hostile-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build(certificate: Path, key: Path, quirks: Quirks, seen: SeenSession | SeenData) -> ssl.SSLContext:
    """Return a fresh server context as `quirks` wants it; the name asked for (SNI) is noted in `seen`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if quirks.handshake is Handshake.OLD_TLS:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        context.maximum_version = quirks.tls_max
    if quirks.asides or quirks.control_asides or quirks.flood_record or "alert" in quirks.deeds:
        context.keylog_filename = str(Path(tempfile.mkdtemp(dir=_scratch())) / "secrets")
    if not quirks.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    if quirks.ciphers:
        context.set_ciphers(quirks.ciphers)
    if quirks.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(quirks.client_ca)
    if quirks.alpn:
        context.set_alpn_protocols(list(quirks.alpn))

    def note_name(_tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        seen.server_name = name
        if quirks.strict_sni is not None and name != quirks.strict_sni:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    context.sni_callback = note_name
    return context
