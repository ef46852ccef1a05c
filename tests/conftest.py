"""Fixtures for all tests."""

from __future__ import annotations

import pytest

from tests.support.certificates import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority and its certificates, for the whole run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
