"""How a session carries out what its protocol orders. Nothing here waits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftpsproxy import net
from ftpsproxy.data.connections import DataConnections
from ftpsproxy.ftp import replies
from ftpsproxy.ftp.charsets import reply_to_client, to_client
from ftpsproxy.ftp.events import Stopped
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToClient,
    ConnectToServer,
    Dial,
    DropEndpoints,
    DropServerEndpoint,
    FinishInBand,
    FinishTransfer,
    HangUp,
    LeaveServer,
    ListenForClient,
    ListenForServer,
    NoteAddressIgnored,
    NoteCloseNotifyMissing,
    NoteCommandRefused,
    NoteDataFailed,
    NoteFileChanged,
    NoteForeign,
    NoteLimit,
    NoteLogin,
    NoteNotUtf8,
    NoteReplyIgnored,
    NoteReuseRefused,
    NoteTransferRefused,
    NoteTurnedAway,
    NoteUpstreamFailed,
    Order,
    ProbeData,
    StartDataTls,
    StartTls,
    StopProbing,
    TellClient,
    TellLines,
    TellServer,
    TellStatus,
)
from ftpsproxy.observe import log

if TYPE_CHECKING:
    from ftpsproxy.session.session import Session


def _data(session: "Session") -> DataConnections:
    assert session.data is not None  # noqa: S101 - no order for data comes before TLS is up
    return session.data


def _tell_server(session: "Session", order: TellServer) -> None:
    if session.server is not None:
        session.server.send(order.data)


def _tell_client(session: "Session", order: TellClient) -> None:
    charsets, reply, left_out = session.service.policy.charsets, order.reply, 0
    if charsets.client_charset is not None:
        reply, left_out = reply_to_client(charsets, reply)
    _note_left_out(left_out)
    session.client.send(reply.encode())


def _tell_lines(session: "Session", order: TellLines) -> None:
    lines, left_out = to_client(session.service.policy.charsets, order.lines, names=True)
    _note_left_out(left_out)
    session.client.send(b"".join(line + b"\r\n" for line in lines))


def _note_left_out(count: int) -> None:
    if count:
        log.session_names_left_out(verb="STAT", count=count)


def _tell_status(session: "Session", order: TellStatus) -> None:
    moved = session.data.moved if session.data is not None else 0
    session.client.send(replies.own(211, f"Transfer {order.number} under way, {moved} bytes so far.").encode())


def _want_tls(session: "Session", order: StartTls) -> None:
    session.tls_wanted = True


def _hang_up(session: "Session", order: HangUp) -> None:
    session.over = True
    session.end = order
    session.server_hearing.interrupt()


def _note_limit(session: "Session", order: NoteLimit) -> None:
    session.show()
    log.session_limit(limit=order.limit, detail=order.detail)


def _note_foreign(session: "Session", order: NoteForeign) -> None:
    session.show()
    log.session_foreign(protocol=order.protocol)


def _note_command_refused(session: "Session", order: NoteCommandRefused) -> None:
    session.show()
    log.command_refused(verb=order.verb, detail=order.why, argument=order.argument or None)


def _note_turned_away(session: "Session", order: NoteTurnedAway) -> None:
    session.turned_away(order.limit, order.text)


def _note_login(session: "Session", order: NoteLogin) -> None:
    log.session_login(user=order.user, ok=order.ok, reply=order.code)
    if not order.ok:
        lately = session.service.refused_login(session.address)
        if lately >= session.service.limits.refused_logins:
            log.session_limit(limit="refused_logins", detail=f"{lately} of this client lately")
            session.feed(Stopped("Too many refused logins from your address, closing."))


def _note_unproved(session: "Session", order: NoteCloseNotifyMissing) -> None:
    log.upstream_close_notify_missing(verb=order.verb, again=session.unproved)
    session.unproved = True


def _note_address(session: "Session", order: NoteAddressIgnored) -> None:
    peer = net.unzoned(session.server.peer) if session.server is not None else ""
    log.upstream_address_ignored(reply_host=order.host, server_address=peer)


CARRY_OUT: dict[type[Order], Callable[["Session", Any], None]] = {
    TellClient: _tell_client,
    TellLines: _tell_lines,
    TellServer: _tell_server,
    StartDataTls: lambda session, order: _data(session).start_tls(order.direction),
    TellStatus: _tell_status,
    Dial: lambda session, order: session.server_hearing.dial(),
    LeaveServer: lambda session, order: session.server_hearing.leave(),
    StartTls: _want_tls,
    ListenForClient: lambda session, order: _data(session).listen_for_client(),
    ConnectToClient: lambda session, order: _data(session).connect_to_client(order),
    ConnectToServer: lambda session, order: _data(session).connect_to_server(order),
    ListenForServer: lambda session, order: _data(session).listen_for_server(order),
    ProbeData: lambda session, order: _data(session).listen(),
    StopProbing: lambda session, order: _data(session).leave(),
    DropEndpoints: lambda session, order: _data(session).drop(),
    DropServerEndpoint: lambda session, order: _data(session).drop_server_end(order),
    BeginTransfer: lambda session, order: _data(session).begin(order),
    FinishTransfer: lambda session, order: _data(session).end(order),
    FinishInBand: lambda session, order: _data(session).end_in_band(order),
    HangUp: _hang_up,
    NoteLogin: _note_login,
    NoteUpstreamFailed: lambda session, order: log.upstream_failed(
        cause=order.reason, detail=order.detail, shown=order.shown
    ),
    NoteAddressIgnored: _note_address,
    NoteReuseRefused: lambda session, order: log.upstream_session_reuse_refused(
        said=order.reply, hint=_data(session).not_resumed()
    ),
    NoteLimit: _note_limit,
    NoteForeign: _note_foreign,
    NoteTurnedAway: _note_turned_away,
    NoteCommandRefused: _note_command_refused,
    NoteReplyIgnored: lambda session, order: log.upstream_reply_ignored(said=order.reply, why=order.why),
    NoteCloseNotifyMissing: _note_unproved,
    NoteTransferRefused: lambda session, order: log.transfer_refused(
        verb=order.command.verb.decode(),
        path=order.command.shown,
        reply=order.reply.code,
        text=order.reply.text,
        place=order.place,
    ),
    NoteFileChanged: lambda session, order: log.file_changed(order.change, reply=order.code, place=order.place),
    NoteNotUtf8: lambda session, order: log.session_name_not_utf8(
        verb=order.command.verb.decode(), path=order.command.shown
    ),
    NoteDataFailed: lambda session, order: log.data_failed(order.failure),
}
"""What is done about an order, at once."""
