"""The engine: OpenSSL over memory, large socket reads, one task per transfer.

At most one buffer of 256 KiB of ciphertext and one of cleartext is held per transfer, beside what the kernel holds; a
side that does not take bytes stops the reading from the other.
"""

import contextlib
from collections.abc import Callable

from ftpsproxy import errors, net, reactor
from ftpsproxy.net import Socket
from ftpsproxy.relay.contract import Flow, Pace, RelayError
from ftpsproxy.relay.departure import Departure
from ftpsproxy.relay.records import Records
from ftpsproxy.relay.waiting import LOOK_SECONDS, Look, Source, readable, writable
from ftpsproxy.tls import Buffer, Tls, TlsError

BUFFER = 256 * 1024
# A side that never makes us wait would never let others run: so much ciphertext, or so many small records, are a turn.
_TURN = 512 * 1024
_SMALL_TURN = 8 * 1024
# What is read at a time of a server that sends hardly any data in its TLS: OpenSSL takes it all in one go.
_SMALL = 8 * 1024
_KEPT = 16
# What a client has said before the end of its data, ABOR perhaps, is heard by its session in the next look at all
# sockets.
_TURNS_TO_BE_HEARD = 2
# An end counts as one byte; one that is not acknowledged takes nothing from the data before it.
_END = 1
# A server that has something to negotiate in mid-upload says more before long: for so long it is looked at that often.
_TALK_SECONDS = 5.0
_TALK_LOOK_SECONDS = 0.05
# Of what servers say during an upload, tickets and alerts, at a time; and at most at once behind it.
_HEARD = 4096
_MOST_BEHIND = 16 * _HEARD

_pool: list[Buffer] = []


def _take() -> Buffer:
    return _pool.pop() if _pool else Buffer(BUFFER)


def _give(*buffers: Buffer) -> None:
    if len(_pool) < _KEPT:
        _pool.extend(buffers)


async def _send(sock: Socket, data: memoryview | bytes, stall: float, side: str, look: Look, flags: int = 0) -> bool:
    """Send all of `data` → whether it had to wait. Raises RelayError."""
    waited = False
    view = memoryview(data)
    while True:
        try:
            sent = sock.send(view, flags)
        except BlockingIOError:
            waited = True
            await writable(sock, stall, f"the {side} took no bytes for {stall:g} seconds", look)
            continue
        except OSError as error:
            raise RelayError(426, f"the {side} broke the data connection: {errors.words(error)}") from None
        if sent == len(view):
            return waited
        view = view[sent:]


