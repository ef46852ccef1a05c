"""What the server has said already is not asked again: each question less is a round trip less.

Only what cannot have changed: TYPE, MODE and STRU with the value that holds, SYST, FEAT. The answer is in the server's
own words. Of two such commands in a row the second goes to the server all the same: clients keep sessions alive by
them.
"""

from ftpsproxy.ftp import commands
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.replies import Reply

_VALUES = frozenset({b"TYPE", b"MODE", b"STRU"})
_QUESTIONS = frozenset({b"SYST", b"FEAT"})
# Behind these another answer may be right: a login, REIN, OPTS MLST, SITE NAMEFMT of IBM i and its like.
_RENEWING = commands.LOGIN_VERBS | frozenset(b"REIN HOST OPTS LANG SITE SMNT CSID CLNT".split())
_MOST_BYTES = 4096  # of an answer that is kept, in each session


class Repeated:
    """Of one session."""

    __slots__ = ("_answers", "_spared")

    def __init__(self) -> None:
        self._answers: dict[bytes, tuple[bytes, Reply]] = {}  # by verb, the argument that was so answered
        self._spared = False

    def answer(self, command: Command) -> Reply | None:
        """What the client would hear to this; None where the server has to be asked."""
        argument, reply = self._answers.get(command.verb, (b"", None))
        if reply is None or self._spared or argument != _same(command):
            self._spared = False
            return None
        self._spared = True
        return reply

    def answered(self, command: Command, reply: Reply, *, utf8: bool | None = None) -> None:
        """The server's final reply to any command without a transfer; `utf8` as in `visible_features`."""
        verb = command.verb
        if verb in _RENEWING:
            self._answers.clear()
        elif verb in _VALUES or (verb in _QUESTIONS and not command.argument):
            if reply.good and sum(map(len, reply.lines)) <= _MOST_BYTES:
                if verb == b"FEAT":
                    reply = Reply(reply.code, commands.visible_features(reply.lines, utf8=utf8))
                self._answers[verb] = _same(command), reply
            else:
                self._answers.pop(verb, None)


def _same(command: Command) -> bytes:
    return (command.argument or b"").strip().upper()
