"""Sessions with a login: how data connections are reached, and, for each TLS version, whether sessions are resumed on
them, and must be."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from ftpsproxy import net
from ftpsproxy.config import Upstream
from ftpsproxy.net import now
from ftpsproxy.probe.data import Job, Moved, NoWay, prepare, transfer
from ftpsproxy.probe.link import Ground, Say, quoted
from ftpsproxy.probe.session import Login, Session, logged_in
from ftpsproxy.probe.versions import Version
from ftpsproxy.tls import Refused

_LISTING = "LIST"
_LISTINGS = 3
Mode = Literal["auto", "epsv", "pasv", "eprt", "port"]


@dataclass(slots=True)
class Trial:
    """What a TLS version is worth here. `lost` is what ended the session early; `cut`: it did so instead of a data
    connection without resumption."""

    version: str
    listings: list[Moved] = field(default_factory=list)
    bare: Moved | None = None
    lost: str = ""
    cut: bool = False

    @property
    def works(self) -> bool:
        """Whether data connections stand that offer a session to resume, as the gateway's do."""
        return len(self.listings) == _LISTINGS and all(one.well for one in self.listings)

    @property
    def unseen(self) -> bool:
        """Whether listings are refused as such, as in a folder that only takes files: that says nothing of data."""
        return bool(self.listings) and self.listings[-1].declined

    @property
    def resumes(self) -> bool:
        return self.works and all(one.resumed for one in self.listings)

    @property
    def demanded(self) -> bool | None:
        """Whether the server refuses those that do not resume; None where that was not seen."""
        if not self.resumes or (self.bare is None and not self.cut):
            return None
        return self.bare is None or not self.bare.well

    @property
    def why(self) -> str:
        """Why it does not work."""
        failed = next((one.words for one in self.listings if not one.well), "")
        return failed or self.lost


async def find_mode(ground: Ground, session: Session) -> tuple[Mode, str]:
    """Ask for data connections in each way → the one to use, "auto" if any will do, and why none
    before it. Raises Refused."""
    say = ground.journal.say
    v6 = ":" in session.peer
    by_epsv = await _reaches(session, "epsv", say)
    by_pasv = "PASV knows no IPv6" if v6 else await _reaches(session, "pasv", say)
    if not by_epsv:
        return "auto", ""
    if not by_pasv:
        return "pasv", by_epsv
    active: tuple[Mode, ...] = ("eprt",) if v6 else ("eprt", "port")
    with contextlib.suppress(Refused):  # it has been said
        for mode in active:
            if not await _is_reached(session, mode, say):
                return mode, f"no passive data connection comes about: {by_epsv}"
    why = "neither to the server (have its passive ports allowed from here), nor from it to us (data_mode)"
    raise Refused("no_data_connection", f"no data connection can be had, {why}: {by_epsv}")


async def _is_reached(session: Session, mode: str, say: Say) -> str:
    """Whether the server connects to us: why not, "" if it does. Raises Refused where it says nothing more."""
    began = now()
    try:
        way, where = await prepare(session, mode, _LISTING)
        moved = await transfer(session, way, Job(_LISTING))
    except NoWay as error:
        say(False, str(error), began, name=mode)
        return str(error)
    except Refused as error:
        say(False, f"{mode.upper()}: {error.detail}", began, name=mode)
        raise
    why = "" if moved.well else moved.words
    said = f"{mode.upper()} to {where}: {why or 'the server connects to us'}"
    say(moved.well, said, began, name=mode)
    return why


async def _reaches(session: Session, mode: str, say: Say) -> str:
    """→ why not, "" if it is reached."""
    began = now()
    try:
        way, where = await prepare(session, mode, _LISTING)
    except NoWay as error:
        say(False, str(error), began, name=mode)
        return str(error)
    net.close(await way())
    peer = net.unzoned(session.peer)
    host, _, _ = where.partition(" port ")
    how = "reached" if host == peer else f"not its own address; reached at its own, {peer}, where all data goes"
    say(True, f"{mode.upper()} names {where}: {how}", began, name=mode, named=where, peer=peer)
    return ""


async def trial(ground: Ground, way: Upstream, login: Login, version: Version) -> Trial:
    """A session of its own at this TLS version."""
    say, found = ground.journal.say, Trial(version)
    try:
        session = await logged_in(ground, replace(way, tls_min=version, tls_max=version), login)
        try:
            await _try_data(session, found, say)
        finally:
            await session.link.leave()
    except NoWay as error:
        found.lost = str(error)
    except Refused as error:
        found.lost = error.detail
        found.cut = found.works  # only the connection without resumption was left to try
    _say_verdict(say, found)
    return found


async def _try_data(session: Session, found: Trial, say: Say) -> None:
    """Raises NoWay, Refused."""
    for number in range(1, _LISTINGS + 1):
        began = now()
        moved = await listing(session, resume=True)
        found.listings.append(moved)
        _say_listing(
            partial(say, since=began, name="data", version=found.version),
            f"TLS {found.version}, data connection {number}",
            moved,
        )
        if not moved.well:
            return
    found.bare = await listing(session, resume=False)


async def listing(session: Session, *, resume: bool) -> Moved:
    """A listing, over the way that the settings say. Raises NoWay, Refused."""
    mode = session.upstream.data_mode
    way, _ = await prepare(session, "epsv" if mode == "auto" else mode, _LISTING)
    return await transfer(session, way, Job(_LISTING, resume=resume))


def _say_listing(say: Callable[..., None], what: str, moved: Moved) -> None:
    if not moved.well:
        words = f"listings are refused: {quoted(moved.reply)}" if moved.declined and moved.reply else moved.words
        say(None if moved.declined else False, f"{what}: {words}", resumed=moved.resumed)
        return
    how = "session resumed" if moved.resumed else "session NOT resumed"
    end = "close_notify" if moved.close_notify else "NO close_notify"
    final = f"final reply after {moved.final_milliseconds:.0f} ms"
    facts: dict[str, Any] = {
        "resumed": moved.resumed,
        "close_notify": moved.close_notify,
        "bytes": moved.size,
        "data_milliseconds": moved.milliseconds,
        "final_reply_milliseconds": moved.final_milliseconds,
    }
    say(moved.resumed or None, f"{what}: {how}, listing, {end}, {final}", **facts)


def _say_verdict(say: Say, found: Trial) -> None:
    version = found.version
    if found.unseen:
        return
    if not found.works:
        say(
            False,
            f"TLS {version}: data connections do not work: {found.why}",
            name="resumption",
            version=version,
            works=False,
        )
        return
    facts: dict[str, Any] = {
        "name": "resumption",
        "version": version,
        "works": True,
        "resumes": found.resumes,
        "demanded": found.demanded,
    }
    if not found.resumes:
        say(None, f"TLS {version}: works; the server does not resume sessions", **facts)
    elif found.demanded:
        why = found.bare.words if found.bare is not None else found.lost
        say(True, f"TLS {version}: the server demands resumption; without it: {why}", **facts)
    elif found.demanded is None:
        say(None, f"TLS {version}: works; whether the server demands resumption was not seen: {found.lost}", **facts)
    else:
        say(True, f"TLS {version}: the server does not demand resumption", **facts)
