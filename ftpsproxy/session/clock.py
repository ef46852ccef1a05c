"""By when something must happen in a session, according to what is being waited for."""

from ftpsproxy.ftp.waiting import Waiting
from ftpsproxy.net import NEVER, now

# After so much silence behind a line that may end a reply, it has.
_ODD_END_SECONDS, _ODDER_END_SECONDS = 1.0, 3.0


class Clock:
    """`patience` says how long each kind of waiting may last, in seconds. All times are of trio's clock."""

    __slots__ = ("_patience", "due", "greeted", "login_due", "quiet_since", "reply_ends")

    def __init__(self, patience: dict[Waiting, float]) -> None:
        self._patience = patience
        self.due = NEVER  # when what is waited for has lasted too long
        self.login_due = NEVER  # when a login has: from the connection to the server on
        self.reply_ends = NEVER  # when a reply that may be over is
        self.quiet_since = self.greeted = now()

    def arm(self, waiting: Waiting) -> None:
        """Something has happened, and this is being waited for now."""
        time = self.quiet_since = now()
        if waiting is Waiting.OPENING:
            self.greeted = time
        due = self.login_due if waiting is Waiting.LOGIN else time + self._patience[waiting]
        if waiting is Waiting.OPENING:
            due = min(due, self.login_due)  # a server that says 120 again and again would never be late
        self.due = due

    def reply_may_be_over(self, *, changes_class: bool) -> None:
        """A line has come that may end a reply; stranger than others if its code is of another class."""
        self.reply_ends = now() + (_ODDER_END_SECONDS if changes_class else _ODD_END_SECONDS)
