"""The programs we measure against, from Debian's packages, unpacked beside the checkout and never installed.

Their shared libraries are the exception: what ``ldd`` misses is installed with apt-get, which needs root.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.process import BenchError

HOME = Path(__file__).resolve().parents[2] / ".peers" / "bench"
ROOT = HOME / "root"
PACKAGES = ("proftpd-core", "proftpd-mod-crypto", "proftpd-mod-proxy", "stunnel4", "vsftpd")
PROFTPD = ROOT / "usr/sbin/proftpd"
MODULES = ROOT / "usr/lib/proftpd"
STUNNEL = ROOT / "usr/bin/stunnel4"
VSFTPD = ROOT / "usr/sbin/vsftpd"
BINARIES = (PROFTPD, MODULES / "mod_proxy.so", MODULES / "mod_tls.so", STUNNEL, VSFTPD)

# Library → package, on Debian 12 and 13 (the second name is tried when the first does not exist).
LIBRARIES = {
    "libhiredis.so": ("libhiredis0.14", "libhiredis1.1.0"),
    "libmemcached.so": ("libmemcached11", "libmemcached11t64"),
    "libmemcachedutil.so": ("libmemcachedutil2", "libmemcachedutil2t64"),
    "libpcre2-posix.so": ("libpcre2-posix3",),
    "libsodium.so": ("libsodium23",),
    "libsqlite3.so": ("libsqlite3-0",),
    "libwrap.so": ("libwrap0",),
    "libcap.so": ("libcap2",),
    "libpam.so": ("libpam0g",),
}


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)


def _missing_libraries() -> list[str]:
    missing: set[str] = set()
    for binary in BINARIES:
        for line in _run("ldd", str(binary)).stdout.splitlines():
            if "not found" in line:
                missing.add(line.split()[0])
    return sorted(missing)


def _install(package_names: tuple[str, ...]) -> bool:
    return any(
        _run("apt-get", "install", "--yes", "--no-install-recommends", name).returncode == 0 for name in package_names
    )


def ensure() -> None:
    """Fetch and unpack what is not there yet; raise BenchError when that cannot be done."""
    if not all(binary.exists() for binary in BINARIES):
        downloads = HOME / "debs"
        downloads.mkdir(parents=True, exist_ok=True)
        if _run("apt-get", "download", *PACKAGES, cwd=downloads).returncode != 0:
            _run("apt-get", "update")
            fetched = _run("apt-get", "download", *PACKAGES, cwd=downloads)
            if fetched.returncode != 0:
                raise BenchError(f"apt-get download failed: {fetched.stderr.strip()}")
        for archive in sorted(downloads.glob("*.deb")):
            unpacked = _run("dpkg", "-x", str(archive), str(ROOT))
            if unpacked.returncode != 0:
                raise BenchError(f"dpkg -x {archive.name} failed: {unpacked.stderr.strip()}")
    for library in _missing_libraries():
        names = LIBRARIES.get(library.split(".so")[0] + ".so")
        if names is None or not _install(names):
            raise BenchError(f"{library} is missing and could not be installed with apt-get")
    for program in ("lftp", "openssl"):
        if shutil.which(program) is None and not _install((program,)):
            raise BenchError(f"{program} is missing and could not be installed with apt-get")
