"""One worker process: serves its share, and does what its parent orders (supervisor.py), on a socket of its own."""

import contextlib
import dataclasses
import errno
import os
import signal
import socket
import sys
from typing import NoReturn

import trio

from ftpsproxy import errors
from ftpsproxy.config import Settings
from ftpsproxy.net import Socket
from ftpsproxy.observe import log, metrics
from ftpsproxy.serve import process, settings_file
from ftpsproxy.serve.board import Board
from ftpsproxy.serve.gateway import Gateway
from ftpsproxy.serve.heartbeat import Pulse
from ftpsproxy.serve.limits import RefusedLogins, SharedSessionLimits
from ftpsproxy.serve.listening import Source
from ftpsproxy.serve.upstream_slots import UpstreamSlots

HEARD = frozenset({signal.SIGTERM, signal.SIGINT, *process.HELD_BACK})
"""Signals that are the parent's to hear."""
DRAIN, STOP, CHANGE, REOPEN, SOCKETS = b"d", b"s", b"c", b"f", b"l"
"""Orders: the last has names behind it, and comes with their sockets."""
PAUSE, GO_ON, RETIRE = b"p", b"g", b"o"
"""Orders while another process takes over, whose pid stands behind the last (handover.py)."""
READY, CHANGED, PAUSED, FAILED = b"r", b"c", b"p", b"x"
"""Answers: and why, behind the last."""
_ANSWER_BYTES = 4096
_MOST_FILES = 200  # in one message; the kernel takes 253
_ORDER_BYTES = 65536  # the names of so many sockets among them

Given = dict[str, tuple[Socket, ...]]
"""Listening sockets, by whose they are (`listening.addresses`)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """The memory that all workers count in; made before they are forked."""

    session_limits: SharedSessionLimits
    slots: UpstreamSlots
    refused_logins: RefusedLogins
    table: metrics.Table
    board: Board
    pulse: Pulse


# --- the parent's side ------------------------------------------------------------------------------------------------


def tell(orders: Socket, order: bytes, *files: int) -> str | None:
    """Give a worker an order → None, or why it takes none: "" when it is gone."""
    try:
        socket.send_fds(orders, [order], files)
    except BlockingIOError:
        return "it has not heard what it was told before"
    except OSError:
        return ""
    return None


def tell_change(orders: Socket, settings: int, given: Given) -> str | None:
    """The order to serve by these settings, before it the sockets that are new; returns as `tell`."""
    sockets = [sock.fileno() for those in given.values() for sock in those]
    names = [who for who, those in given.items() for _ in those]
    for start in range(0, len(sockets), _MOST_FILES):
        text = "\n".join(names[start : start + _MOST_FILES]).encode()
        if (why := tell(orders, SOCKETS + text, *sockets[start : start + _MOST_FILES])) is not None:
            return why
    return tell(orders, CHANGE, settings)


def said(orders: Socket) -> bytes:
    try:
        return orders.recv(_ANSWER_BYTES)
    except OSError:
        return b""


# --- the worker's -----------------------------------------------------------------------------------------------------


def be(worker: int, settings: Settings, shared: Shared, orders: Socket, given: Given) -> NoReturn:
    """In the child, for the rest of its life: serve its share of these settings, on the sockets it is `given`."""
    status = 1
    try:
        for number in HEARD:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*HEARD, signal.SIGCHLD})
        log.begin_chain()
        for memory in (shared.session_limits, shared.slots, shared.refused_logins, shared.board):
            memory.serve(worker)
        metrics.count_in(shared.table, worker)
        source = Source(lambda who, _: _given_for(who, given))
        mine, limits, slots, logins = (
            share(settings, worker),
            shared.session_limits,
            shared.slots,
            shared.refused_logins,
        )
        gateway = Gateway(mine, limits, slots, logins, shared.table, shared.board, source)
        status = trio.run(_serve, gateway, worker, orders, given, shared.pulse)
    except BaseException as error:
        error = errors.unwrapped(error)
        if isinstance(error, Exception) and process.is_plain(error):
            _answer(orders, FAILED + process.reason(error).encode())
        else:
            log.gateway_crashed(error=error)
    finally:
        log.flush()
        if sys.stdout is not None:
            sys.stdout.flush()
        os._exit(status)


def share(settings: Settings, worker: int) -> Settings:
    """What of `settings` belongs to this worker: its part of every range of ports."""
    count = settings.process.workers

    def part(ports: tuple[int, int] | None) -> tuple[int, int] | None:
        if ports is None:
            return None
        size = ports[1] - ports[0] + 1
        return ports[0] + size * worker // count, ports[0] + size * (worker + 1) // count - 1

    return dataclasses.replace(
        settings,
        listeners=tuple(dataclasses.replace(one, passive_ports=part(one.passive_ports)) for one in settings.listeners),
        upstreams={
            name: dataclasses.replace(one, active_ports=part(one.active_ports))
            for name, one in settings.upstreams.items()
        },
    )


def _answer(orders: Socket, word: bytes) -> None:
    with contextlib.suppress(OSError):  # that the parent is gone is heard where orders are
        orders.send(word)


async def _serve(served: Gateway, worker: int, orders: Socket, given: Given, pulse: Pulse) -> int:
    """One worker, which listens on what it is given → its exit code."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            while True:
                await trio.lowlevel.wait_readable(orders)
                order, files, _, _ = socket.recv_fds(orders, _ORDER_BYTES, _MOST_FILES)
                if order[:1] == SOCKETS:
                    _take(given, order[1:].decode().split("\n"), files)
                elif order == CHANGE:
                    _answer(orders, await _change(served, worker, files))
                    given.clear()
                elif order == REOPEN:
                    log.reopen()
                elif order == PAUSE:
                    served.pause()
                    _answer(orders, PAUSED)
                elif order == GO_ON:
                    served.go_on()
                elif order[:1] == RETIRE:
                    served.retire(int(order[1:]), stop)
                elif order == STOP:
                    nursery.cancel_scope.cancel()
                    return
                else:
                    served.hurry()  # if it was retired
                    stop.set()
                    if not order:
                        return

        async def work() -> None:
            async with trio.open_nursery() as serving:
                await serving.start(served.serve, stop)
                _answer(orders, READY)
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        nursery.start_soon(work)
        nursery.start_soon(pulse.beat, worker)
    return 0


def _given_for(who: str, given: Given) -> tuple[Socket, ...]:
    if who not in given:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # the kernel had no descriptor for it
    return given.pop(who)


def _take(given: Given, names: list[str], files: list[int]) -> None:
    """Sockets have come; fewer than names where there was no descriptor for more, as is noticed later."""
    for who, file in zip(names, files, strict=False):
        given[who] = (*given.get(who, ()), socket.socket(fileno=file))


async def _change(served: Gateway, worker: int, files: list[int]) -> bytes:
    """Serve by the settings in this file → the answer for the parent, which has tried them already."""
    try:
        if not files:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # the kernel had no descriptor for it
        try:
            settings = share(settings_file.read(files[0]), worker)
        finally:
            os.close(files[0])
        prepared = log.Prepared(settings.log)
        await served.change_to(settings)
    except Exception as error:
        return (FAILED + process.reason(error).encode())[:_ANSWER_BYTES]
    prepared.use()
    return CHANGED
