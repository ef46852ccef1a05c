"""One command under way at the server, with its transfer if it has one, and what its replies mean.

The joint rule lives here: the client hears a transfer's final reply only when the server has given it *and* the bytes
have ended; 2xx only when both went well and the client's data connection stood until it was closed.
"""

import enum
import re
from dataclasses import dataclass

from ftpsproxy.ftp import replies
from ftpsproxy.ftp.commands import LISTINGS, Command, Direction
from ftpsproxy.ftp.events import RelayFinished, TransferClosed
from ftpsproxy.ftp.orders import (
    DropEndpoints,
    FinishInBand,
    FinishTransfer,
    NoteCloseNotifyMissing,
    NoteReuseRefused,
    Order,
    Outcome,
    TellClient,
    TellServer,
    Transfer,
)
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.server_endpoint import DeferredEndpoint

# What a server says to ABOR when that went well (RFC 959 section 5.4); what it says to nothing but the PWD behind it.
_ABOR_ANSWERS = frozenset({225, 226})
_MARK = 257
_MOST_REPLIES = 8
# Replies that can only have been meant for something else; after them it is not known which answers which.
_NO_VERDICT = frozenset({220, 221, 230, 257})
# What a server says behind a data connection that has failed: the client is to hear why it has.
_CONSEQUENCES = frozenset({425, 426, 451})
_REUSE_WORDS, _TLS_WORDS = ("reuse", "resum"), ("session", "tls", "ssl")


@dataclass(slots=True)
class Abort:
    """The end of an exchange by ABOR, and the replies it takes.

    A transfer is ended by resetting its data connections: each server notices that and gives one final reply. That
    waits for the server's first reply: vsftpd and Pure-FTPd end the session over a connection reset before its
    handshake, and Pure-FTPd takes ABOR past its own TLS. ABOR itself is `asked` only where nothing comes of it: servers
    answer it once, twice or three times without saying for what, or not at all. A PWD follows it once the first reply
    is in: servers answer in order, and nobody answers ABOR by 257, so no late reply is left over to be taken for the
    answer to the next command. Where 257 never comes, quiet is the end.

    `silent`: the client did not say it, and hears one reply, for the transfer.
    """

    asked: bool = False
    silent: bool = False
    first: Reply | None = None
    second: Reply | None = None
    over: bool = False
    _count: int = 0

    def heard(self, reply: Reply) -> None:
        """Take the next final reply."""
        self._count += 1
        if self.first is None:
            self.first = reply
            self.over = not self.asked
        elif reply.code == _MARK or self._count >= _MOST_REPLIES:
            self.over = True
        elif reply.code in _ABOR_ANSWERS:
            self.second = reply


class Phase(enum.Enum):
    """Where an exchange is. A command without a transfer is SENT, then OVER. One with a transfer goes down this list,
    from PREPARING or SENT on, past what does not happen; ABORTING comes from anywhere before CLOSING."""

    TAKING_BACK = enum.auto()  # a transfer command does not go out: the REST before it is taken back
    PREPARING = enum.auto()  # what must go before a transfer command: PRET, the server's endpoint, REST
    SENT = enum.auto()  # the server has the command, and there is no transfer
    PROBING = enum.auto()  # the same with a 150 to a verb nobody knows: it may be a transfer
    TRANSFERRING = enum.auto()  # bytes move, and there is no verdict
    AWAITING_BYTES = enum.auto()  # the server's verdict is in, 2xx; the bytes still move
    AWAITING_VERDICT = enum.auto()  # the bytes have ended
    PROVING = enum.auto()  # both are in, and the server is asked for the SIZE
    CLOSING = enum.auto()  # it is being closed as whole
    ABORTING = enum.auto()  # broken off: see Abort
    OVER = enum.auto()  # the client has its final reply


