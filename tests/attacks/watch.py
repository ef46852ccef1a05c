"""A session that behaves, and a probe, that ask every moment: a process of its own, for a flood keeps its own busy.

    python watch.py HOST PORT ADMIN      each round one line: the milliseconds that NOOP and /healthz took

The session is in an upload, so that its NOOP is answered by the gateway: its server may be busy with the flood as well.
"""

import re
import socket
import sys
import time
import urllib.request

PATIENCE = 20.0


def main(host: str, port: str, admin: str) -> None:
    with socket.create_connection((host, int(port)), PATIENCE) as control, control.makefile("rb") as replies:

        def command(line: bytes) -> bytes:
            control.sendall(line + b"\r\n")
            return replies.readline()

        replies.readline()
        command(b"USER watch")
        assert command(b"PASS x").startswith(b"230")
        passive = re.search(rb"\|\|\|(\d+)\|", command(b"EPSV"))
        assert passive
        with socket.create_connection((host, int(passive[1])), PATIENCE):
            assert command(b"STOR slow").startswith(b"150")
            while True:
                began = time.monotonic()
                assert command(b"NOOP").startswith(b"200")
                half = time.monotonic()
                with urllib.request.urlopen(f"http://{admin}/healthz", timeout=PATIENCE) as answer:
                    assert answer.status == 200
                print(f"{1000 * (half - began):.1f} {1000 * (time.monotonic() - half):.1f}", flush=True)
                time.sleep(0.02)  # it asks often; it is not to be a load itself


if __name__ == "__main__":
    main(*sys.argv[1:])
