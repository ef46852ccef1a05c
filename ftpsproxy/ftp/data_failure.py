"""Why a data connection has failed, before its transfer or in it: whose, by what cause, and what would cure it."""

import enum
import errno
from dataclasses import dataclass
from typing import Literal

Side = Literal["client", "server"]


class Cause(enum.Enum):
    """What has gone wrong; the values are the log's and the metrics' own."""

    # before the transfer
    NO_ANSWER = "no_answer"  # to a connect: a firewall drops it
    REFUSED = "refused"  # a connect: nobody listens there, or a firewall says no
    UNREACHABLE = "unreachable"  # no way to that address
    NEVER_CAME = "never_came"  # the other side, to the port it was told
    FOREIGN_ADDRESS = "foreign_address"  # somebody came, from another address than the control connection's
    CONTESTED = "contested"  # two came, and which is the right one nobody can tell
    NO_PORT = "no_port"  # none to listen on here
    STARVED = "starved"  # the gateway's system gives no descriptor, memory or port for it
    NOT_OFFERED = "not_offered"  # the server refuses EPSV or PASV, or answers by what is of no use
    NOT_PREPARED = "not_prepared"  # a transfer without PASV or PORT before it
    # in it
    TLS = "tls"  # the handshake, a certificate, a record that can't be read
    BROKEN = "broken"  # a reset
    CUT = "cut"  # an end before the end
    STALLED = "stalled"  # silence for too long
    CONTROL_LOST = "control_lost"  # the client's control connection has ended first
    TOO_LARGE = "too_large"  # the file has more bytes than its listener allows


def of_connect(error: OSError) -> Cause:
    """Of a connect that failed so."""
    return _OF_CONNECT.get(error.errno or 0, Cause.UNREACHABLE)


_OF_CONNECT = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ETIMEDOUT: Cause.NO_ANSWER,
    errno.ECONNRESET: Cause.BROKEN,
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN), Cause.STARVED
    ),
}


@dataclass(frozen=True, slots=True)
class DataFailure:
    """One failure, for the log. `mode` is passive or active for the client, the command said to the server for that;
    `address` and `port` are where a connection was to go, or to come in from, as far as that is known; `came_from` is
    the address that came instead."""

    side: Side
    cause: Cause
    why: str
    mode: str = ""
    address: str = ""
    port: int | None = None
    came_from: str = ""

    @property
    def hint(self) -> str | None:
        """What to do about it; None where nothing in particular can be said."""
        if self.side == "server" and self.mode in ("eprt", "port"):
            return _ACTIVE_SERVER.get(self.cause) or _HINTS.get((self.side, self.cause))
        if self.side == "client" and self.mode == "active":
            return _ACTIVE_CLIENT.get(self.cause) or _HINTS.get((self.side, self.cause))
        return _HINTS.get((self.side, self.cause))


_OPEN_RANGE = (
    "the server's passive ports are closed to this gateway: ask its operator for their range and allow it in the "
    "firewalls from here to there, or have the server connect to us (data_mode)"
)
_ONE_ADDRESS = (
    "control and data connection must come from one address: a load balancer needs source affinity for all ports, "
    "a client with two interfaces a fixed one"
)
_MORE_OF_ALL = "the gateway's own system is short of descriptors (ulimit -n), memory or ports"
_HINTS: dict[tuple[Side, Cause], str] = {
    ("server", Cause.NO_ANSWER): _OPEN_RANGE,
    ("server", Cause.REFUSED): _OPEN_RANGE,
    ("server", Cause.UNREACHABLE): "see the routes and firewalls from here to the server",
    ("server", Cause.NOT_OFFERED): "try another data_mode for this upstream",
    ("server", Cause.NO_PORT): "more sessions than ports: widen active_ports",
    ("server", Cause.STARVED): _MORE_OF_ALL,
    ("client", Cause.STARVED): _MORE_OF_ALL,
    ("server", Cause.TLS): "see `ftpsproxy check --connect` for what the server shows",
    ("client", Cause.NEVER_CAME): (
        "allow passive_ports from the client to this gateway in the firewalls, and see that passive_address is one the "
        "client can reach; or let the client use active mode"
    ),
    ("client", Cause.FOREIGN_ADDRESS): _ONE_ADDRESS,
    ("client", Cause.CONTESTED): "two clients behind one address came to one port: a wider passive_ports makes it rare",
    ("client", Cause.NO_PORT): "more clients than ports: widen passive_ports",
    **dict.fromkeys(
        (("client", Cause.TOO_LARGE), ("server", Cause.TOO_LARGE)),
        "max_file_bytes of this listener says how large a file may be",
    ),
    ("client", Cause.NOT_PREPARED): "the client has to say PASV, EPSV, PORT or EPRT before a transfer",
}
_ACTIVE_SERVER = {
    Cause.NEVER_CAME: (
        "the server can't reach this gateway: allow active_ports from there to here, see active_address, or let it "
        'listen (data_mode = "epsv")'
    ),
    Cause.FOREIGN_ADDRESS: (
        'the server connects from another address than it answers on: let it listen instead (data_mode = "epsv")'
    ),
}
_TO_CLIENT = "this gateway can't connect to the client: allow it in the client's firewall, or let it use passive mode"
_ACTIVE_CLIENT = dict.fromkeys((Cause.NO_ANSWER, Cause.REFUSED, Cause.UNREACHABLE), _TO_CLIENT)
