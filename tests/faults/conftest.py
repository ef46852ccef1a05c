"""Gateways and servers for fault tests: one pair for each set of settings, started on first use, kept for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import Stage
from tests.support.certificates import Certificates


@pytest.fixture(scope="session")
def fault_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def kept_stages(fault_certificates: Certificates) -> Iterator[Stages]:
    stages = Stages(fault_certificates)
    try:
        yield stages
    finally:
        stages.close()


@pytest.fixture
def stages(kept_stages: Stages) -> Iterator[Stages]:
    """Stages by the name of their profile; each that the test used is checked at its end."""
    yield kept_stages
    kept_stages.end_test()


@pytest.fixture
def stage(stages: Stages) -> Stage:
    """The gateway with default settings."""
    return stages("default")


@pytest.fixture
def fresh_stages(fault_certificates: Certificates) -> Iterator[Stages]:
    """As `stages`, but with gateways that have learned nothing from other tests."""
    stages = Stages(fault_certificates)
    try:
        yield stages
        stages.end_test()
    finally:
        stages.close()
