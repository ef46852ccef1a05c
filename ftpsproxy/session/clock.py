"""By when something must happen in a session, according to what is being waited for."""

import trio

from ftpsproxy.ftp.waiting import Waiting
from ftpsproxy.net import NEVER, TimeLimit, now

# After so much silence behind a line that may end a reply, it has.
_ODD_END_SECONDS, _ODDER_END_SECONDS = 1.0, 3.0


class Clock:
    """`patience` says how long each kind of waiting may last, in seconds. All times are of trio's clock; the earliest
    is the `limit` of whoever hears the server."""

    __slots__ = ("_now", "due", "greeted", "limit", "login_due", "patience", "quiet_since", "reply_ends", "unused_by")

    def __init__(self, patience: dict[Waiting, float]) -> None:
        self._now = trio.lowlevel.current_clock().current_time  # asked at each event: `now` would look it up each time
        self.patience = patience
        self.due = NEVER  # when what is waited for has lasted too long
        self.login_due = NEVER  # when a login has; never, once there is one
        self.reply_ends = NEVER  # when a reply that may be over is
        self.unused_by = NEVER  # when what was prepared for a transfer has waited too long for it
        self.limit = TimeLimit()
        self.quiet_since = self.greeted = now()

    def arm(self, waiting: Waiting) -> None:
        """Something has happened, and this is being waited for now."""
        time = self.quiet_since = self._now()
        if waiting is Waiting.OPENING:
            self.greeted = time
        # Whoever goes on saying commands, or a server that says 120 again and again, would never be late for the login.
        self.due = self.login_due if waiting is Waiting.LOGIN else min(time + self.patience[waiting], self.login_due)
        self.set_limit()

    def set_limit(self) -> None:
        """One of the times has changed."""
        self.limit.move(min(self.due, self.reply_ends, self.unused_by))

    def reply_may_be_over(self, *, changes_class: bool) -> None:
        """A line has come that may end a reply; stranger than others if its code is of another class."""
        self.reply_ends = now() + (_ODDER_END_SECONDS if changes_class else _ODD_END_SECONDS)
        self.set_limit()
