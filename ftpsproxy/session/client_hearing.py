"""The task of a session that hears the client, and finds out when it has gone."""

import time
from typing import TYPE_CHECKING

import trio

from ftpsproxy import net
from ftpsproxy.ftp.commands import pieces
from ftpsproxy.ftp.errors import ProtocolError
from ftpsproxy.ftp.events import ClientErred, ClientLost, ClientSaid, Stopped
from ftpsproxy.ftp.protocol import heard
from ftpsproxy.net import NEVER, now
from ftpsproxy.observe import log, redaction
from ftpsproxy.session.client import ForeignProtocol
from ftpsproxy.session.control import Flood, Lost

if TYPE_CHECKING:
    from ftpsproxy.session.session import Session

# A client whose next line waits is not read from; whether it is still there is looked at this often.
_LOOK_SECONDS = 1.0
# A client that has ended its side of the connection, and perhaps more, waits so long for the reply to a command.
_HEARD_OUT_SECONDS = 5.0
_LINES_A_TURN = 32


class ClientHearing:
    """`run` is the task."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._wanted: trio.Event | None = None  # while it waits to be heard again
        self._second = 0
        self._lines_in_second = 0

    def go_on(self) -> None:
        """Hear the client again if it is to be heard."""
        if self._wanted is not None and self._session.protocol.hears_client:
            self._wanted.set()

    async def run(self) -> None:
        """Until the session is over, or the client is lost."""
        try:
            await self._hear()
        finally:
            self._session.client.listened_to = False

    async def _hear(self) -> None:
        session, control, protocol = self._session, self._session.client, self._session.protocol
        lines = 0
        while not session.over:
            if not protocol.hears_client:
                if not await self._waits():
                    self._left()
                    return
                continue
            try:
                line = control.pop()
            except ProtocolError as error:
                session.feed(ClientErred(str(error)))
                continue
            if line is not None:
                self._hear_line(line)
                if (lines := lines + 1) % _LINES_A_TURN == 0:
                    await net.turn()  # a flood of what is answered here must not starve the others
                continue
            if (why := await self._receive()) is not None:
                session.feed(ClientLost(why, data_left=self._upload_goes_on()))
                return

    async def _receive(self) -> str | None:
        """More of what it says → None, or why it is lost."""
        session, control, protocol = self._session, self._session.client, self._session.protocol
        try:
            if await control.receive():
                return None
            while protocol.owes_replies and await self._waits():
                pass
            return "left with commands unanswered" if protocol.owes_replies else ""
        except ForeignProtocol as error:
            session.show()
            log.session_foreign(protocol=str(error))
            return "foreign protocol"
        except Flood as error:
            session.show()
            log.session_limit(limit="line_bytes", detail=str(error))
            return str(error)
        except Lost as error:
            return str(error)

    async def _waits(self) -> bool:
        """Until the client is to be heard again → False when it has gone meanwhile, with nothing left to read.

        One that has ended its side alone, as a script does that pipes its commands into nc, can't be told from one that
        has gone until it is sent something. It gets the replies to what it has said, if none takes long.
        """
        control, protocol = self._session.client, self._session.protocol
        until = NEVER
        self._wanted, control.listened_to = trio.Event(), False
        try:
            while True:
                with trio.move_on_at(min(until, now() + _LOOK_SECONDS)):
                    await self._wanted.wait()
                    return True
                ended = control.ended
                if ended and protocol.owes_replies:
                    until = min(until, now() + _HEARD_OUT_SECONDS)
                    ended = now() >= until
                if ended or control.broken:
                    return self._upload_goes_on()
        finally:
            self._wanted, control.listened_to = None, True

    def _upload_goes_on(self) -> bool:
        """The client's control connection is gone: whether its data connection is to tell if an upload was whole."""
        data = self._session.data
        return data is not None and self._session.protocol.upload_under_way and data.control_lost()

    def _left(self) -> None:
        """It has gone while it was not heard."""
        session = self._session
        why = "left with commands unanswered" if session.commands else "left before its greeting"
        session.feed(ClientLost(why))
        if session.over:
            session.server_hearing.interrupt(opening=True)  # nobody is left to reach the server for

    def _hear_line(self, line: bytes) -> None:
        session = self._session
        session.commands += 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines_in_second = second, 0
        self._lines_in_second += 1
        if self._lines_in_second > session.service.limits.commands_per_second:
            session.show()
            log.session_limit(limit="commands_per_second", detail=f"{self._lines_in_second} in one second")
            session.feed(Stopped("Too many commands, closing."))
            return
        event = heard(line, session.service.policy.charsets)
        if isinstance(event, ClientSaid):
            command = event.command
            if secrets := command.secrets:
                redaction.hide(command.known_verb, *secrets)  # servers quote what they refuse
            if session.service.debug:
                log.session_command(verb=command.shown_verb, argument=command.shown)
        else:
            redaction.hide("", *pieces(line.decode("utf-8", "backslashreplace")))
        if event is not None:
            session.feed(event)
        else:
            session.alive()
