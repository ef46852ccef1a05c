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
_THERE, _NOT_KNOWN = 213, (500, 502, 504)
_FORBIDDEN = (530, 532, 550, 553)  # the server has not begun: there is nothing to delete
_NOT_TAKEN = "not_taken"
_DELETE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What was seen of it: `size_told`, that the server's SIZE agrees; `close_notify`, that the download ended so."""

    size_told: bool
    close_notify: bool


def name_of(path: str) -> str:
    """The file's name: for a folder, which ends with a slash, a new one in it."""
    return f"{path}ftpsproxy-probe-{secrets.token_hex(6)}.tmp" if path.endswith("/") else path


async def try_file(ground: Ground, session: Session, path: str, again: Callable[[], Awaitable[Session]]) -> Tried:
    """See above; `again` gives another session, to delete what an interrupted one has left. Raises Refused where the
    file does not come back as it went."""
    name = name_of(path)
    await _must_be_new(session, name, chosen=name == path)
    content = os.urandom(_SIZE)
    try:
        await _move(ground, session, f"STOR {name}", Job(f"STOR {name}", upload=content))
        size = await session.link.ask(f"SIZE {name}")
        down = await _move(ground, session, f"RETR {name}", Job(f"RETR {name}", keep=_SIZE + 1))
    except BaseException as why:
        if isinstance(why, Refused) and why.reason == _NOT_TAKEN:
            raise
        # In the middle of a transfer, nobody knows to which command the next reply belongs.
        session.link.close()
        with trio.CancelScope(shield=True, deadline=now() + _DELETE_SECONDS):
            try:
                other = await again()
            except Refused as error:
                ground.journal.say(
                    False, f"please look whether {name} is there, and delete it: {error.detail}", name="dele"
                )
            else:
                await _delete(ground, other, name)
                await other.link.leave()
        raise
    await _delete(ground, session, name)
    same = down.received == content
    said = "it came back as it went" if same else f"it is ANOTHER, of {down.size} bytes"
    ground.journal.say(same, f"compared: {said}", name="compare", same=same)
    if not same:
        raise Refused("file_changed", f"the file came back changed, with {down.size} of {_SIZE} bytes")
    size_told = size.code == _THERE and size.text.strip() == str(_SIZE)
    return Tried(size_told, down.close_notify)


async def _must_be_new(session: Session, name: str, *, chosen: bool) -> None:
    reply = await session.link.ask(f"SIZE {name}")
    if reply.code == _THERE:
        raise Refused("file_exists", f"--upload: {name} is there already, and is not overwritten; name another")
    if chosen and reply.code in _NOT_KNOWN:
        why = "the server can't be asked (SIZE) whether it is there; give a folder, as PATH/, for a new name in it"
        raise Refused("file_exists", f"--upload: {name}: {why}")


async def _move(ground: Ground, session: Session, what: str, job: Job) -> Moved:
    mode, began = session.upstream.data_mode, now()
    try:
        way, _ = await prepare(session, "epsv" if mode == "auto" else mode, job.command)
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
        untouched = moved.reply is not None and moved.reply.code in _FORBIDDEN and not moved.size
        raise Refused(_NOT_TAKEN if untouched else "transfer_failed", f"{what}: {moved.words}")
    return moved


async def _delete(ground: Ground, session: Session, name: str) -> None:
    began = now()
    gone, said = False, "no answer"
    with contextlib.suppress(Refused):
        reply = await session.link.ask(f"DELE {name}")
        gone, said = reply.good, quoted(reply)
    words = f"deleted: {said}" if gone else f"NOT deleted: {said}; please look whether {name} is there, and delete it"
    ground.journal.say(gone, words, began, name="dele", deleted=gone)
