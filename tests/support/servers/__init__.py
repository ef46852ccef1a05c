"""Real FTP servers, each a process of its own on a loopback port, with its own configuration and home directory.

``peers.sh`` unpacks the programs into ``.peers/``. Every server is strict, if it knows how to be: TLS is required for
login and data; vsftpd and ProFTPD refuse a data connection that does not resume the control connection's TLS session.
Each context manager yields a `Server` that has answered already, and ends the process with all its children. One room
for each server, `common` for what they share; which of them are in the matrix, and what is odd about each, says
``tests/README.md``.
"""

from __future__ import annotations

from tests.support.servers.aioftp import aioftp
from tests.support.servers.common import (
    PASSWORD,
    PEERS,
    ROOT,
    USER,
    DataPorts,
    Endpoint,
    Server,
    ServerFailed,
    descendants,
    end_process,
    free_port,
    program,
)
from tests.support.servers.ftp_srv import clear_data, ftp_srv
from tests.support.servers.netkit import netkit
from tests.support.servers.proftpd import proftpd
from tests.support.servers.pureftpd import pureftpd
from tests.support.servers.pyftpdlib import plaintext, pyftpdlib, pyftpdlib1
from tests.support.servers.twisted import twisted
from tests.support.servers.vsftpd import vsftpd

__all__ = [
    "PASSWORD",
    "PEERS",
    "ROOT",
    "USER",
    "DataPorts",
    "Endpoint",
    "Server",
    "ServerFailed",
    "aioftp",
    "clear_data",
    "descendants",
    "end_process",
    "free_port",
    "ftp_srv",
    "netkit",
    "plaintext",
    "proftpd",
    "program",
    "pureftpd",
    "pyftpdlib",
    "pyftpdlib1",
    "twisted",
    "vsftpd",
]
