"""A control connection on which every wait has a limit. What goes wrong on it is `Refused`: a word and a line."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from ftpsproxy import errors, net
from ftpsproxy.config import Upstream
from ftpsproxy.ftp.errors import ForeignProtocol, ProtocolError
from ftpsproxy.ftp.foreign import PROTOCOLS
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.net import now
from ftpsproxy.probe.steps import Journal
from ftpsproxy.session.control import Lost
from ftpsproxy.session.server import ServerControl
from ftpsproxy.tls import Context, Refused, Tls, TlsError, explain, explain_opening

CONNECT_SECONDS = 10.0
GREETING_SECONDS = 10.0  # as timeouts.greeting: most greet at once, some look names up first
HANDSHAKE_SECONDS = 10.0
REPLY_SECONDS = 15.0
_LEAVE_SECONDS = 2.0
_END_SECONDS = 0.5
_LAST_LINE_SECONDS = 1.0  # whether more comes behind what may be the last line of a reply (z/OS)
_CROWDED_SECONDS = 2.0  # until a server has noticed that the session before is over
_KEEPALIVE_SECONDS = 30.0
_MOST_LINE, _MOST_REPLY, _MOST_LINES = 8192, 256 * 1024, 2000
_MOST_PRELIMINARY = 20


@dataclass(frozen=True, slots=True)
class Ground:
    """What all connections of a probe share. `start` starts a task of it."""

    resolver: net.Resolver
    start: Callable[..., None]
    journal: Journal


class Say(Protocol):
    """How a step is said, as by `Journal.say`; or is not."""

    def __call__(self, ok: bool | None, said: str, since: float | None = None, *, name: str, **facts: Any) -> None: ...


def unsaid(ok: bool | None, said: str, since: float | None = None, *, name: str, **facts: Any) -> None:
    """For what was said before."""


def quoted(reply: Reply) -> str:
    """A reply in one line."""
    return f"{reply.code} {reply.text}"


def first_line(reply: Reply) -> str:
    """A greeting in one line: its first says who greets."""
    return reply.lines[0].decode("utf-8", "backslashreplace") + (" …" if len(reply.lines) > 1 else "")


class Link:
    """A control connection with `upstream`, in clear or under TLS. `auth`: the word after AUTH that it took."""

    __slots__ = ("auth", "control", "greeting", "upstream")

    def __init__(self, control: ServerControl, upstream: Upstream) -> None:
        self.control = control
        self.upstream = upstream
        self.greeting: Reply | None = None
        self.auth = ""

    @property
    def tls(self) -> Tls:
        """Raises Refused where there is none: nothing in clear is ever asked of it."""
        if self.control.tls is None:
            raise Refused("no_tls", "there is no TLS on this connection")
        return self.control.tls

    async def hear(self, awaited: str, seconds: float = REPLY_SECONDS) -> Reply:
        """The next reply. Raises Refused."""
        control = self.control
        try:
            with trio.fail_after(max(0.0, seconds)):
                while (reply := control.pop()) is None:
                    if control.replies.may_be_over:
                        with trio.move_on_after(_LAST_LINE_SECONDS) as scope:
                            heard = await control.receive()
                        if scope.cancelled_caught:
                            return control.replies.end()
                    else:
                        heard = await control.receive()
                    if not heard:
                        raise Refused("closed", f"the server ended the connection; {awaited} was awaited")
                return reply
        except trio.TooSlowError:
            raise Refused("timeout", f"no answer in {seconds:.0f} s; {awaited} was awaited") from None
        except ForeignProtocol as error:
            raise Refused(error.protocol, str(error)) from None
        except ProtocolError as error:
            raise Refused("protocol_error", f"the server breaks the rules of FTP: {error}") from None
        except Lost as error:
            raise Refused("closed", f"the connection broke: {error}; {awaited} was awaited") from None
        except TlsError as error:
            raise explain(error, self.upstream) from None

    async def final(self, awaited: str, seconds: float = REPLY_SECONDS) -> Reply:
        """The next reply that is not preliminary. Raises Refused."""
        until = now() + seconds
        for _ in range(_MOST_PRELIMINARY):
            if not (reply := await self.hear(awaited, until - now())).preliminary:
                return reply
        raise Refused("protocol_error", f"only preliminary replies; {awaited} was awaited")

    def send(self, command: str) -> None:
        """Say this line."""
        self.control.send(f"{command}\r\n".encode("utf-8", "surrogateescape"))

    async def ask(self, command: str) -> Reply:
        """The answer to a command. Raises Refused."""
        self.send(command)
        return await self.final(f"the answer to {command.partition(' ')[0]}")

    async def leave(self) -> None:
        """QUIT, and close; whatever it answers, and soon."""
        try:
            with trio.move_on_after(_LEAVE_SECONDS), contextlib.suppress(Refused):
                await self.ask("QUIT")
                with trio.move_on_after(_END_SECONDS):  # a server counts a session until it has ended it
                    await self.control.say_goodbye(hear_end=True)
        finally:
            self.close()

    def close(self) -> None:
        """At once."""
        self.control.close()


async def connected(ground: Ground, upstream: Upstream) -> Link:
    """A connection, in clear. Raises Refused."""
    where = f"{upstream.host} port {upstream.port}"
    sock: net.Socket | None = None
    try:
        with trio.fail_after(CONNECT_SECONDS):
            sock = await net.connect(ground.resolver, upstream.host, upstream.port, _KEEPALIVE_SECONDS)
        control = ServerControl(
            sock, ground.start, line_bytes=_MOST_LINE, reply_bytes=_MOST_REPLY, reply_lines=_MOST_LINES
        )
    except trio.TooSlowError:
        why = f"no answer from {where} in {CONNECT_SECONDS:g} s: a firewall on the way, or the host is down"
        raise Refused("connect_timeout", why) from None
    except net.ConnectError as error:
        raise Refused("connect_failed", str(error)) from None
    except OSError as error:
        if sock is not None:
            net.close(sock)
        raise Refused("connect_failed", f"{where}: the connection broke at once: {errors.words(error)}") from None
    return Link(control, upstream)


async def opened(ground: Ground, upstream: Upstream, context: Context, say: Say = unsaid) -> Link:
    """A connection under the TLS of `context`, greeted as its kind of server does. Raises Refused."""
    try:
        return await _opened(ground, upstream, context, say)
    except Refused as error:
        if error.reason != "crowded":
            raise
    await trio.sleep(_CROWDED_SECONDS)
    return await _opened(ground, upstream, context, say)


async def _opened(ground: Ground, upstream: Upstream, context: Context, say: Say) -> Link:
    link = await connected(ground, upstream)
    try:
        if not upstream.tls_first:
            await greeted(link)
        if not upstream.implicit:
            await _agree(link, say)
        await _shake_hands(link, context, say)
        if upstream.tls_first:
            await _greeted_behind_tls(link, say)
    except BaseException:
        link.close()
        raise
    return link


async def greeted(link: Link) -> None:
    """Hear its greeting. Raises Refused, also for one that refuses the session."""
    link.greeting = greeting = await link.final("its greeting", GREETING_SECONDS)
    if greeting.refused:
        reason = "crowded" if greeting.code == 421 else "greeting_refused"
        raise Refused(reason, f"the server refuses the session: {quoted(greeting)}")


async def _greeted_behind_tls(link: Link, say: Say) -> None:
    """Raises Refused, for one that is silent with what it is, if that can be told: web servers have TLS, too."""
    began = now()
    try:
        await greeted(link)
    except Refused as error:
        if error.reason != "timeout":
            raise
        await _speak_up(link)
        why = f"it answers TLS, and says nothing in {GREETING_SECONDS:g} s behind it, where a greeting belongs"
        raise Refused("silent", why) from None
    if link.greeting is not None:
        say(True, f"greeting: {first_line(link.greeting)}", began, name="greeting", reply=quoted(link.greeting))


async def _speak_up(link: Link) -> None:
    """Have a silent server say what it is. Raises Refused where it is none of FTP's."""
    link.send("QUIT")
    try:
        await link.hear("the answer to QUIT", _LEAVE_SECONDS)
    except Refused as error:
        if error.reason in PROTOCOLS:
            raise


