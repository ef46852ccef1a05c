"""How a session carries out what its protocol orders. Nothing here waits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftpsproxy import net
from ftpsproxy.data.connections import DataConnections
from ftpsproxy.ftp import messages, replies
from ftpsproxy.observe import log

if TYPE_CHECKING:
    from ftpsproxy.session.session import Session


def carry_out(session: "Session", order: messages.Order) -> None:
    """Do it at once."""
    _DO[type(order)](session, order)


def _data(session: "Session") -> DataConnections:
    assert session.data is not None  # noqa: S101 - no order for data comes before TLS is up
    return session.data


def _tell_server(session: "Session", order: messages.TellServer) -> None:
    if session.server is not None:
        session.server.send(order.data)
        if order.transfers is not None:
            _data(session).start_tls(order.transfers)


def _tell_status(session: "Session", order: messages.TellStatus) -> None:
    moved = session.data.moved if session.data is not None else 0
    session.client.send(replies.own(211, f"Transfer {order.number} under way, {moved} bytes so far.").encode())


def _want_tls(session: "Session", order: messages.StartTls) -> None:
    session.tls_wanted = True


def _hang_up(session: "Session", order: messages.HangUp) -> None:
    session.over = True
    session.why = order.why
    session.hears_server.interrupt()


def _note_login(session: "Session", order: messages.NoteLogin) -> None:
    log.session_login(user=order.user, ok=order.ok, reply=order.code)
    if not order.ok:
        lately = session.service.refused_login(session.address)
        if lately >= session.service.limits.refused_logins:
            log.session_limit(limit="refused_logins", detail=f"{lately} of this client lately")
            session.feed(messages.Stopped("Too many refused logins from your address, closing."))


def _note_unproved(session: "Session", order: messages.NoteUnproved) -> None:
    log.upstream_close_notify_missing(verb=order.verb, again=session.unproved)
    session.unproved = True


def _note_address(session: "Session", order: messages.NoteAddress) -> None:
    peer = net.unzoned(session.server.peer) if session.server is not None else ""
    log.upstream_address_ignored(reply_host=order.host, peer=peer)


_DO: dict[type[messages.Order], Callable[["Session", Any], None]] = {
    messages.TellClient: lambda session, order: session.client.send(order.reply.encode()),
    messages.TellLines: lambda session, order: session.client.send(b"\r\n".join((*order.lines, b""))),
    messages.TellServer: _tell_server,
    messages.TellStatus: _tell_status,
    messages.StartTls: _want_tls,
    messages.ListenForClient: lambda session, order: _data(session).listen_for_client(),
    messages.ConnectToClient: lambda session, order: _data(session).connect_to_client(order),
    messages.ConnectToServer: lambda session, order: _data(session).connect_to_server(order),
    messages.ListenForServer: lambda session, order: _data(session).listen_for_server(order),
    messages.ListenToData: lambda session, order: _data(session).listen(),
    messages.LeaveData: lambda session, order: _data(session).leave(),
    messages.DropData: lambda session, order: _data(session).drop(),
    messages.DropServerEnd: lambda session, order: _data(session).drop_server_end(order),
    messages.BeginData: lambda session, order: _data(session).begin(order),
    messages.EndData: lambda session, order: _data(session).end(order),
    messages.EndInBand: lambda session, order: _data(session).end_in_band(order),
    messages.HangUp: _hang_up,
    messages.NoteLogin: _note_login,
    messages.NoteRefused: lambda session, order: log.upstream_failed(reason=order.reason, detail=order.detail),
    messages.NoteAddress: _note_address,
    messages.NoteReuse: lambda session, order: log.upstream_session_reuse_refused(
        reply=order.reply, hint=_data(session).not_resumed()
    ),
    messages.NoteLimit: lambda session, order: log.session_limit(limit=order.limit, detail=order.detail),
    messages.NoteForeign: lambda session, order: log.session_foreign(protocol=order.protocol),
    messages.NoteCommand: lambda session, order: log.command_refused(verb=order.verb, reason=order.why),
    messages.NoteReply: lambda session, order: log.upstream_reply_ignored(reply=order.reply, reason=order.why),
    messages.NoteUnproved: _note_unproved,
    messages.NoteNoTransfer: lambda session, order: log.transfer_refused(
        verb=order.command.verb.decode(), path=order.command.shown, reply=order.reply.code, text=order.reply.text
    ),
    messages.NoteData: lambda session, order: log.data_failed(side=order.side, mode=order.mode, reason=order.why),
}