# Without a transfer; its command may become one.
ASKED = (Phase.TAKING_BACK, Phase.PREPARING, Phase.SENT, Phase.PROBING)
# ABOR can break it off, if it is a transfer.
ABORTABLE = (*ASKED, Phase.TRANSFERRING, Phase.AWAITING_BYTES, Phase.AWAITING_VERDICT)


@dataclass(slots=True)
class Exchange:
    """A client's command that the server has been given.

    `sent` is what the server is given for it, once what must go before it (`deferred`) is done; `told` how many lines
    of the reply under way the client has heard; `client_gone` when nobody waits for the reply any more; `refusal` what
    the client hears of a transfer command that does not go out. `offset` is where in its file a transfer begins;
    `size_of` asks for the size of what is downloaded, where that can be compared (in TYPE I).
    """

    command: Command
    sent: Command
    phase: Phase = Phase.SENT
    transfer: Transfer | None = None
    deferred: DeferredEndpoint | None = None
    refusal: Reply | None = None
    reply: Reply | None = None
    ended: RelayFinished | None = None
    abort: Abort | None = None
    told: int = 0
    preliminaries: int = 0
    client_gone: bool = False
    size_of: Command | None = None
    offset: int | None = None

    @property
    def settled(self) -> bool:
        """Whether the server has done its part: it has said 2xx to a download, and what it sent is in or on its way, or
        to a file whose end stands in its data."""
        transfer = self.transfer
        if transfer is None:
            return False
        if self.phase is Phase.AWAITING_BYTES:
            return transfer.direction is Direction.DOWNLOAD or transfer.ends_in_band
        return self.phase is Phase.CLOSING

    def prepare(self, deferred: DeferredEndpoint) -> None:
        """Something must go before the command."""
        self.deferred = deferred
        self.phase = Phase.PREPARING

    def prepared(self) -> None:
        """That is done."""
        self.deferred = None
        self.phase = Phase.SENT

    def begin(self, transfer: Transfer) -> None:
        """There is a transfer; its verdict may be in before."""
        self.transfer = transfer
        if self.phase is not Phase.ABORTING:
            self.phase = Phase.TRANSFERRING if self.reply is None else Phase.AWAITING_BYTES

    def begun_behind_verdict(self) -> None:
        """What was said before the transfer began was no verdict on it."""
        if self.phase is Phase.AWAITING_BYTES:
            self.reply = None
            self.phase = Phase.TRANSFERRING

    def verdict(self, transfer: Transfer, reply: Reply) -> list[Order]:
        """The server's final reply to the transfer."""
        ended = self.ended
        if self.phase is Phase.CLOSING:
            return []  # it has given its verdict
        if not reply.good or reply.code in _NO_VERDICT:
            why = f"the server said {reply.code} {reply.text}"
            if ended is not None and not ended.ok:
                why = f"{ended.why}; {why}"
            # 3xx ends no transfer (RFC 959); only 2xx makes a file whole.
            told = reply if reply.refused else replies.own(451, f"The server answered {reply.code} {reply.text}")
            note = reuse_note(self.command, reply)
            if not note:
                told = self._with_cause(told)
            end = FinishTransfer(transfer.number, False, told.code, "torn", why)
            return [*note, *self._conclude(told, end)]
        if self.reply is not None:
            return []  # a second final reply; the first one counts
        self.reply = reply
        if ended is not None:
            return self._settle(transfer, reply, ended)
        self.phase = Phase.AWAITING_BYTES
        return in_band(transfer)

    def _with_cause(self, reply: Reply) -> Reply:
        """What the client hears of a refusal: why the bytes have failed, if that is what the server refuses. Where the
        server has broken off what stood, its own words are the cause (ProFTPD does, for want of a resumed session)."""
        ended = self.ended
        if ended is None or ended.ok or reply.code not in _CONSEQUENCES or ended.by_server:
            return reply
        return replies.own(ended.code, f"Transfer failed: {ended.why}; the server said {reply.code} {reply.text}")

    def data_ended(self, event: RelayFinished) -> list[Order]:
        """The bytes of a transfer have ended, of this one or late news of another."""
        transfer = self.transfer
        if transfer is None or transfer.number != event.number or self.phase is Phase.CLOSING:
            return []
        if self.ended is None or self.ended.ok:
            self.ended = event  # bytes that ended well may yet be lost on the server's side
        if self.phase is Phase.TRANSFERRING:
            self.phase = Phase.AWAITING_VERDICT
        if self.phase is Phase.ABORTING or self.reply is None:
            return []
        return self._settle(transfer, self.reply, self.ended)

    def _settle(self, transfer: Transfer, reply: Reply, ended: RelayFinished) -> list[Order]:
        """The server has said 2xx, and the bytes have ended."""
        if ended.unproved is not None:
            return self._prove(transfer, ended.unproved)
        if ended.ok:
            return self._whole(transfer, reply, "client_gone_before_226" if self.client_gone else "")
        torn = replies.own(ended.code, f"Transfer failed: {ended.why}.")
        return self._conclude(torn, FinishTransfer(transfer.number, False, torn.code, "torn", ended.why))

    def _whole(self, transfer: Transfer, reply: Reply, why: str) -> list[Order]:
        self.phase = Phase.CLOSING
        return [FinishTransfer(transfer.number, True, reply.code, "complete", why)]

    def _prove(self, transfer: Transfer, count: int) -> list[Order]:
        """The bytes have ended without close_notify, as they do where somebody has cut the wire: is that all of it?"""
        assert self.reply is not None  # noqa: S101 - its verdict came first
        if transfer.verb in LISTINGS:
            note = NoteCloseNotifyMissing(transfer.verb.decode())
            return [note, *self._whole(transfer, self.reply, "")]
        if self.size_of is None:
            return self._unproved(transfer, "only a RETR in TYPE I can be compared with SIZE")
        self.phase = Phase.PROVING
        return [TellServer(self.size_of.encode())]

    def size_heard(self, said: Reply | None) -> list[Order]:
        """The server's reply to SIZE; None when there will be none."""
        transfer, ended, reply = self.transfer, self.ended, self.reply
        if transfer is None or ended is None or reply is None or ended.unproved is None:
            return []
        if said is None:
            return self._unproved(transfer, "the server can't be asked for its SIZE any more")
        size = said.text.strip()
        if not said.good or not size.isdecimal():
            return self._unproved(transfer, f"SIZE: {said.code} {said.text}")
        if int(size) - (self.offset or 0) == ended.unproved:
            return self._whole(transfer, reply, "client_gone_before_226" if self.client_gone else "proved by SIZE")
        return self._torn(transfer, f"{ended.unproved} bytes came, then the end without close_notify; SIZE says {size}")

    def _unproved(self, transfer: Transfer, why: str) -> list[Order]:
        hint = 'close_notify = "reply" takes this server\'s word for it'
        return self._torn(transfer, f"the server left out close_notify, and nothing proves the end: {why} ({hint})")

    def _torn(self, transfer: Transfer, why: str) -> list[Order]:
        torn = replies.own(426, f"Transfer failed: {why}.")
        return self._conclude(torn, FinishTransfer(transfer.number, False, torn.code, "torn", why))

    def data_closed(self, event: TransferClosed) -> list[Order]:
        """A transfer that was to end whole is closed, and the client may hear so."""
        transfer, reply = self.transfer, self.reply
        if self.phase is not Phase.CLOSING or transfer is None or transfer.number != event.number or reply is None:
            return []
        self.phase = Phase.OVER
        if not event.why and self.ended is not None and self.ended.left_out:
            said = f"Done, but for {self.ended.left_out} names that have letters which your charset has not."
            return [TellClient(replies.own(reply.code, said))]
        return [TellClient(replies.own(426, f"Transfer failed: {event.why}.") if event.why else reply)]

    def _conclude(self, reply: Reply, end: FinishTransfer) -> list[Order]:
        self.phase = Phase.OVER
        return [end, TellClient(reply)]

    def abandon(self, code: int, outcome: Outcome, why: str) -> list[Order]:
        """End the transfer under way, if there is one, as torn."""
        if self.transfer is None or self.phase in (Phase.ABORTING, Phase.CLOSING):
            return []
        return [FinishTransfer(self.transfer.number, False, code, outcome, why)]

    def start_abort(self) -> list[Order]:
        """The client says ABOR in the middle of it."""
        orders = self.abandon(426, "aborted", "ABOR")
        probed = self.phase is Phase.PROBING
        self.abort, self.phase = Abort(), Phase.ABORTING
        if self.transfer is None:
            if self.deferred is None and not probed:
                return []
            rest = self.deferred.rest if self.deferred is not None else None
            self.deferred = None
            return [*take_back(rest), *self.ask_to_abort(self.abort)]
        if self.reply is not None:
            orders += self.abort_heard(self.abort, self.reply)
        return orders

    def rouse(self, why: str) -> list[Order]:
        """The bytes did not end well, and the server says nothing: Pure-FTPd never does when a download breaks."""
        orders = self.abandon(426, "torn", why)
        self.abort, self.phase = Abort(silent=True), Phase.ABORTING
        return [*orders, *self.ask_to_abort(self.abort)]

    def ask_to_abort(self, abort: Abort) -> list[Order]:
        """Say it to the server, too."""
        abort.asked = True
        said = TellServer(b"ABOR\r\n")
        return [said] if self.transfer is not None else [DropEndpoints(), said]

    def abort_begun(self, transfer: Transfer) -> list[Order]:
        """The server begins what the client has broken off: now it can be reset."""
        self.transfer = transfer
        return [FinishTransfer(transfer.number, False, 426, "aborted", "ABOR")]

    def abort_heard(self, abort: Abort, reply: Reply) -> list[Order]:
        """A reply behind ABOR: the client hears two, 4xx or 5xx for the transfer and 2xx for ABOR."""
        if reply.preliminary:
            return []
        begins = abort.first is None
        abort.heard(reply)
        orders: list[Order] = []
        if begins:
            ended = self.ended if abort.silent else None
            why = f"Transfer failed: {ended.why}." if ended else "Transfer aborted."
            code = ended.code if ended and ended.code >= 500 else 426  # with 5xx a device does not try again
            told = reply if reply.refused else replies.own(code, why)
            orders.append(TellClient(self._with_cause(told) if abort.silent and reply.refused else told))
        if abort.over:
            return [*orders, *self.abort_over(abort)]
        if begins:
            orders.append(TellServer(b"PWD\r\n"))
        return orders

    def abort_over(self, abort: Abort) -> list[Order]:
        """All that the server has to say to it is said."""
        self.phase = Phase.OVER
        if abort.silent:
            return []
        second = abort.second
        return [TellClient(second if second is not None else replies.own(226, "Abort successful."))]


def in_band(transfer: Transfer) -> list[Order]:
    """Behind a 2xx with the data still open: in MODE B and C nobody may ever close it."""
    return [FinishInBand(transfer.number)] if transfer.ends_in_band else []


def take_back(rest: Command | None) -> list[Order]:
    """A REST that no transfer has followed: the next file would begin there."""
    return [TellServer(b"REST 0\r\n")] if rest is not None else []


def reuse_note(command: Command, reply: Reply) -> list[Order]:
    """vsftpd says 522, ProFTPD and FileZilla Server 425, when a data connection did not resume. All else may be about a
    file: its name, or one that can't be resumed."""
    text = reply.text.lower()
    if command.argument and reply.code != 522:
        text = re.sub(rf"(?<![\w.-]){re.escape(command.text.lower())}(?![\w.-])", "", text)
    of_tls = any(word in text for word in _TLS_WORDS) and any(word in text for word in _REUSE_WORDS)
    if of_tls and (reply.code == 522 or 400 <= reply.code < 500):
        return [NoteReuseRefused(f"{reply.code} {reply.text}")]
    return []
