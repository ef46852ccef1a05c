"""The smallest inetd: a process of its own for each connection, which gets the socket as standard input and output.

    python -m tests.support.programs.inetd HOST PORT PROGRAM ARGUMENT...

ProFTPD as its own master sleeps 0.4 s whenever a session has ended (PR_TUNABLE_EINTR_RETRY_INTERVAL), so hundreds of
short sessions take minutes; from inetd it does not.
"""

from __future__ import annotations

import socket
import subprocess
import sys


def main() -> None:
    host, port, *argv = sys.argv[1:]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    children: list[subprocess.Popen[bytes]] = []
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(512)
        while True:
            connection, _ = listener.accept()
            with connection:
                children.append(subprocess.Popen(argv, stdin=connection.fileno(), stdout=connection.fileno()))
            children = [child for child in children if child.poll() is None]


if __name__ == "__main__":
    main()
