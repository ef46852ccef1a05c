"""Pure-FTPd: one process for each session, OpenSSL."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.support.certificates import Certificates, KeyPair
from tests.support.servers.common import CRYPTED, NOBODY, NOGROUP, USER, DataPorts, Server, program, running, scratch


@contextlib.contextmanager
def pureftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """Pure-FTPd with ``-Y 3``: TLS or nothing, on both channels."""
    binary, make_users = program("usr/sbin/pure-ftpd"), program("usr/bin/pure-pw")
    with scratch("pureftpd") as folder:
        fields = [USER, CRYPTED, str(NOBODY), str(NOGROUP), "", f"{folder}/home/./"] + [""] * 12
        (folder / "passwd").write_text(":".join(fields) + "\n")
        subprocess.run(
            [make_users, "mkdb", f"{folder}/users.pdb", "-f", f"{folder}/passwd"],
            check=True,
            capture_output=True,
            timeout=30,
        )

        def command(port: int) -> list[str]:
            pair = certificate or certificates.server
            ports = (
                ["--passiveportrange", f"{data.first}:{data.last}", "--forcepassiveip", data.address] if data else []
            )
            return [
                binary,
                *ports,
                *("--bind", f"{host},{port}"),
                *("--login", f"puredb:{folder}/users.pdb"),
                *("--tls", "3"),
                *("--certfile", str(pair.combined_file)),
                *("--maxclientsnumber", "1000"),
                *("--maxclientsperip", "1000"),
                *("--minuid", "1"),
                "--chrooteveryone",
                "--noanonymous",
                "--dontresolve",
                *("--umask", "133:022"),
                *("--pidfile", f"{folder}/pure-ftpd.pid"),
                *("--syslogfacility", "none"),
            ]

        with running("pureftpd", folder, host, False, command) as server:
            yield server
