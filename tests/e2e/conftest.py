"""Servers and gateways are started once for the whole run; tests use names of their own for their files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.flavours import Stage, Stages
from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.servers import Server


@pytest.fixture(scope="session")
def stages(certificates: Certificates) -> Iterator[Stages]:
    with Stages(certificates) as made:
        yield made


@pytest.fixture
def stage(request: pytest.FixtureRequest, stages: Stages) -> Stage:
    """The stage named by an indirect parameter."""
    return stages(request.param)


@pytest.fixture(scope="session")
def plaintext_server() -> Iterator[Server]:
    with servers.plaintext() as server:
        yield server


@pytest.fixture(scope="session")
def plaintext_server_ipv6() -> Iterator[Server]:
    with servers.plaintext(host="::1") as server:
        yield server
