"""Promise: our own key is nobody else's.

Attack: another user of the machine reads the private key that an upstream asks for, or puts one of its own there, as
the file's mode allows it.

To be seen: the gateway does not start, and says in one line which file, what is wrong, and what to do. A group may read
it: so do systemd and ACME clients give keys to services.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Certificates
from tests.support.servers import ROOT


def _check(folder: Path, upstream: str) -> subprocess.CompletedProcess[str]:
    path = folder / "ftpsproxy.toml"
    path.write_text(f'[upstream.a]\nurl = "ftpes://localhost"\n{upstream}')
    return subprocess.run(
        [sys.executable, "-m", "ftpsproxy", "check", "-c", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("apart", [True, False], ids=["key_file", "inside cert_file"])
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o777])
def test_a_key_that_others_can_use_is_refused(
    certificates: Certificates, tmp_path: Path, mode: int, apart: bool
) -> None:
    pair = certificates.client
    key = tmp_path / "key.pem"
    key.write_bytes((pair.key_file if apart else pair.combined_file).read_bytes())
    key.chmod(mode)
    where = f'cert_file = "{pair.certificate_file}"\nkey_file = "{key}"\n' if apart else f'cert_file = "{key}"\n'
    done = _check(tmp_path, where)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"upstream.a.{'key_file' if apart else 'cert_file'}: {key} holds a private key" in line
    assert f"may {'read' if mode in (0o644, 0o604) else 'change'} it (mode {mode:04o})" in line


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_key_of_ours_and_our_group_is_taken(certificates: Certificates, tmp_path: Path, mode: int) -> None:
    pair = certificates.client
    key = tmp_path / "key.pem"
    key.write_bytes(pair.key_file.read_bytes())
    key.chmod(mode)
    done = _check(tmp_path, f'cert_file = "{pair.certificate_file}"\nkey_file = "{key}"\n')
    assert (done.returncode, done.stderr) == (0, "")
