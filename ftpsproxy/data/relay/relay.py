"""What both relays have in common: sending, and waiting with a limit while the other side is looked at now and then.

Theory. A relay is one task with one cancel scope for all its waits. Its time limit is the next look: a second ahead, or
the moment when whoever is waited for has been silent for too long. Bytes that pass move it on, so that in a busy relay
it never comes; when it does, the wait is cancelled, the look is taken, and the relay goes on where it stood. So all
that a relay knows across a wait stands in its attributes. A small file is there before anybody has to wait: a download
begins without a scope (MustWait).

At most one buffer of ciphertext and one of cleartext is held, beside what the kernel holds; a side that does not take
bytes stops the reading from the other.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ftpsproxy import errors, net
from ftpsproxy.data.relay.flow import Flow, RelayError, TransferPolicy
from ftpsproxy.ftp.data_failure import Cause, Side
from ftpsproxy.net import NEVER, Socket, TimeLimit, now
from ftpsproxy.tls import Buffer, Tls, TlsError

# A side that never makes us wait would never let others run: so much ciphertext, or so many small records, are a turn.
TURN_BYTES = 512 * 1024
SMALL_TURN_BYTES = 8 * 1024
# While one side is waited for, the other is looked at this often: a reset or an alert there ends the wait.
LOOK_SECONDS = 1.0
# The same where the end of a file stands in its data, and its connection need not close.
_IN_BAND_LOOK_SECONDS = 0.05
# What comes within a moment at some 30 MB/s, and how much then is worth waking up for.
_GATHER_SECONDS = 0.002
_MUCH_BYTES = 64 * 1024
_GATHER_BYTES = 512 * 1024


@dataclass(slots=True)
class Receiver:
    """Whom bytes are sent to, how many seconds it may take none, and what it is yet to get."""

    sock: Socket
    side: Side
    stall: float
    unsent: memoryview | bytes = b""


class MustWait(Exception):
    """Nothing more can be done without a wait, and there is no time limit for one yet."""


class Relay:
    """One transfer's bytes on their way from `source`; `turn` counts those since others had their turn."""

    def __init__(self, source: Socket, server: Socket, tls: Tls, flow: Flow, policy: TransferPolicy) -> None:
        self.flow = flow
        self._source = source
        self._server = server
        self._tls = tls
        self._policy = policy
        self._limit = TimeLimit()
        self._limited = False
        self._turn = 0
        self._silent_by = NEVER  # when whoever is waited for has been silent for too long, and what that is called
        self._silent: Side = "server"
        self._why = ""
        self._blocked: Receiver | None = None  # who takes no bytes, and how many it had taken before
        self._taken: int | None = None
        self._patience = Patience(source)
        self._gathering = False
        self._in_band = False
        self._in_band_since = 0.0
        self._in_band_bytes = -1

    async def _run(self, activity: Callable[[], Awaitable[None]]) -> None:
        """Run this to its end. It is cancelled where it waits and run again, behind a look at both sides."""
        self._limited = True
        while not await self._limit.run(activity):
            if self._gathering:
                self._gathering = False  # what has come by now is read in any case
            else:
                self._look_at_clock()
                self._look()

    def _look(self) -> None:
        """See whether the other side still stands, and what it says. Raises RelayError."""
        raise NotImplementedError

    def _look_at_clock(self) -> None:
        """Raises RelayError when whoever is waited for has been silent for too long.

        The kernel calls a socket writable only when a third of its buffer is free, which takes a slow peer minutes; it
        has not stalled as long as it acknowledges what was sent.
        """
        if self._blocked is not None and (taken := net.acknowledged(self._blocked.sock)) != self._taken:
            self._taken = taken
            self._silent_by = NEVER
        elif now() >= self._silent_by:
            raise RelayError(426, self._why, self._silent, Cause.STALLED)
        if self._in_band:
            self._look_for_end()

    # --- an end that stands in the data -----------------------------------------------------------------------------

    def end_in_band(self) -> None:
        """The server has said 2xx, and neither side need close its connection (MODE B, C): find the end without it.

        In MODE B it is the block that says end of file; without one nothing ends before the stall limit does it. MODE C
        can't be told from here for sure: nothing more has come for as long as an upload is lingered over. Then the
        source is read as if it had closed, so that what is amiss with its end is found as ever: half a TLS record is a
        torn file.
        """
        self._in_band = True
        self._in_band_since = now()
        self._limit.move(now() + _IN_BAND_LOOK_SECONDS)

    def _look_for_end(self) -> None:
        time, blocks = now(), self.flow.blocks
        if net.unread(self._source) or self.flow.bytes != self._in_band_bytes:
            self._in_band_bytes, self._in_band_since = self.flow.bytes, time
        if blocks.ended if blocks is not None else time - self._in_band_since >= self._policy.linger:
            self._in_band = False
            self.flow.ended_in_band = True
            net.stop_reading(self._source)

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def _more(self, stall: float, side: Side, *, every: float = LOOK_SECONDS) -> None:
        """Until `source`, of this side, has something to read; there may be nothing, all the same."""
        self._turn = 0
        self._gathering = self._patience.begins()
        if self._gathering:
            self._limit.move(now() + _GATHER_SECONDS)
            await self._waits(net.readable, self._source)
            self._gathering = False
            self._limit.put_off(now() + LOOK_SECONDS)
            return
        self._patience.ends()
        why = f"the {side} sent no data for {stall:g} seconds"
        await self._readable(self._source, side, stall, why, every=every)

    async def _readable(self, sock: Socket, side: Side, stall: float, why: str, *, every: float = LOOK_SECONDS) -> None:
        """Until `sock`, of this side, has something to read. `_run` raises RelayError after `stall` seconds of
        silence."""
        self._wait(side, stall, why, every)
        await self._waits(net.readable, sock)

    def _wait(self, side: Side, stall: float, why: str, every: float) -> None:
        """Set the time of the next look; one that is yet to come stays as it is, however often the wait is begun."""
        time = now()
        fresh = self._silent_by == NEVER
        if fresh:
            self._silent_by = time + stall
        self._silent, self._why = side, why
        look = min(time + (_IN_BAND_LOOK_SECONDS if self._in_band else every), self._silent_by)
        if fresh or self._limit.due <= time or look < self._limit.due:
            self._limit.move(look)

    def _moved(self) -> None:
        """Bytes have passed: nobody is silent."""
        self._silent_by = NEVER
        self._blocked = None

    async def _send(self, to: "Receiver", flags: int = 0) -> None:
        """Send all that this one is to get. Raises RelayError."""
        while to.unsent:
            try:
                sent = to.sock.send(to.unsent, flags)
            except BlockingIOError:
                self._turn = 0
                if self._blocked is None:
                    self._blocked, self._taken, self._silent_by = to, net.acknowledged(to.sock), NEVER
                self._wait(to.side, to.stall, f"the {to.side} took no bytes for {to.stall:g} seconds", LOOK_SECONDS)
                await self._waits(net.writable, to.sock)
                continue
            except OSError as error:
                raise broke(to.side, error) from None
            to.unsent = to.unsent[sent:]
            if self._blocked is not None:
                self._moved()

    async def _waits(self, wait: Callable[[Socket], Awaitable[None]], sock: Socket) -> None:
        if not self._limited:
            raise MustWait
        try:
            await wait(sock)
        except OSError as error:  # it was closed meanwhile
            raise RelayError(
                426, f"the data connection was ended: {errors.words(error)}", self._silent, Cause.BROKEN
            ) from None


