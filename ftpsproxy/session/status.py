"""What there is to see of a session at this moment."""

from typing import Any

from ftpsproxy.data.transfer import Transfer
from ftpsproxy.session.session import Session


def status(session: Session, *, paths: bool) -> dict[str, Any]:
    """Of one session, in the types of JSON and by the names of the log; `paths`: with the names of files."""
    service, mine = session.service, session.bound
    found: dict[str, Any] = {
        "client": session.address,
        "listener": service.listener.name,
        "upstream": service.upstream.name,
        "waits_for": session.protocol.waiting.value,
        "seconds": round(session.seconds, 1),
    }
    if mine is not None:
        found |= {"session": mine.named["session"], "user": mine.user, **mine.server}
    if session.server is not None and (tls := session.server.tls) is not None:
        found |= {"tls_version": tls.version, "cipher": tls.cipher}
    if session.data is not None:
        totals = session.data.totals
        found |= {"transfers": totals.transfers, "torn": totals.torn}
        if (transfer := session.data.transfer) is not None and transfer.order is not None:
            found["transfer"] = _transfer(transfer, paths=paths)
    return found


def _transfer(transfer: Transfer, *, paths: bool) -> dict[str, Any]:
    order, seconds = transfer.order, transfer.account.seconds
    if order is None:
        return {}
    return {
        "number": order.number,
        "verb": order.verb.decode(),
        "direction": transfer.direction.value,
        "bytes": transfer.flow.bytes,
        "seconds": round(seconds, 3),
    } | ({"path": order.path} if paths else {})
