"""The order in which a server is found out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from ftpsproxy import errors, net
from ftpsproxy.config import Upstream
from ftpsproxy.probe import identity, reach, settings, trial, trust, upload, versions
from ftpsproxy.probe.link import Ground
from ftpsproxy.probe.session import Login, logged_in
from ftpsproxy.probe.steps import Journal, Step
from ftpsproxy.probe.versions import Version
from ftpsproxy.tls import Certificate, Refused

TOTAL_SECONDS = 240.0
"""A probe takes no longer, whatever the server does."""
_NOBODY = ("connect_failed", "connect_timeout")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be found out: `targets` are the same host at the ports to try, one after the other; `upload` is the
    path of a file, or of a folder, at the server."""

    targets: Sequence[Upstream]
    ca_file: Path | None = None
    pins: tuple[str, ...] = ()
    login: Login | None = None
    upload: str = ""


@dataclass(slots=True)
class Report:
    """What was found out. `refused` says why there is no way, `toml` how to configure the one there is, or what is
    known of it."""

    steps: list[Step] = field(default_factory=list)
    kind: str = ""
    url: str = ""
    certificates: tuple[Certificate, ...] = ()
    ciphers: Mapping[Version, str] = field(default_factory=dict)
    refused: Refused | None = None
    toml: str = ""

    @property
    def ok(self) -> bool:
        return self.refused is None


def run(request: Request, tell: Callable[[Step], None]) -> Report:
    """See above; each step is told as it is done. Raises what `tell` does, and tls.TlsConfigError."""
    try:
        return trio.run(_run, request, tell)
    except BaseExceptionGroup as group:
        raise errors.unwrapped(group) from None


async def _run(request: Request, tell: Callable[[Step], None]) -> Report:
    report = Report()
    journal = Journal(tell, request.login.password if request.login is not None else "")
    async with trio.open_nursery() as nursery:
        ground = Ground(net.Resolver(nursery), nursery.start_soon, journal)
        with trio.move_on_after(TOTAL_SECONDS) as limit:
            try:
                await _Probe(request, ground, report).go()
            except Refused as error:
                report.refused = Refused(error.reason, journal.clean(identity.shortly(error)), error.shown)
        if limit.cancelled_caught:
            report.refused = Refused("timeout", f"it was not over in {TOTAL_SECONDS:g} s; the last step stands above")
        nursery.cancel_scope.cancel()
    report.steps = journal.steps
    return report


class _Probe:
    """One probe; `go` fills the report, and raises Refused where there is no way."""

    def __init__(self, request: Request, ground: Ground, report: Report) -> None:
        self._request = request
        self._ground = ground
        self._report = report
        self._reasons: dict[str, str] = {}

    async def go(self) -> None:
        report, request = self._report, self._request
        way, seen = await self._found()
        report.certificates, report.kind, report.url = seen.chain, _kind(way), way.url
        self._part("certificate")
        identity.show(self._ground, seen)
        trusted = await trust.decide(self._ground, way, seen, request.ca_file, request.pins)
        self._part("TLS")
        report.ciphers = await versions.taken(self._ground, trusted, seen)
        way = trusted.way
        if trusted.refused is not None:
            lines, notes = settings.offered(way, trusted.refused, seen.own)
            report.toml = settings.table(way, [*self._lines(way), *lines], notes)
            raise trusted.refused
        report.toml = settings.table(way, self._lines(way))
        way = await self._session(way)
        report.toml = settings.table(way, self._lines(way))

    def _part(self, name: str) -> None:
        self._ground.journal.part = name

    def _lines(self, way: Upstream) -> list[settings.Line]:
        clean = self._ground.journal.clean  # servers have a word in some reasons
        return settings.lines_of(way, {key: clean(why) for key, why in self._reasons.items()})

    async def _found(self) -> tuple[Upstream, identity.Seen]:
        """The first target where there is TLS. Raises Refused, with what the first one was."""
        refusals: list[Refused] = []
        for target in self._request.targets:
            self._part(f"{target.host} port {target.port}")
            try:
                first = await reach.meet(self._ground, target)
                return await identity.look(self._ground, reach.ways(target, first))
            except Refused as error:
                if len(self._request.targets) > 1:
                    self._ground.journal.say(False, error.detail, name="refused", reason=error.reason)
                refusals.append(error)
        raise _likeliest(refusals)

    async def _session(self, way: Upstream) -> Upstream:
        """A verified session, and with a login all that it allows → the settings that work. Raises Refused."""
        login = self._request.login
        self._part("FTP")
        session = await logged_in(self._ground, way, login, self._ground.journal.say)
        try:
            if login is None:
                refused = "" if session.protected or way.implicit else "; nor whether it takes PROT P behind a login"
                said = f"login and data connections are not tried; say --user NAME for that{refused}"
                self._ground.journal.say(None, said, name="login")
                return way
            self._part("data")
            mode, self._reasons["data_mode"] = await trial.find_mode(self._ground, session)
            way = replace(way, data_mode=mode)
        finally:
            await session.link.leave()
        way = await self._version(way, login)
        if self._request.upload:
            way = await self._upload(way, login)
        return way

    async def _version(self, way: Upstream, login: Login) -> Upstream:
        """The highest TLS version at which data connections work. Raises Refused."""
        tried = [await trial.trial(self._ground, way, login, version) for version in self._report.ciphers]
        best = next((one for one in tried if one.works), None)
        if best is None and any(one.unseen for one in tried):
            said = "whether data connections work was not seen; with --upload PATH/ a file would show it"
            self._ground.journal.say(None, said, name="resumption")
            return way
        if best is None:
            why = "; ".join(f"TLS {one.version}: {one.why}" for one in tried)
            raise Refused("data_fails", f"data connections do not work: {why}")
        if best is not tried[0]:
            self._reasons["tls_max"] = f"with TLS {tried[0].version} its data connections fail: {tried[0].why}"
            return replace(way, tls_max="1.2")
        return way

    async def _upload(self, way: Upstream, login: Login) -> Upstream:
        self._part("file")
        another = partial(logged_in, self._ground, way, login)
        session = await another()
        try:
            tried = await upload.try_file(self._ground, session, self._request.upload, another)
        finally:
            await session.link.leave()
        return way if tried.close_notify or tried.size_told else replace(way, close_notify="reply")


def _likeliest(refusals: list[Refused]) -> Refused:
    """Of several ports: the first where somebody was there."""
    there = next((one for one in refusals if one.reason not in _NOBODY), None)
    details = "; ".join(dict.fromkeys(one.detail for one in refusals))
    return there or Refused(refusals[0].reason, details)


def _kind(way: Upstream) -> str:
    if not way.implicit:
        return "explicit"
    return "implicit" if way.implicit_greeting == "tls" else "implicit_greeting_clear"
