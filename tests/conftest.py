"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import vocabulary
from tests.support.certificates import Certificates
from tests.support.network import enter_own_network
from tests.support.orphans import adopt_orphans, end_descendants

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


def _shared(config: pytest.Config) -> bool:
    """Whether other processes play the tests, and this one called them."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """They are about to be ended."""
    if _shared(session.config):
        adopt_orphans()


def pytest_unconfigure(config: pytest.Config) -> None:
    """They have ended, whatever they had started."""
    if _shared(config):
        end_descendants()


@pytest.fixture(autouse=True, scope="session")
def _lines_are_watched() -> Iterator[None]:
    with vocabulary.watch():
        yield
    assert vocabulary.faults() == []  # of gateways that have ended since the last test


@pytest.fixture(autouse=True)
def _lines_are_of_the_vocabulary() -> Iterator[None]:
    """Each line of a log that was written meanwhile is as the schema says."""
    yield
    assert vocabulary.faults() == []


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority and its certificates, for the whole run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
