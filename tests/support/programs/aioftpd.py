"""aioftp's server as a process: implicit TLS on both channels, the only kind it has.

python -m tests.support.programs.aioftpd --host 127.0.0.1 --port PORT --home DIR --certificate PEM ...
"""

from __future__ import annotations

import asyncio
import logging
import ssl

import aioftp

from tests.support.programs.options import parser

DATA_SECONDS = 30.0  # its default of one second is short for a busy machine


def main() -> None:
    options = parser().parse_args()
    logging.basicConfig(level=logging.DEBUG)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate)
    user = aioftp.User(options.user, options.password, base_path=options.home)
    server = aioftp.Server([user], ssl=context, wait_future_timeout=DATA_SECONDS)
    asyncio.run(server.run(options.host, options.port, backlog=512))


if __name__ == "__main__":
    main()
