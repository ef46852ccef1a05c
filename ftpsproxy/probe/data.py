"""Data connections of a session: how they are reached, whether TLS sessions are resumed on them, how they end.

They go to the control connection's peer whatever a reply says, and nothing passes over them but under TLS that resumes
the control connection's session, or is verified anew.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ftpsproxy import errors, net
from ftpsproxy.ftp import addresses
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.net import now
from ftpsproxy.probe.link import HANDSHAKE_SECONDS, quoted
from ftpsproxy.probe.session import Session
from ftpsproxy.tls import Refused, Tls, TlsError, check_pins, explain
from ftpsproxy.tls.handshake import shake_hands

CONNECT_SECONDS = 7.0  # below timeouts.data_connect, of which EPSV may take half
STALL_SECONDS = 15.0
_TRANSFER_SECONDS = 90.0
_AFTER_FAILURE_SECONDS = 10.0
_LINGER_SECONDS = 5.0
_CHUNK = 16384
_RECEIVED = 65536
_LOWEST_PORT = 1024  # as the gateway
ACTIVE = ("eprt", "port")
_NOTHING_THERE = (450, 550)  # an empty folder, here and there
_DECLINED = (450, 500, 501, 502, 504, 530, 532, 550, 553)  # the command itself; not its data connection


class NoWay(Exception):
    """There is no data connection to be had this way; `str()` says why in one line."""


Way = Callable[[], Awaitable[net.Socket]]
"""What brings a prepared data connection, once its command has been sent."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a transfer is to do: `upload` is sent, or what comes is counted, and its first `keep` bytes kept. `resume`:
    the session is offered."""

    command: str
    resume: bool = True
    upload: bytes | None = None
    keep: int = 0


@dataclass(slots=True)
class Moved:
    """What became of one transfer. `failed` is what went wrong on the data connection, in words."""

    reply: Reply | None = None
    secured: bool = False
    resumed: bool = False
    size: int = 0
    close_notify: bool = False
    milliseconds: float = 0.0  # from the command to the end of the data
    final_milliseconds: float = 0.0  # and from there to the final reply
    failed: str = ""
    received: bytes = b""

    @property
    def well(self) -> bool:
        """Whether it went through; that there was nothing to list is no failure."""
        if self.reply is None or self.failed:
            return False
        return self.secured and (self.reply.good or self.reply.code in _NOTHING_THERE)

    @property
    def declined(self) -> bool:
        """Whether the server refused the command before its data connection mattered."""
        return self.reply is not None and self.reply.code in _DECLINED and not self.secured

    @property
    def words(self) -> str:
        """What went wrong."""
        said = "" if self.reply is None or self.reply.good else quoted(self.reply)
        return "; ".join(one for one in (said, self.failed) if one) or "no data connection came about"


async def prepare(session: Session, mode: str, command: str) -> tuple[Way, str]:
    """The way to the next data connection, and where it leads. Raises NoWay, Refused."""
    if mode in ACTIVE:
        return await _prepare_active(session, mode)
    reply = await session.link.ask(mode.upper())
    if reply.refused and b"PRET" in reply.words.upper():
        await session.link.ask(f"PRET {command}")
        reply = await session.link.ask(mode.upper())
    if not reply.good:
        raise NoWay(f"{mode.upper()}: {quoted(reply)}")
    try:
        if reply.code == 229 or not addresses.has_passive(reply.words):
            named = addresses.Endpoint(session.peer, addresses.parse_extended_passive(reply.words))
        else:
            named = addresses.parse_passive(reply.words)
    except ProtocolError as error:
        raise NoWay(f"{mode.upper()}: {error}: {quoted(reply)}") from None
    if named.port < _LOWEST_PORT:
        raise NoWay(f"{mode.upper()} names port {named.port}; below {_LOWEST_PORT} is refused")
    try:
        sock = await _connect(session, named.port)
    except NoWay as error:
        raise NoWay(f"{mode.upper()}: {error}") from None

    async def connected() -> net.Socket:
        return sock

    return connected, net.unzoned(str(named.host)) + f" port {named.port}"


async def _connect(session: Session, port: int) -> net.Socket:
    where = f"{net.unzoned(session.peer)} port {port}"
    try:
        with trio.fail_after(CONNECT_SECONDS):
            family, sockaddr = net.numeric(session.peer, port)
            sock = net.start_connecting(family, sockaddr, session.link.control.local)
            await net.finish_connecting(sock)
    except trio.TooSlowError:
        raise NoWay(f"no answer from {where} in {CONNECT_SECONDS:g} s") from None
    except OSError as error:
        raise NoWay(f"{where}: {errors.words(error)}") from None
    return sock


async def _prepare_active(session: Session, mode: str) -> tuple[Way, str]:
    control = session.link.control
    try:
        listener = net.listen(control.local, 0)
        here = addresses.Endpoint(addresses.plain(control.local), listener.getsockname()[1])
    except (OSError, ProtocolError) as error:
        raise NoWay(f"no port to listen on: {error}") from None
    try:
        if mode == "port" and here.v6:
            raise NoWay("PORT knows no IPv6")
        named = addresses.render_port(here) if mode == "port" else addresses.render_eprt(here)
        reply = await session.link.ask(f"{mode.upper()} {named.decode('ascii')}")
        if not reply.good:
            raise NoWay(f"{mode.upper()}: {quoted(reply)}")
    except BaseException:
        net.close(listener)
        raise

    async def accepted() -> net.Socket:
        try:
            with trio.fail_after(CONNECT_SECONDS):
                while True:
                    sock, peer = await net.accepted(listener)
                    if peer == net.unzoned(session.peer):
                        return sock
                    net.reset(sock)
        except trio.TooSlowError:
            raise NoWay(f"the server opened no connection to {here} in {CONNECT_SECONDS:g} s") from None
        finally:
            net.close(listener)

    return accepted, str(here)


async def transfer(session: Session, way: Way, job: Job) -> Moved:
    """One transfer. Raises Refused where the control connection is of no use any more."""
    moved, began = Moved(), now()
    data = _Data(session, way, moved, job)
    lost: Refused | None = None

    async def run() -> None:
        await data.run()
        moved.milliseconds = round((now() - began) * 1000, 1)
        if moved.failed:
            limit.deadline = min(limit.deadline, now() + _AFTER_FAILURE_SECONDS)

    with trio.move_on_after(_TRANSFER_SECONDS) as limit:
        async with trio.open_nursery() as nursery:
            session.link.send(job.command)
            nursery.start_soon(run)
            try:
                moved.reply = await _final(session, job.command)
            except Refused as error:
                lost = error
            if data.over:
                moved.final_milliseconds = round((now() - began) * 1000 - moved.milliseconds, 1)
            elif lost is not None or (moved.reply is not None and moved.reply.refused):
                nursery.cancel_scope.cancel()
    if lost is None and moved.reply is None:
        # It may come yet, and be taken for the answer to the next command.
        lost = Refused("timeout", "no final reply from the server")
    if lost is not None:
        raise Refused(lost.reason, f"{moved.failed}; {lost.detail}" if moved.failed else lost.detail)
    if limit.cancelled_caught:
        moved.failed = moved.failed or f"it was not over in {_TRANSFER_SECONDS:g} s"
    return moved


async def _final(session: Session, command: str) -> Reply:
    return await session.link.final(f"the final reply to {command.partition(' ')[0]}", _TRANSFER_SECONDS)


class _Data:
    """The data connection of one transfer; `run` never fails: what goes wrong is kept in `moved`."""

    def __init__(self, session: Session, way: Way, moved: Moved, job: Job) -> None:
        self._session = session
        self._way = way
        self._moved = moved
        self._job = job
        self.over = False

    async def run(self) -> None:
        session, moved = self._session, self._moved
        sock: net.Socket | None = None
        offered = session.resumption.offer() if self._job.resume else None
        tls = session.context.connect(session.upstream.server_name, offered)
        try:
            sock = await self._way()
            with trio.fail_after(HANDSHAKE_SECONDS):
                await shake_hands(sock, tls)
            if not tls.resumed:
                check_pins(tls, session.upstream.pins)
            moved.secured, moved.resumed = True, tls.resumed
            upload = self._job.upload
            await (self._receive(sock, tls) if upload is None else self._send(sock, tls, upload))
            session.resumption.learn(tls)
        except NoWay as error:
            moved.failed = str(error)
        except trio.TooSlowError:
            moved.failed = "it stalled" if moved.secured else "the TLS handshake was not finished in time"
        except (TlsError, OSError, Refused) as error:
            moved.failed = _words(error, session, secured=moved.secured)
            session.resumption.failed(tls)
        finally:
            if sock is not None:
                net.close(sock)
        self.over = True

    async def _receive(self, sock: net.Socket, tls: Tls) -> None:
        moved, kept = self._moved, bytearray()
        while True:
            while clear := tls.read_some():
                moved.size += len(clear)
                kept += clear[: max(0, self._job.keep - len(kept))]
            await _put(sock, tls.take())
            if tls.ended:
                break
            with trio.fail_after(STALL_SECONDS):
                raw = await net.receive(sock, _RECEIVED)
            if not raw:
                break
            tls.feed(raw)
            await net.turn()
        moved.close_notify = tls.ended
        moved.received = bytes(kept)
        with contextlib.suppress(OSError):
            await _put(sock, tls.close_notify())
        net.finish(sock)

    async def _send(self, sock: net.Socket, tls: Tls, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK):
            while not tls.write(data[at : at + _CHUNK]):  # a new handshake (TLS 1.2)
                await _put(sock, tls.take())
                with trio.fail_after(STALL_SECONDS):
                    raw = await net.receive(sock, _RECEIVED)
                if not raw:
                    raise Refused("closed", "the server ended it in the middle")
                tls.feed(raw)
            await _put(sock, tls.take())
            self._moved.size += len(data[at : at + _CHUNK])
        await _put(sock, tls.close_notify())
        net.finish(sock)
        # Closed with tickets unread, it would be reset, and its tail lost (TLS 1.3).
        with trio.move_on_after(_LINGER_SECONDS):
            while not tls.ended and (raw := await net.receive(sock, _RECEIVED)):
                tls.feed(raw)
                while tls.read_some():
                    pass
                await net.turn()
        self._moved.close_notify = tls.ended


async def _put(sock: net.Socket, data: bytes) -> None:
    with trio.fail_after(STALL_SECONDS):
        await net.send_all(sock, data)


def _words(error: Exception, session: Session, *, secured: bool) -> str:
    if not secured:
        return f"TLS on the data connection: {explain(error, session.upstream).detail.partition('. Shown:')[0]}"
    words = errors.words(error) if isinstance(error, OSError) else str(error)
    return f"the data connection broke: {words}"