async def _agree(link: Link, say: Say) -> None:
    """AUTH. Raises Refused where no word is taken."""
    refusals = []
    for word in link.upstream.auth:
        began = now()
        reply = await link.ask(f"AUTH {word}")
        while reply.code == 220:  # a greeting of several replies
            reply = await link.final("the answer to AUTH", began + REPLY_SECONDS - now())
        say(not reply.refused, f"AUTH {word}: {quoted(reply)}", began, name="auth", reply=quoted(reply))
        if not reply.refused:
            link.auth = word
            return
        refusals.append(f"AUTH {word}: {quoted(reply)}")
    raise Refused("auth_refused", "the server refuses TLS: " + "; ".join(refusals))


async def _shake_hands(link: Link, context: Context, say: Say) -> None:
    began = now()
    tls = context.connect(link.upstream.server_name)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            await link.control.start_tls(tls)
    except trio.TooSlowError:
        why = f"the server did not finish the TLS handshake in {HANDSHAKE_SECONDS:g} s"
        raise Refused("handshake_timeout", why) from None
    except (TlsError, OSError, Refused) as error:
        raise explain_opening(error, link.upstream) from None
    say(True, f"TLS stands: {tls.version} {tls.cipher}", began, name="tls", version=tls.version, cipher=tls.cipher)
