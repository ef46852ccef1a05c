"""What a session may be waiting for."""

import enum


class Waiting(enum.Enum):
    """What kind of waiting this is; the session has a deadline for each."""

    OPENING = "opening"  # for the server, before its TLS and PROT P stand
    LOGIN = "login"  # for a client that has not logged in
    CLIENT = "client"  # for the next command
    REPLY = "reply"  # for the server's reply to a command
    START = "start"  # the same, where it may have to fetch a tape, or to read a whole file
    CONNECTION = "connection"  # for a data connection to stand; whoever connects keeps the time
    DATA = "data"  # for the bytes of a transfer; the transfer keeps its own time
    VERDICT = "verdict"  # for the final reply, behind the data
    TORN = "torn"  # for the final reply to a transfer that is known to have failed
    ABORT = "abort"  # for the replies to ABOR
    NOTHING = "nothing"  # the session is over

    __hash__ = object.__hash__  # Enum's own is a Python function, and this is looked up at each event
