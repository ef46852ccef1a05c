"""A server and a gateway for each TLS stack, started on first use and kept for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stacks.stage import Stage, Stages
from tests.support.certificates import Certificates


@pytest.fixture(scope="session")
def kept_stages(certificates: Certificates) -> Iterator[Stages]:
    stages = Stages(certificates)
    try:
        yield stages
    finally:
        stages.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest, kept_stages: Stages) -> Iterator[Stage]:
    """The stack and version that the test is played on: see `cases`."""
    made = kept_stages(*request.param)
    made.begin()
    try:
        yield made
    finally:
        print(made.server.text)  # pytest shows it where the test has failed
    made.end()
