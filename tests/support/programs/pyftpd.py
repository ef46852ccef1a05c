"""pyftpdlib, of either generation, as a server process: plaintext, or TLS required on both channels.

    python -m tests.support.programs.pyftpd --host 127.0.0.1 --home DIR [--certificate PEM] ...

Prints ``ready PORT`` on standard output once it listens.
"""

from __future__ import annotations

import warnings

warnings.filterwarnings("ignore")  # its use of PyOpenSSL is its own affair

from pyftpdlib.authorizers import DummyAuthorizer  # noqa: E402
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler  # noqa: E402
from pyftpdlib.servers import FTPServer  # noqa: E402

from tests.support.programs.options import parser  # noqa: E402

ALL_RIGHTS = "elradfmwMT"


def main() -> None:
    arguments = parser()
    arguments.add_argument("--passive-ports", help="FIRST-LAST")
    arguments.add_argument("--passive-address")
    options = arguments.parse_args()

    authorizer = DummyAuthorizer()
    authorizer.add_user(options.user, options.password, str(options.home), perm=ALL_RIGHTS)
    base = TLS_FTPHandler if options.certificate else FTPHandler
    attributes = {"authorizer": authorizer, "banner": "pyftpdlib for tests", "timeout": 600, "use_gmt_times": True}
    if options.certificate:
        attributes |= {
            "certfile": str(options.certificate),
            "keyfile": str(options.certificate),
            "tls_control_required": True,
            "tls_data_required": True,
        }
    if options.passive_ports:
        first, last = map(int, options.passive_ports.split("-"))
        attributes |= {"passive_ports": range(first, last + 1), "masquerade_address": options.passive_address}
    handler = type("Handler", (base,), attributes)
    server = FTPServer((options.host, options.port), handler, backlog=512)
    server.max_cons = 4000
    server.max_cons_per_ip = 0
    print(f"ready {server.address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
