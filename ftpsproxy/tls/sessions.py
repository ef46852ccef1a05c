"""The TLS session of one control connection, which its data connections resume."""

from ftpsproxy.tls.connection import Connection, Session, usable


class Resumption:
    """The session that data connections of one control connection offer: its own newest, and nobody else's.

    vsftpd, ProFTPD, FileZilla Server refuse a data connection that resumes none, or that of another control
    connection. In TLS 1.3 tickets come behind the handshake, with the first bytes read.
    """

    __slots__ = ("_control", "_session", "_spoilt")

    def __init__(self, control: Connection) -> None:
        self._control = control
        self._session: Session = None
        self._spoilt = False

    @property
    def version(self) -> str:
        """The control connection's TLS version."""
        return self._control.version

    def offer(self) -> Session:
        """What the next data connection should offer."""
        if self._session is None:
            session = self._control.session
            self._session = usable(session) if self._spoilt and session is not None else session
        return self._session

    def learn(self, data: Connection) -> None:
        """A data connection has ended; its session is the newest, if it brought one."""
        session = data.session
        if session is not None:
            self._session = session

    def failed(self, data: Connection) -> None:
        """A data connection broke, perhaps in its handshake; where TLS itself did, its session, and in TLS 1.2 that is
        everybody's, is spoilt.

        RFC 5246 section 7.2.2 would have no one offer it again. But that is about what the server keeps: it knows
        whether it still takes it, and one that insists on it would refuse all that follows.
        """
        if data.failed:
            self._spoilt = True
            if self._session is not None:
                self._session = usable(self._session)

    def start_again(self) -> None:
        """The server did not take what was offered: back to the control connection's own."""
        self._session = None
