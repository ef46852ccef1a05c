"""A file of random bytes up, down, compared and deleted; never over one that is there."""

import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from ftpsproxy.net import now
from ftpsproxy.probe.data import Job, Moved, NoWay, prepare, transfer
from ftpsproxy.probe.link import Ground, quoted
from ftpsproxy.probe.session import Session
from ftpsproxy.tls import Refused

_SIZE = 256 * 1024  # more than fits into what is on its way at the end of an upload, where tails are lost
_THERE, _NOT_THERE = 213, 550  # RFC 3659 section 4; some refuse SIZE in TYPE A by 550, too
_DELETE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What was seen of it: `size_told`, that the server's SIZE agrees; `close_notify`, that the download ended so."""

    size_told: bool
    close_notify: bool


@dataclass(slots=True)
class _Trace:
    """Whether an upload may have `left` a file that is ours: so it is with a name of our own, and with another once the
    server has not refused it at once. Else the one there, if there is one, is another's."""

    left: bool = False


def name_of(path: str) -> str:
    """The file's name: for a folder, which ends with a slash, a new one in it."""
    return f"{path}ftpsproxy-probe-{secrets.token_hex(6)}.tmp" if path.endswith("/") else path


async def try_file(ground: Ground, session: Session, path: str, again: Callable[[], Awaitable[Session]]) -> Tried:
    """See above; `again` gives another session, to delete what an interrupted one has left. Raises Refused where the
    file does not come back as it went."""
    name = name_of(path)
    await _must_be_new(session, name, chosen=name == path)
    content = os.urandom(_SIZE)
    trace = _Trace(name != path)
    try:
        await _move(ground, session, Job(f"STOR {name}", upload=content), trace)
        size = await session.link.ask(f"SIZE {name}")
        down = await _move(ground, session, Job(f"RETR {name}", keep=_SIZE + 1), _Trace())
    except BaseException:
        # In the middle of a transfer, nobody knows to which command the next reply belongs.
        session.link.close()
        if trace.left:
            await _clean_up(ground, name, again)
        raise
    await _delete(ground, session, name)
    same = down.received == content
    said = "it came back as it went" if same else f"it is ANOTHER, of {down.size} bytes"
    ground.journal.say(same, f"compared: {said}", name="compare", same=same)
    if not same:
        raise Refused("file_changed", f"the file came back changed, with {down.size} of {_SIZE} bytes")
    size_told = size.code == _THERE and size.text.strip() == str(_SIZE)
    return Tried(size_told, down.close_notify)


async def _clean_up(ground: Ground, name: str, again: Callable[[], Awaitable[Session]]) -> None:
    """Delete what an interrupted upload has left."""
    with trio.CancelScope(shield=True, deadline=now() + _DELETE_SECONDS):
        try:
            other = await again()
        except Refused as error:
            said = f"please look whether {name} is there, and delete it: {error.detail}"
            ground.journal.say(False, said, name="dele")
        else:
            await _delete(ground, other, name)
            await other.link.leave()


async def _must_be_new(session: Session, name: str, *, chosen: bool) -> None:
    reply = await session.link.ask(f"SIZE {name}")
    if reply.code == _THERE:
        raise Refused("file_exists", f"--upload: {name} is there already, and is not overwritten; name another")
    if chosen and not (reply.code == _NOT_THERE and session.binary):
        why = "the server does not say for sure (SIZE) that it is not there; give a folder, as PATH/, for a new name"
        raise Refused("file_exists", f"--upload: {name}: {why}")


async def _move(ground: Ground, session: Session, job: Job, trace: _Trace) -> Moved:
    mode, began, what = session.upstream.data_mode, now(), job.command
    ours_alone = trace.left
    try:
        way, _ = await prepare(session, "epsv" if mode == "auto" else mode, what)
        trace.left = True
        moved = await transfer(session, way, job)
    except NoWay as error:
        raise Refused("no_data_connection", f"{what}: {error}") from None
    well = moved.well and moved.reply is not None and moved.reply.good
    said = f"{moved.size} bytes, final reply after {moved.final_milliseconds:.0f} ms" if well else moved.words
    facts: dict[str, Any] = {"bytes": moved.size, "close_notify": moved.close_notify, "resumed": moved.resumed}
    ground.journal.say(
        well,
        f"{what}: {said}",
        began,
        name=what[:4].lower(),
        **facts,
        final_reply_milliseconds=moved.final_milliseconds,
    )
    if not well:
        refused = moved.reply is not None and moved.reply.refused and not moved.size
        trace.left = ours_alone or not refused
        raise Refused("transfer_failed", f"{what}: {moved.words}")
    return moved


async def _delete(ground: Ground, session: Session, name: str) -> None:
    began = now()
    gone, said = False, "no answer"
    with contextlib.suppress(Refused):
        reply = await session.link.ask(f"DELE {name}")
        gone, said = reply.good, quoted(reply)
    words = f"deleted: {said}" if gone else f"NOT deleted: {said}; please look whether {name} is there, and delete it"
    ground.journal.say(gone, words, began, name="dele", deleted=gone)
