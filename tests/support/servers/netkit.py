"""Netkit's ftpd with SSLeay patches (Debian's ftpd-ssl), a child of 4.4BSD's: one process for each session, OpenSSL."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Certificates
from tests.support.servers.common import CRYPTED, NOBODY, NOGROUP, USER, Server, ServerFailed, program, running, scratch

_PAM = """
auth     sufficient  pam_ftp.so     # it wants this one to ask for the password
auth     required    pam_unix.so try_first_pass
account  required    pam_permit.so
session  required    pam_permit.so
"""
_LISTER = "/bin/ls"  # it lists by this program

# Debian's 0.17.36+really0.17-2 loads its certificate only if a flag is set that the end of a handshake sets, so no
# client at all finds a common cipher. On amd64 it is one jump over the loading, behind a look at the flag: "mov flag,
# %edx; test %edx, %edx; je".
_CERTIFICATE_SKIPPED = re.compile(rb"(?<=\x8b\x15.{4}\x85\xd2)\x74\x5f(?=\x4c\x8b\x2d)", re.DOTALL)
_NO_JUMP = b"\x90\x90"


def _libraries(binary: Path) -> set[Path]:
    """The shared libraries a program is linked to, with the one that loads them."""
    said = subprocess.run(["ldd", str(binary)], check=True, capture_output=True, text=True, timeout=30).stdout
    return {Path(path) for path in re.findall(r"(?:=> |^\s)(/\S+) \(0x", said, re.MULTILINE)}


def _jail(folder: Path, certificates: Certificates) -> None:
    """A system of its own for it: it knows users of the system only, and PAM by the name "ftp" only."""
    binary = Path(program("usr/sbin/in.ftpd"))
    modules = [path for name in ("ftp", "permit", "unix") for path in Path("/lib").glob(f"*/security/pam_{name}.so")]
    if len(modules) != 3:
        raise ServerFailed("libpam-modules is missing: run tests/peers.sh (or tests/run) as root first")
    files = {Path(_LISTER), *modules}
    for path in (binary, *files):
        files |= _libraries(path)
    for each in files:
        target = folder / each.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(each, target)
    repaired, found = _CERTIFICATE_SKIPPED.subn(_NO_JUMP, binary.read_bytes())
    if found > 1:
        raise ServerFailed(f"{binary} is not the one that is known here: {found} places to mend")
    (folder / "in.ftpd").write_bytes(repaired)
    (folder / "in.ftpd").chmod(0o755)
    etc = folder / "etc"
    (etc / "pam.d").mkdir(parents=True)
    (etc / "pam.d" / "ftp").write_text(_PAM)
    (etc / "passwd").write_text(f"{USER}:x:{NOBODY}:{NOGROUP}::/home:/bin/sh\n")
    (etc / "group").write_text(f"nogroup:x:{NOGROUP}:\n")
    (etc / "shadow").write_text(f"{USER}:{CRYPTED}:20000::::::\n")
    (etc / "ftpd.pem").write_bytes(certificates.server.combined_file.read_bytes())
    (folder / "dev").mkdir()
    os.mknod(folder / "dev" / "null", 0o20666, os.makedev(1, 3))


@contextlib.contextmanager
def netkit(certificates: Certificates, *, host: str = "127.0.0.1") -> Iterator[Server]:
    """``-z secure``: no login without TLS. Its user finds the home directory at ``/home``.

    Data connections work with TLS 1.2 only: with 1.3 they are told to have the control connection's session before
    their handshake, which then fails: "425 ftpd: Verify ok".
    """
    with scratch("netkit") as folder:
        _jail(folder, certificates)
        settings = ["-z", "secure", "-z", "cert=/etc/ftpd.pem", "-z", "key=/etc/ftpd.pem", "-u", "022", "-n"]

        def command(port: int) -> list[str]:
            server = ["chroot", str(folder), "/in.ftpd", "-6" if ":" in host else "-4", *settings]
            return [sys.executable, "-m", "tests.support.programs.inetd", host, str(port), *server]

        with running("netkit", folder, host, False, command) as server:
            yield server