class Patience:
    """Lets a source that brings much gather.

    Woken for each little that comes, a relay spends more on waking up than on TLS: 1.0 s of CPU for a GiB over loopback
    against 0.5. So the kernel is asked to speak only when half a MiB has come (SO_RCVLOWAT), and what has come after
    2 ms is read in any case.
    """

    __slots__ = ("_came", "_gathers", "_patient", "_since", "_sock")

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._came = 0
        self._since = now()
        self._gathers = self._patient = False

    def took(self, count: int) -> None:
        """So many bytes have been read."""
        self._came += count
        self._patient = self._gathers

    def begins(self) -> bool:
        """Nothing is there → whether a moment is to be waited for much; then it is over."""
        if self._patient:
            self._patient = False
            return True
        time = now()
        if not self._gathers and time - self._since >= _GATHER_SECONDS:
            if self._came >= _MUCH_BYTES:
                self._gathers = True
                net.wake_for(self._sock, _GATHER_BYTES)
                return True
            self._came, self._since = 0, time
        return False

    def ends(self) -> None:
        """Nothing at all has come within the moment: anything is news again."""
        if self._gathers:
            self._gathers = False
            self._came, self._since = 0, now()
            net.wake_for(self._sock, 1)


def broke(side: Side, error: OSError, when: str = "") -> RelayError:
    """The data connection of this side was reset."""
    why = f"the {side} broke the data connection{when}: {errors.words(error)}"
    return RelayError(426, why, side, Cause.BROKEN)


def read_all(tls: Tls, when: str = "") -> None:
    """Look at all that was fed; of an upload's server it is no data. Raises RelayError."""
    try:
        while tls.read_some():
            pass
    except TlsError as error:
        raise _broken(error, when) from None


def read(tls: Tls, buffer: Buffer) -> int:
    """Cleartext that is there → how much. Raises RelayError."""
    try:
        return tls.read(buffer)
    except TlsError as error:
        raise _broken(error) from None


def write(tls: Tls, buffer: Buffer, size: int) -> bool:
    """Seal what is in `buffer`, all of it → False when TLS must read first. Raises RelayError."""
    try:
        return tls.write_from(buffer, size)
    except TlsError as error:
        raise _broken(error) from None


def _broken(error: TlsError, when: str = "") -> RelayError:
    return RelayError(426, f"TLS on the data connection failed{when}: {error}", "server", Cause.TLS)
