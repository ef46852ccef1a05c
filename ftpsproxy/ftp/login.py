"""The client's login: whose it is, how often it was refused, and what the server takes only behind it."""

from ftpsproxy.ftp import replies
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.opening import Protection, Refusal
from ftpsproxy.ftp.orders import NoteLogin, Order, TellClient, TellServer
from ftpsproxy.ftp.replies import Reply

# To ACCT other servers say 202, "superfluous", whoever asks (Pure-FTPd); as an answer to USER and PASS 200, 202 and 220
# are a login of old ones.
_LOGGED_IN = frozenset({230, 232})


class Login:
    """The state of one session's login. `busy` while the server is told things of which the client hears nothing."""

    __slots__ = (
        "_asked",
        "_attempts",
        "_failed",
        "_implicit",
        "_late",
        "_options",
        "_twice",
        "_user",
        "_waiting",
        "_welcome",
        "done",
        "protect",
        "protected",
        "refusal",
    )

    def __init__(self, *, implicit: bool, attempts: int) -> None:
        self._implicit = implicit
        self._attempts = attempts
        self._failed = 0
        self._user = ""
        self._twice = False
        self._asked = b""  # the verb a server has asked for, by 331 or 332
        self._late: Protection | None = None
        self._options: list[Command] = []
        self._waiting = 0
        self._welcome: Reply | None = None
        self.done = False
        self.protect = False
        self.protected = False
        self.refusal: Refusal | None = None

    @property
    def busy(self) -> bool:
        """Whether the server owes answers to something behind the login."""
        return self._late is not None or self._waiting > 0

    @property
    def exhausted(self) -> bool:
        """Whether as many logins were refused as may be."""
        return self._failed >= self._attempts

    def keeps(self, command: Command) -> bool:
        """Whether a refused OPTS is said again after the login: Windows leaves when it is refused."""
        if self.done or not (command.argument or b"").upper().startswith((b"UTF8", b"UTF-8")):
            return False
        self._options = [command]
        return True

    def answered(self, command: Command, reply: Reply) -> list[Order]:
        """The server's final reply to USER, PASS or ACCT."""
        if command.verb == b"USER":
            self._user = command.shown
        asked = self._asked
        if not reply.refused:
            self._twice = False
            self._asked = b"" if reply.good else (b"ACCT" if reply.code == 332 else b"PASS")
        if reply.good and (command.verb != b"ACCT" or asked == b"ACCT" or reply.code in _LOGGED_IN):
            return self._succeeded(reply)
        if not reply.refused or not self._is_guess(command, reply, asked):
            return [TellClient(reply)]
        self._failed += 1
        return [NoteLogin(self._user, False, reply.code), TellClient(reply)]

    def _is_guess(self, command: Command, reply: Reply, asked: bytes) -> bool:
        """Whether a refusal is one of a password. Not so that of an account nobody has asked for, or of a login that is
        said once more: "530 You're already logged in", and then the same to PASS (Pure-FTPd)."""
        if command.verb == b"USER":
            self._twice = self.done
            return not self.done
        first = not self.done or (reply.code == 530 and not self._twice)
        return command.verb == asked or (command.verb == b"PASS" and first)

    def _succeeded(self, reply: Reply) -> list[Order]:
        self.done = True
        self._failed = 0
        note = NoteLogin(self._user, True, reply.code)
        if reply.code == 232:
            reply = replies.own(230, "Logged in.")  # RFC 2228, with a client certificate; plain clients don't know it
        self._welcome = reply
        if self.protect:
            self._late = Protection(tolerant=self._implicit)
            return [note, *self._late.start()]
        # A second login takes PROT P back at some servers (pyftpdlib), so it is said again from here on.
        self.protect = True
        return [note, *self._say_options()]

    def heard(self, reply: Reply) -> list[Order]:
        """A reply to what the client hears nothing of."""
        if self._late is not None:
            orders = self._late.heard(reply)
            if not self._late.done:
                return orders
            late, self._late = self._late, None
            self.protected = self.protected or late.refused is None
            if late.failed and late.refused is not None and not self.protected:
                detail = f"the server refuses to protect data: PROT P: {late.refused.code} {late.refused.text}"
                self.refusal = Refusal("prot_refused", detail)
                return orders
            return [*orders, *self._say_options()]
        if not reply.preliminary:
            self._waiting -= 1
        return self._say_welcome() if not self._waiting else []

    def _say_options(self) -> list[Order]:
        options, self._options = self._options, []
        self._waiting = len(options)
        if not options:
            return self._say_welcome()
        return [TellServer(option.encode()) for option in options]

    def _say_welcome(self) -> list[Order]:
        welcome, self._welcome = self._welcome, None
        return [TellClient(welcome)] if welcome is not None else []