async def download(client: Socket, server: Socket, tls: Tls, records: Records, flow: Flow, pace: Pace) -> None:
    """Server to client, until the server's end; the client's end of file is left to the caller. `records` has been fed
    all that has come.

    Raises RelayError: for a reset, a stall, a broken record, and an end without close_notify where `pace` or the place
    of the cut forbids it. `flow.close_notify` tells how it ended.
    """
    raw, clear = _take(), _take()
    source = Source(server)
    turn = got = 0
    most = BUFFER

    def look_at_client() -> None:
        if net.is_broken(client):
            raise RelayError(426, "the client broke the data connection")

    def look_at_server() -> None:
        pass

    try:
        while True:
            filled = _read(tls, clear)
            if tls.outgoing:
                await _flush(server, tls, pace, look_at_client)  # a new handshake (TLS 1.2), new keys (1.3)
            small = filled * 4 < got
            most = _SMALL if small else BUFFER
            turn += got * (_TURN // _SMALL_TURN) if small else got
            if not filled:
                flow.note_aside(got)
            got = 0
            if filled:
                flow.asides = 0
                data = clear.view[:filled]
                flow.count(data)
                if await _send(client, data, pace.client_stall, "client", look_at_server):
                    turn = 0
            if tls.ended:
                flow.close_notify = True
                _answer_close_notify(server, tls)
                return
            if filled == BUFFER:
                continue
            if turn >= _TURN:
                turn = 0
                await reactor.turn()
            try:
                got = server.recv_into(raw.view[:most])
            except BlockingIOError:
                turn = 0
                why = f"the server sent no data for {pace.server_stall:g} seconds"
                await source.wait(pace.server_stall, why, look_at_client)
                continue
            except OSError as error:
                if flow.at_end or (pace.close_notify == "ignore" and records.whole):
                    flow.close_notify = False
                    return
                raise RelayError(426, f"the server broke the data connection: {errors.words(error)}") from None
            if not got:
                flow.close_notify = False
                if not records.whole:
                    raise RelayError(426, "the server's data ended in the middle of a TLS record")
                if pace.close_notify == "require":
                    raise RelayError(426, "the server's data ended without close_notify, so it may be cut")
                _answer_close_notify(server, tls)  # a server that lingers in its close waits for ours
                return
            source.took(got)
            records.feed(raw.view[:got])
            tls.lend(raw, got)
    finally:
        tls.take_back()
        _give(raw, clear)


def _read(tls: Tls, buffer: Buffer) -> int:
    """Cleartext that is there → how much. Raises RelayError."""
    try:
        return tls.read(buffer)
    except TlsError as error:
        raise RelayError(426, f"TLS on the data connection failed: {error}") from None


def _answer_close_notify(server: Socket, tls: Tls) -> None:
    """At once, whatever the client does: some servers wait for it before they say 226."""
    try:
        server.send(tls.close_notify(), net.MSG_MORE)
        server.shutdown(net.SHUT_WR)
    except OSError:
        pass  # it has closed already; its data was whole


class _Done(Exception):
    """The server has ended an upload whose data had said its end."""


async def upload(client: Socket, server: Socket, tls: Tls, flow: Flow, pace: Pace, departure: Departure) -> None:
    """Client to server, until the client's end; then close_notify and FIN.

    Raises RelayError, also where `departure` finds that a client that is gone was not done. What the server sends
    meanwhile is read: tickets left unread would turn close into a reset, and a TLS 1.2 renegotiation waits for an
    answer.
    """
    sealed, clear = _take(), _take()
    source = Source(client)
    turn = 0
    talk_until = 0.0

    def hear_server() -> None:
        nonlocal turn
        turn += _hear(server, tls, flow) * (_TURN // _SMALL_TURN)

    def look_at_both() -> bool:
        hear_server()
        if not flow.at_end:
            departure.look(flow.bytes)
        return tls.outgoing > 0

    async def negotiate() -> None:
        await _flush(server, tls, pace, hear_server)
        why = f"the server did not go on with TLS for {pace.server_stall:g} seconds"
        await readable(server, pace.server_stall, why, hear_server)
        hear_server()

    try:
        _hear_tls(tls, flow)  # an alert may have come in one piece with the end of the handshake
        while True:
            try:
                got = client.recv_into(clear.view)
            except BlockingIOError:
                turn = 0
                if look_at_both():  # the server negotiates anew (TLS 1.2), and waits for the answer
                    await _flush(server, tls, pace, hear_server)
                    talk_until = reactor.now() + _TALK_SECONDS
                why = f"the client sent no data for {pace.client_stall:g} seconds"
                every = _TALK_LOOK_SECONDS if reactor.now() < talk_until else LOOK_SECONDS
                await source.wait(pace.client_stall, why, look_at_both, every=every)
                continue
            except OSError as error:
                raise RelayError(426, f"the client broke the data connection: {errors.words(error)}") from None
            if not got:
                break
            source.took(got)
            flow.count(clear.view[:got])
            while not _write(tls, clear, got):
                # TLS 1.2: the server negotiates anew and wants an answer before anything else.
                await negotiate()
                turn = 0
            while size := tls.take_into(sealed):
                if await _send(server, sealed.view[:size], pace.server_stall, "server", hear_server):
                    turn = 0
            hear_server()
            turn += got
            if turn >= _TURN:
                turn = 0
                await reactor.turn()
        for _ in range(_TURNS_TO_BE_HEARD if departure.unheard else 0):
            await reactor.turn()
        if not flow.at_end:
            departure.end(flow.bytes)
        while not tls.end():
            await negotiate()
        try:
            await _send(server, tls.take(), pace.server_stall, "server", hear_server, net.MSG_MORE)
            server.shutdown(net.SHUT_WR)
        except OSError as error:
            raise RelayError(426, f"the server broke the data connection: {errors.words(error)}") from None
        except RelayError:
            if not _has_all(server, flow):
                raise
    except _Done:
        pass
    finally:
        _give(sealed, clear)


async def _flush(server: Socket, tls: Tls, pace: Pace, look: Look) -> None:
    """Send what TLS itself has to say."""
    if data := tls.take():
        await _send(server, data, pace.server_stall, "server", look)


def _write(tls: Tls, buffer: Buffer, size: int) -> bool:
    """Seal what is in `buffer`, all of it → False when TLS must read first. Raises RelayError."""
    try:
        return tls.write_from(buffer, size)
    except TlsError as error:
        raise RelayError(426, f"TLS on the data connection failed: {error}") from None


def _has_all(server: Socket, flow: Flow) -> bool:
    """Whether a file has ended whose end stands in its data, and the server's kernel has taken it: how the connection
    ends is of no account then."""
    return flow.at_end and net.unsent(server) <= _END


def _hear(server: Socket, tls: Tls, flow: Flow) -> int:
    """Take what the server has sent on an upload's data connection → how many bytes. Raises RelayError when it ends or
    fails, _Done when it may.

    In TLS 1.3 its close_notify alone ends its own side only (RFC 8446 section 6.1).
    """
    try:
        data = server.recv(_HEARD)
    except BlockingIOError:
        return 0
    except OSError as error:
        if _has_all(server, flow):
            raise _Done from None
        raise RelayError(426, f"the server broke the data connection: {errors.words(error)}") from None
    if not data:
        if flow.at_end:
            raise _Done
        raise RelayError(426, "the server closed the data connection before the upload had ended")
    flow.note_aside(len(data))
    if tls.ended:
        return len(data)
    tls.feed(data)
    _hear_tls(tls, flow)
    return len(data)


def _read_all(tls: Tls, when: str = "") -> None:
    """Look at all that was fed; of an upload's server it is no data. Raises RelayError."""
    try:
        while tls.read_some():
            pass
    except TlsError as error:
        raise RelayError(426, f"TLS on the data connection failed{when}: {error}") from None


def _hear_tls(tls: Tls, flow: Flow) -> None:
    """What an upload's server has said, in TLS. Raises RelayError and _Done as `_hear` does."""
    _read_all(tls)
    if tls.ended and tls.version != "TLSv1.3":
        if flow.at_end:
            raise _Done
        raise RelayError(426, "the server ended the upload before the client had")


async def drain(server: Socket, tls: Tls, flow: Flow, limit: Callable[[], float]) -> None:
    """Behind an upload: read until the server's end, so that no unread byte turns our close into a reset.

    Raises RelayError as `hear_behind` does. Ends at `limit()`, which is looked at for each wait: the final reply sets
    it.
    """
    while True:
        try:
            if not _hear_behind(server, tls, flow):
                return
        except BlockingIOError:
            if not await reactor.readable(server, limit()):
                return
            continue
        await reactor.turn()
        if reactor.now() >= limit():
            return


def hear_behind(server: Socket, tls: Tls, flow: Flow) -> None:
    """Take what the server has said behind an upload and `drain` has not read yet: its 226 may have been read first.

    Raises RelayError when the server broke the connection without having taken all, or says by an alert that it could
    not read it: its 226 would be a lie.
    """
    with contextlib.suppress(BlockingIOError):
        for _ in range(_MOST_BEHIND // _HEARD):
            if not _hear_behind(server, tls, flow):
                return
        raise RelayError(426, f"the server sent more than {_MOST_BEHIND} bytes behind the upload")


def _hear_behind(server: Socket, tls: Tls, flow: Flow) -> bool:
    """Take what has come → whether more may. Raises BlockingIOError when nothing has, and RelayError."""
    try:
        data = server.recv(_HEARD)
    except BlockingIOError:
        raise
    except OSError as error:
        if net.unsent(server) > _END:  # which stays as it was when the connection broke
            why = f"the server broke the data connection before the end: {errors.words(error)}"
            raise RelayError(426, why) from None
        return False
    if not data:
        if not flow.at_end and net.is_broken(server) and net.unsent(server) > _END:
            # Behind a FIN recv tells of no RST any more.
            raise RelayError(426, "the server broke the data connection before the end")
        flow.close_notify = bool(flow.close_notify)
        return False
    flow.note_aside(len(data))
    if flow.close_notify is None:
        tls.feed(data)
        _read_all(tls, " behind the upload")
        flow.close_notify = tls.ended or None
    return True
