"""Twisted's FTP server as a process: implicit TLS on both channels. It knows no AUTH, PBSZ or PROT of its own.

python -m tests.support.programs.twistedftpd --host 127.0.0.1 --port PORT --home DIR --certificate PEM ...
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.ssl import PrivateCertificate
from twisted.protocols.ftp import FTP, FTPFactory, FTPShell, IFTPShell
from twisted.python import log
from twisted.python.filepath import FilePath
from zope.interface import implementer

from tests.support.programs.options import parser


@implementer(ICredentialsChecker)
class OneUser:
    """Twisted's own checkers compare bytes, its FTP hands them text."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, user: str, password: str) -> None:
        self._expected = (user, password)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if (credentials.username, credentials.password) == self._expected:
            return succeed(credentials.username)
        return fail(UnauthorizedLogin())


@implementer(IRealm)
class OneHome:
    def __init__(self, home: str) -> None:
        self._home = home

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        return IFTPShell, FTPShell(FilePath(self._home)), lambda: None


def main() -> None:
    options = parser().parse_args()
    log.startLogging(sys.stdout)
    context = PrivateCertificate.loadPEM(options.certificate.read_bytes()).options()

    def listen(session: FTP, port: int, factory: Any, interface: str = "") -> Any:
        return reactor.listenSSL(port, factory, context, interface=interface)

    factory = FTPFactory(Portal(OneHome(str(options.home)), [OneUser(options.user, options.password)]))
    factory.protocol = type("Session", (FTP,), {"listenFactory": listen})
    reactor.listenSSL(options.port, factory, context, backlog=512, interface=options.host)
    reactor.run()


if __name__ == "__main__":
    main()
