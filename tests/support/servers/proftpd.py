"""ProFTPD with mod_tls: one process for each session, OpenSSL."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Certificates, KeyPair
from tests.support.servers.common import (
    CRYPTED,
    NOBODY,
    NOGROUP,
    PEERS,
    USER,
    DataPorts,
    Server,
    program,
    running,
    scratch,
)


def _proftpd_settings(
    folder: Path,
    host: str,
    port: int,
    certificate: KeyPair,
    protocols: str,
    implicit: bool,
    client_ca: Path | None,
    data: DataPorts | None,
) -> str:
    options = ["UseImplicitSSL"] if implicit else []
    lines = [
        f"ModulePath {PEERS}/usr/lib/proftpd",
        "LoadModule mod_tls.c",
        'ServerName "ProFTPD for tests"',
        "ServerType standalone",
        "DefaultServer on",
        f"DefaultAddress {host}",
        "SocketBindTight on",
        f"UseIPv6 {'on' if ':' in host else 'off'}",
        f"Port {port}",
        "User nobody",
        "Group nogroup",
        "Umask 022",
        "MaxInstances none",
        "UseReverseDNS off",
        "WtmpLog off",
        f"TransferLog {'none' if data is None else folder / 'transfers.log'}",
        "AuthPAM off",
        "AuthOrder mod_auth_file.c",
        f"AuthUserFile {folder}/passwd",
        f"AuthGroupFile {folder}/group",
        "RequireValidShell off",
        "DefaultRoot ~",
        "AllowOverwrite on",
        "AllowStoreRestart on",
        "AllowRetrieveRestart on",
        f"PidFile {folder}/proftpd.pid",
        f"ScoreboardFile {folder}/scoreboard",
        f"SystemLog {folder}/server.log",
        f"DelayTable {folder}/delay",
        "DelayEngine off",
        "TimeoutLinger 10",
        "TLSEngine on",
        f"TLSLog {folder}/server.log",
        "TLSRequired on",
        f"TLSProtocol {protocols}",
        f"TLSRSACertificateFile {certificate.certificate_file}",
        f"TLSRSACertificateKeyFile {certificate.key_file}",
        "TLSVerifyClient off" if client_ca is None else "TLSVerifyClient on",
    ]
    if data is not None:
        lines += [f"PassivePorts {data.first} {data.last}", f"MasqueradeAddress {data.address}"]
    if client_ca is not None:
        lines.append(f"TLSCACertificateFile {client_ca}")
    if options:
        lines.append(f"TLSOptions {' '.join(options)}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def proftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    protocols: str = "TLSv1.3",
    implicit: bool = False,
    client_ca: Path | None = None,
    inetd: bool = False,
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """ProFTPD with mod_tls: ``TLSRequired on``, session reuse required as is its default.

    ``protocols`` is TLSProtocol's value (``TLSv1.2``, ``TLSv1.3`` or both); with ``client_ca`` it demands a certificate
    of that authority from its clients; with ``inetd`` each session is started by `tests.support.programs.inetd`.
    """
    binary = program("usr/sbin/proftpd")
    with scratch("proftpd") as folder:
        # name:password:uid:gid:gecos:home:shell
        (folder / "passwd").write_text(f"{USER}:{CRYPTED}:{NOBODY}:{NOGROUP}::{folder}/home:/bin/false\n")
        (folder / "group").write_text(f"nogroup:x:{NOGROUP}:\n")
        for each in ("passwd", "group"):
            (folder / each).chmod(0o600)

        def command(port: int) -> list[str]:
            config = folder / "proftpd.conf"
            pair = certificate or certificates.server
            settings = _proftpd_settings(folder, host, port, pair, protocols, implicit, client_ca, data)
            if inetd:
                config.write_text(settings.replace("ServerType standalone", "ServerType inetd"))
                return [
                    sys.executable,
                    "-m",
                    "tests.support.programs.inetd",
                    host,
                    str(port),
                    binary,
                    "--config",
                    str(config),
                ]
            config.write_text(settings)
            return [binary, "--nodaemon", "--config", str(config)]

        with running("proftpd", folder, host, implicit, command) as server:
            yield server
