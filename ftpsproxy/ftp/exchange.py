"""One command under way at the server, with its transfer if it has one, and what its replies mean.

Pure book-keeping: protocol.py decides what is sent.
"""

from dataclasses import dataclass, field

from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.messages import DataEnded, Transfer
from ftpsproxy.ftp.replies import Reply

# An answer to the NOOP behind ABOR: 200 as RFC 959 has it, or from a server that does not know NOOP.
_NOOP_ANSWERS = frozenset({200, 500, 502})
_MOST_ABORT_REPLIES = 3


@dataclass(slots=True)
class Abort:
    """The replies to ABOR: for the transfer, for ABOR itself, or one for both; and none is told which it is.

    So a NOOP follows once the first is in. Servers answer in order, so its reply is the last of the lot, and no
    late one is left over to be taken for the answer to the next command.
    """

    first: Reply | None = None
    second: Reply | None = None
    over: bool = False

    def heard(self, reply: Reply) -> None:
        """Take the next final reply."""
        if self.first is None:
            self.first = reply
        elif reply.code in _NOOP_ANSWERS or self.second is not None:
            self.over = True
        else:
            self.second = reply


@dataclass(slots=True)
class Exchange:
    """A client's command that the server has been given and has not finally answered."""

    command: Command
    sent: Command
    transfer: Transfer | None = None
    reply: Reply | None = None
    ended: DataEnded | None = None
    abort: Abort | None = field(default=None)

    @property
    def moving(self) -> bool:
        """Whether a transfer is under way in it."""
        return self.transfer is not None
