"""Who is there: whether the server greets in clear, begins with TLS, is none of FTP's, or says nothing.

No more is said here than QUIT behind a greeting, and, to one that is silent, on a connection of its own, the beginning
of TLS and an empty line.
"""

import enum
from dataclasses import replace

from ftpsproxy import net
from ftpsproxy.config import Upstream
from ftpsproxy.net import now
from ftpsproxy.probe.link import GREETING_SECONDS, Ground, Link, connected, first_line, quoted
from ftpsproxy.session.recognising import protocol_at
from ftpsproxy.tls import Context, Refused

_QUIET_SECONDS = 1.0  # then a silent server is asked what it is, while its greeting is still waited for
_FOREIGN = {
    "SSH": "this is an SSH server: SFTP, perhaps, which is another protocol than FTPS; ask the partner for FTPS",
    "HTTP": "this is a web server, not FTP: another port is meant, or another host",
    "IMAP": "this is a mail server (IMAP), not FTP: another port is meant, or another host",
    "POP3": "this is a mail server (POP3), not FTP: another port is meant, or another host",
}
_SILENT = (
    f"connected, but it says nothing in {GREETING_SECONDS:g} s, neither in clear nor in answer to TLS: perhaps a "
    "firewall takes connections for it and lets nothing through, or another port is meant"
)


class First(enum.Enum):
    """What the server does first."""

    GREETS = "greets"
    TLS = "tls"


async def meet(ground: Ground, upstream: Upstream) -> First:
    """Connect, and hear what comes first. Raises Refused where it is no FTP server, or refuses."""
    say, began = ground.journal.say, now()
    link = await connected(ground, upstream)
    try:
        address = net.unzoned(link.control.peer)
        say(
            True,
            f"connected to {address} port {upstream.port}",
            began,
            name="connect",
            address=address,
            port=upstream.port,
        )
        began = now()
        if upstream.implicit and await _answer(link) == "TLS":
            say(True, "it begins with TLS: implicit", began, name="greeting")
            return First.TLS
        try:
            return await _first_words(ground, link, began)
        except Refused as error:
            raise foreign(error) from None
    finally:
        await link.leave() if link.greeting is not None else link.close()


def foreign(error: Refused) -> Refused:
    """With the words for what else than FTP it may be."""
    words = _FOREIGN.get(error.reason)
    return error if words is None else Refused(f"speaks_{error.reason.lower()}", words)


async def _first_words(ground: Ground, link: Link, began: float) -> First:
    say = ground.journal.say
    asked = ""
    for seconds in (_QUIET_SECONDS, GREETING_SECONDS):
        try:
            link.greeting = greeting = await link.final("its greeting", began + seconds - now())
        except Refused as error:
            if error.reason == "TLS":
                asked = "TLS"
            elif error.reason != "timeout":
                raise
        else:
            say(
                not greeting.refused,
                f"greeting in clear: {first_line(greeting)}",
                began,
                name="greeting",
                reply=quoted(greeting),
            )
            if greeting.refused:
                raise Refused("greeting_refused", f"the server refuses the session: {quoted(greeting)}")
            return First.GREETS
        asked = asked or (await _answer(link) if seconds == _QUIET_SECONDS else "")
        if asked == "TLS":
            say(True, "it says nothing in clear, and answers TLS: implicit", began, name="greeting")
            return First.TLS
        if asked in _FOREIGN:
            raise Refused(asked, "")
    if said := link.control.replies.passed_over:
        raise Refused("no_ftp", f"what it says is no FTP: {said[0]!r}: another port is meant, or another host")
    say(False, "it says nothing", began, name="greeting")
    raise Refused("silent", _SILENT)


async def _answer(link: Link) -> str:
    """What protocol the server, on another connection, answers TLS by."""
    tls = Context(verify=False, minimum="1.2", maximum="1.3", alpn=b"ftp").connect(link.upstream.server_name)
    return await protocol_at(link.control.peer, link.upstream.port, tls)


def ways(upstream: Upstream, first: First) -> list[Upstream]:
    """How it may be spoken to, the likeliest first."""
    implicit = replace(upstream, implicit=True, implicit_greeting="tls")
    explicit = replace(upstream, implicit=False, implicit_greeting="tls", auth=("TLS", "SSL"))
    in_clear = replace(implicit, implicit_greeting="clear")  # z/OS; AUTH to it would be TLS that is none
    if first is First.TLS:
        return [implicit]
    return [in_clear, explicit] if upstream.implicit else [explicit, in_clear]
