"""A real server and a scripted one, each with its gateway, started once for all devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices.stage import RealStage, ScriptedStages
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway
from tests.support.servers import Server


@pytest.fixture(scope="session")
def device_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def plaintext_stage() -> Iterator[Server]:
    with servers.plaintext() as server:
        yield server


@pytest.fixture(scope="session")
def real_stage(device_certificates: Certificates) -> Iterator[RealStage]:
    with (
        servers.vsftpd(device_certificates) as server,
        start_gateway(server.url, device_certificates.ca_file) as gateway,
    ):
        yield RealStage(server, gateway)


@pytest.fixture(scope="session")
def kept_scripted_stages(device_certificates: Certificates) -> Iterator[ScriptedStages]:
    with ScriptedStages(device_certificates) as stages:
        yield stages


@pytest.fixture
def scripted_stages(kept_scripted_stages: ScriptedStages) -> Iterator[ScriptedStages]:
    yield kept_scripted_stages
    kept_scripted_stages.end_test()
