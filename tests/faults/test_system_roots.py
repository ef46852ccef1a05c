"""Without `ca_file` the system's roots count, wherever the system keeps them: in one file or in a folder of hashes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bad_client import BadClient
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway


@pytest.mark.parametrize("where", ["file", "folder", "neither"])
def test_the_systems_roots(fault_certificates: Certificates, tmp_path: Path, where: str) -> None:
    folder, file = tmp_path / "certs", tmp_path / "cert.pem"
    folder.mkdir()
    if where == "file":
        shutil.copy(fault_certificates.ca_file, file)
    if where == "folder":
        shutil.copy(fault_certificates.ca_file, folder / "ca.pem")
        subprocess.run(("openssl", "rehash", folder), check=True)
    environ = {"SSL_CERT_FILE": str(file), "SSL_CERT_DIR": str(folder)}
    server = fault_certificates.server
    with (
        BadServer(server.certificate_file, server.key_file) as upstream,
        start_gateway(f"ftpes://127.0.0.1:{upstream.port}", None, env=environ) as gateway,
    ):
        if where == "neither":
            with BadClient(gateway.endpoint.port) as client:
                assert client.refusal().code == 530
                assert gateway.wait_for_event("upstream.failed")["cause"] == "unknown_ca"
        else:
            with BadClient(gateway.endpoint.port) as client:
                client.login()
