"""ProFTPD mod_proxy in the gateway's place, for comparison: one for each server and version of TLS."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.packages import MODULES, PROFTPD, ensure
from tests.bench.process import Process, free_port

if TYPE_CHECKING:
    from tests.campaign.stage import Stage


def _config(stage: Stage, folder: Path, name: str, tls: str, port: int) -> str:
    from tests.campaign.stage import HERE, TIMEOUTS, TO_CLIENTS, TO_GATEWAY

    tables = folder / "tables"
    tables.mkdir(parents=True)
    shutil.chown(tables, "nobody", "nogroup")
    return f"""
ServerName "mod_proxy"
ServerType standalone
DefaultAddress {HERE}
SocketBindTight on
UseIPv6 off
Port {port}
User nobody
Group nogroup
ModulePath {MODULES}
LoadModule mod_tls.c
LoadModule mod_proxy.c
ScoreboardFile {folder}/scoreboard
PidFile {folder}/pid
SystemLog {folder}/system.log
TransferLog none
WtmpLog off
UseReverseDNS off
AuthPAM off
MaxInstances none
PassivePorts {stage.passive[0]} {stage.passive[1]}
MasqueradeAddress {TO_CLIENTS}
TimeoutIdle {TIMEOUTS["idle"]:g}
TimeoutLogin {TIMEOUTS["login"]:g}
TimeoutStalled {TIMEOUTS["client_stall"]:g}
TimeoutNoTransfer 20
TimeoutLinger 3
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
<IfModule mod_ident.c>
IdentLookups off
</IfModule>
ProxyEngine on
ProxyLog {folder}/proxy.log
ProxyTables {tables}
ProxyRole reverse
ProxyReverseServers ftp://{TO_GATEWAY}:{stage.upstream_ports[name]}
ProxyDataTransferPolicy EPSV
ProxyTLSEngine on
ProxyTLSProtocol TLSv{tls}
ProxyTLSVerifyServer on
ProxyTLSCACertificateFile {stage.certificates.ca_file}
"""


@contextlib.contextmanager
def running(stage: Stage) -> Iterator[dict[str, tuple[int, int]]]:
    """Port and process id of each, by server and version."""
    ensure()
    with contextlib.ExitStack() as stack:
        found = {}
        (stage.folder).chmod(0o755)
        (stage.certificates.folder).chmod(0o755)
        for name in stage.servers:
            for tls in ("1.2", "1.3"):
                folder = stage.folder / f"mod_proxy-{name}-{tls}"
                port = free_port()
                text = _config(stage, folder, name, tls, port)
                path = folder / "proftpd.conf"
                path.write_text(text)
                arguments = (PROFTPD, "--nodaemon", "--config", path)
                process = stack.enter_context(Process("mod_proxy", arguments, folder / "output.log"))
                process.wait_listening(port)
                found[f"{name}-{tls}"] = (port, process.pid)
        yield found
