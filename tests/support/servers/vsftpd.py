"""vsftpd: one process for each session, OpenSSL."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Certificates, KeyPair
from tests.support.servers.common import DataPorts, Server, ServerFailed, program, running, scratch

_GUEST = "daemon"  # whom it turns its guests into: unprivileged, and with a home directory that exists


def _vsftpd_settings(
    folder: Path, host: str, port: int, certificate: KeyPair, implicit: bool, reuse: bool, data: DataPorts | None
) -> str:
    ipv6 = ":" in host
    settings = {
        "listen": "NO" if ipv6 else "YES",
        "listen_ipv6": "YES" if ipv6 else "NO",
        "listen_address6" if ipv6 else "listen_address": host,
        "listen_port": port,
        "background": "NO",
        "isolate": "NO",
        "isolate_network": "NO",
        "seccomp_sandbox": "NO",
        "secure_chroot_dir": folder / "empty",
        "anonymous_enable": "NO",
        "local_enable": "YES",
        "pam_service_name": "ftpsproxy-tests",
        "guest_enable": "YES",
        "guest_username": _GUEST,
        "nopriv_user": "nobody",
        "virtual_use_local_privs": "YES",
        "local_root": folder / "home",
        "chroot_local_user": "YES",
        "allow_writeable_chroot": "YES",
        "write_enable": "YES",
        "local_umask": "022",
        "connect_from_port_20": "NO",
        "max_clients": 0,
        "max_per_ip": 0,
        "max_login_fails": 50,
        "delay_failed_login": 0,
        "use_localtime": "NO",
        "xferlog_enable": "YES",
        "xferlog_std_format": "NO",
        "log_ftp_protocol": "YES",
        "vsftpd_log_file": folder / "server.log",
        "ssl_enable": "YES",
        "implicit_ssl": "YES" if implicit else "NO",
        "force_local_logins_ssl": "YES",
        "force_local_data_ssl": "YES",
        "require_ssl_reuse": "YES" if reuse else "NO",
        "strict_ssl_read_eof": "YES",
        "ssl_ciphers": "HIGH",
        "rsa_cert_file": certificate.certificate_file,
        "rsa_private_key_file": certificate.key_file,
        "debug_ssl": "YES",
    }
    if data is not None:
        settings |= {"pasv_min_port": data.first, "pasv_max_port": data.last, "pasv_address": data.address}
    return "".join(f"{key}={value}\n" for key, value in settings.items())


@contextlib.contextmanager
def vsftpd(
    certificates: Certificates,
    *,
    certificate: KeyPair | None = None,
    host: str = "127.0.0.1",
    implicit: bool = False,
    session_reuse: bool = True,
    data: DataPorts | None = None,
) -> Iterator[Server]:
    """vsftpd with ``require_ssl_reuse`` and ``strict_ssl_read_eof``. It takes any user and password."""
    if not Path("/etc/pam.d/ftpsproxy-tests").exists():
        raise ServerFailed("vsftpd's PAM service is missing: run tests/peers.sh (or tests/run) as root first")
    binary = program("usr/sbin/vsftpd")
    with scratch("vsftpd") as folder:
        (folder / "empty").mkdir(mode=0o755)
        shutil.chown(folder / "home", _GUEST)

        def command(port: int) -> list[str]:
            config = folder / "vsftpd.conf"
            pair = certificate or certificates.server
            config.write_text(_vsftpd_settings(folder, host, port, pair, implicit, session_reuse, data))
            return [binary, str(config)]

        with running("vsftpd", folder, host, implicit, command) as server:
            yield server
