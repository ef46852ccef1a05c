"""What the server is asked on the gateway's own behalf, between two commands of the client's.

The client hears nothing of it, and what it is to hear, or its own command, waits until all is answered.
"""

from collections import deque

from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.orders import Order, TellServer
from ftpsproxy.ftp.replies import Reply


class Questions:
    """One session's. `behind_login`: whether a login was taken whose questions are yet to be asked."""

    __slots__ = ("_asked", "_command", "_held", "behind_login")

    def __init__(self) -> None:
        self._asked: deque[Command] = deque()
        self._held: list[Order] = []
        self._command: Command | None = None
        self.behind_login = False

    @property
    def busy(self) -> bool:
        """Whether the server owes answers."""
        return bool(self._asked)

    def ask(
        self, questions: tuple[Command, ...], *, held: list[Order] | None = None, command: Command | None = None
    ) -> list[Order]:
        """Ask them, one behind the other; then these orders are to be carried out, or this command is to be said."""
        self._asked.extend(questions)
        self._held = held if held is not None else []
        self._command = command
        return [TellServer(self._asked[0].encode())]

    def heard(self, reply: Reply) -> Command | None:
        """A reply → the question that is answered by it."""
        return None if reply.preliminary else self._asked.popleft()

    def next(self) -> list[Order]:
        """What is to be done behind an answer: the next question, or what was held."""
        if self._asked:
            return [TellServer(self._asked[0].encode())]
        held, self._held = self._held, []
        return held

    def take_command(self) -> Command | None:
        """The client's command that has waited for them; None while there are more."""
        if self._asked:
            return None
        command, self._command = self._command, None
        return command
