"""A session with a server that is verified or pinned: PBSZ, PROT, FEAT, and the login.

The only place from which USER and PASS go out; `begin` gives a session only behind a handshake that verifies, as the
gateway's own does.
"""

from dataclasses import dataclass, field

from ftpsproxy.config import Upstream
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.net import now
from ftpsproxy.probe.link import REPLY_SECONDS, Ground, Link, Say, opened, quoted, unsaid
from ftpsproxy.tls import Context, Refused, Resumption, build_context, check_pins

_MOST_FEATURES = 100


@dataclass(frozen=True, slots=True)
class Login:
    """Whose files are to be tried. The password is not shown by whatever shows this."""

    user: str
    password: str = field(repr=False)


@dataclass(slots=True)
class Session:
    """One session. `features` are the server's, in capitals; `protected`: it has taken PROT P; `binary`: TYPE I."""

    link: Link
    context: Context
    upstream: Upstream
    resumption: Resumption
    features: tuple[str, ...] = ()
    protected: bool = False
    binary: bool = False

    @property
    def peer(self) -> str:
        """The server's address, with its zone."""
        return self.link.control.peer


async def begin(ground: Ground, upstream: Upstream, say: Say = unsaid) -> Session:
    """A session with the server, verified by what `upstream` says. Raises Refused."""
    began = now()
    context = build_context(upstream)
    link = await opened(ground, upstream, context)
    try:
        check_pins(link.tls, upstream.pins)
        by = "its chain" if upstream.verify == "chain" else "its pin"
        by += " and its pin" if upstream.verify == "chain" and upstream.pins else ""
        say(
            True,
            f"verified by {by}: {link.tls.version} {link.tls.cipher}",
            began,
            name="verified",
            verified_by=upstream.verify,
        )
        session = Session(link, context, upstream, Resumption(link.tls))
        await _protect(session, say)
        session.features = await _features(link, say)
    except BaseException:
        link.close()
        raise
    return session


async def _protect(session: Session, say: Say) -> None:
    """Ask for protected data connections. A few servers want the login first, and implicit ones may not know it."""
    for command in ("PBSZ 0", "PROT P"):
        began = now()
        reply = await session.link.ask(command)
        while reply.code == 220:
            if not session.upstream.tls_first:
                # Somebody between may have joined two servers: every reply would answer the command before.
                raise Refused("greeted_twice", "the server greets once more behind TLS")
            reply = await session.link.final(f"the answer to {command}", began + REPLY_SECONDS - now())
        session.protected = reply.good  # PROT's, in the end
        say(
            None if reply.refused else True,
            f"{command}: {quoted(reply)}",
            began,
            name=command[:4].lower(),
            reply=quoted(reply),
        )


async def _features(link: Link, say: Say) -> tuple[str, ...]:
    began = now()
    reply = await link.ask("FEAT")
    if not reply.good:
        say(None, f"FEAT: {quoted(reply)}", began, name="feat", reply=quoted(reply))
        return ()
    lines = [line.decode("utf-8", "backslashreplace").strip() for line in reply.lines[1:-1]]
    features = tuple(line for line in lines if line)[:_MOST_FEATURES]
    say(True, f"FEAT: {', '.join(features) or '(nothing)'}", began, name="feat", features=list(features))
    return tuple(line.upper() for line in features)


async def log_in(session: Session, login: Login, say: Say = unsaid) -> None:
    """USER and PASS; then what had to wait for that. Raises Refused."""
    link, began = session.link, now()
    reply = await link.ask(f"USER {login.user}")
    if reply.code == 331:
        reply = await link.ask(f"PASS {login.password}")
    if reply.code == 332:
        raise Refused("account_wanted", f"the server wants an account (ACCT) behind the password: {quoted(reply)}")
    if not reply.good:
        say(False, f"login as {login.user}: {quoted(reply)}", began, name="login", reply=quoted(reply))
        raise Refused("login_refused", f"the server refuses the login of {login.user}: {quoted(reply)}")
    say(True, f"login as {login.user}: {quoted(reply)}", began, name="login", reply=quoted(reply))
    if not session.protected:
        await _protect(session, say)
    if not session.protected and not session.upstream.implicit:
        why = "the server does not protect data connections: it refuses PROT P, and nothing goes over them in clear"
        raise Refused("prot_refused", why)
    if not session.features:
        session.features = await _features(link, unsaid)
    binary: Reply = await link.ask("TYPE I")
    session.binary = not binary.refused
    if binary.refused:
        say(None, f"TYPE I: {quoted(binary)}", name="type", reply=quoted(binary))


async def logged_in(ground: Ground, upstream: Upstream, login: Login | None, say: Say = unsaid) -> Session:
    """`begin`, and `log_in` if there is a login. Raises Refused."""
    session = await begin(ground, upstream, say)
    try:
        if login is not None:
            await log_in(session, login, say)
    except BaseException:
        await session.link.leave()
        raise
    return session
