"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from tests.support.certificates import Certificates
from tests.support.network import enter_own_network

# A background job of a shell ignores Ctrl-C, and its children inherit that; here they are tested with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# HYPOTHESIS_PROFILE=nightly walks more than 100,000 steps through the protocol.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=4000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes share the tests (``-n``), each has all ports and addresses for itself."""
    if hasattr(config, "workerinput"):
        enter_own_network()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority and its certificates, for the whole run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
