"""The way to a protected session: greeting, AUTH, TLS, PBSZ, PROT (RFC 4217), before the client hears a word."""

import enum
from dataclasses import dataclass

from ftpsproxy.ftp.orders import Order, StartTls, TellServer
from ftpsproxy.ftp.replies import Reply


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there can be no session: a machine word for the log, plain words for the client."""

    reason: str
    detail: str


class Protection:
    """`PBSZ 0` and `PROT P`, which most servers take before the login and a few only after it.

    An implicit server may refuse both: MS-FTPS forbids them there and protects data all the same. The gateway never
    opens a data connection without TLS, whatever is answered here.
    """

    __slots__ = ("_prot_sent", "_tolerant", "done", "refused")

    def __init__(self, *, tolerant: bool) -> None:
        self._tolerant = tolerant
        self._prot_sent = False
        self.done = False
        self.refused: Reply | None = None

    def start(self) -> list[Order]:
        """The first command."""
        return [TellServer(b"PBSZ 0\r\n")]

    def heard(self, reply: Reply) -> list[Order]:
        """The answer to the last command → the next, or none: `done` then, with `refused` set when PROT P was."""
        if reply.preliminary:
            return []
        if not self._prot_sent:
            self._prot_sent = True
            return [TellServer(b"PROT P\r\n")]
        self.done = True
        if not reply.good:
            self.refused = reply
        return []

    @property
    def failed(self) -> bool:
        """Whether the server insists on bare data connections."""
        return self.refused is not None and not self._tolerant


_MOST_GREETINGS = 20


class _Step(enum.Enum):
    GREETING = "greeting"
    AUTH = "AUTH"
    TLS = "TLS"
    PROTECT = "PROT"


class Opening:
    """One opening. Ends with `done`, or with `refusal` set."""

    __slots__ = (
        "_auth",
        "_clear",
        "_greetings",
        "_implicit",
        "_last_auth",
        "_step",
        "done",
        "greeting",
        "protect_later",
        "protection",
        "refusal",
    )

    def __init__(self, *, implicit: bool, auth: tuple[str, ...], greeting_in_clear: bool = False) -> None:
        self._implicit = implicit
        self._clear = greeting_in_clear
        self._auth = list(auth)
        self._last_auth = ""
        self._greetings = 0
        self._step = _Step.GREETING
        self.protection = Protection(tolerant=implicit)
        self.greeting: Reply | None = None
        self.refusal: Refusal | None = None
        self.done = False
        self.protect_later = False

    @property
    def step(self) -> str:
        """What is being waited for, for a message."""
        if self._clear and self._step is _Step.GREETING:
            return "its greeting in clear (implicit_greeting)"
        return self._step.value

    def secured(self) -> list[Order]:
        """TLS is up on the control connection, of an explicit server or behind a greeting in clear."""
        self._step = _Step.PROTECT
        return self.protection.start()

    def heard(self, reply: Reply) -> list[Order]:
        """A reply of the server's → what to do next."""
        if reply.preliminary and not self._clear:
            return self._greeted_again()  # 120 before 220
        match self._step:
            case _Step.GREETING:
                if reply.refused or (self._clear and not reply.good):
                    return self._refuse(
                        "greeting_refused", f"the server refuses the session: {reply.code} {reply.text}"
                    )
                if self._clear:
                    # z/OS with SECUREIMPLICITZOS says this one reply in clear, and TLS follows at once. Nothing of it
                    # is used, and the setting is never guessed from what comes: a greeting slipped in before TLS, where
                    # the server says its own behind it, would make every reply answer the command before.
                    self._step = _Step.TLS
                    return [StartTls()]
                self.greeting = reply
                if self._implicit:
                    return self.secured()
                return self._next_auth()
            case _Step.AUTH:
                if reply.code == 220:
                    return self._greeted_again()
                if not reply.refused:  # 234, 334, 200: whether it means it, the handshake proves
                    self._step = _Step.TLS
                    return [StartTls()]
                if reply.refused and self._auth:
                    return self._next_auth()
                return self._refuse(
                    "auth_refused", f"the server refuses TLS: AUTH {self._last_auth}: {reply.code} {reply.text}"
                )
            case _Step.TLS:
                return self._refuse("bytes_after_auth", "the server spoke in clear after it had agreed to TLS")
            case _Step.PROTECT:
                if reply.code == 220:
                    if self._clear:
                        why = 'the server greets behind TLS, too; implicit_greeting = "clear" is wrong here'
                        return self._refuse("greeted_twice", why)
                    if not self._implicit:
                        # Somebody between has greeted and agreed to TLS, and joined it to a server that greets
                        # behind it: every reply would answer the command before.
                        return self._refuse("greeted_twice", "the server greets once more behind TLS")
                    return self._greeted_again()
                orders = self.protection.heard(reply)
                if self.protection.done:
                    self.done = True
                    self.protect_later = self.protection.refused is not None
                return orders

    def _greeted_again(self) -> list[Order]:
        """A greeting of several replies; it answers nothing."""
        self._greetings += 1
        if self._greetings > _MOST_GREETINGS:
            return self._refuse("protocol_error", "the server greets, or is about to, again and again")
        return []

    def _next_auth(self) -> list[Order]:
        self._step = _Step.AUTH
        self._last_auth = self._auth.pop(0)
        return [TellServer(f"AUTH {self._last_auth}\r\n".encode())]

    def _refuse(self, reason: str, detail: str) -> list[Order]:
        self.refusal = Refusal(reason, detail)
        return []
