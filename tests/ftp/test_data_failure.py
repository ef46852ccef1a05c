"""By what cause a data connection has failed, and what to do."""

from __future__ import annotations

import errno
from typing import get_args

import pytest

from ftpsproxy.ftp.data_failure import Cause, DataFailure, Side, of_connect


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNREFUSED, Cause.REFUSED),
        (errno.ETIMEDOUT, Cause.NO_ANSWER),
        (errno.EHOSTUNREACH, Cause.UNREACHABLE),
        (errno.EMFILE, Cause.STARVED),
        (errno.EADDRNOTAVAIL, Cause.STARVED),
        (errno.ECONNRESET, Cause.BROKEN),
    ],
)
def test_a_connect_that_fails(number: int, cause: Cause) -> None:
    """What is our own want is not the network's fault."""
    assert of_connect(OSError(number, "x")) is cause


@pytest.mark.parametrize("mode", ["passive", "active", "epsv", "eprt", ""])
@pytest.mark.parametrize("side", get_args(Side))
def test_a_hint_fits_in_a_line(side: Side, mode: str) -> None:
    hints = {cause: DataFailure(side, cause, "why", mode).hint for cause in Cause}
    assert all(hint is None or (len(hint) < 250 and "\n" not in hint) for hint in hints.values())
    assert hints[Cause.STARVED]
    assert hints[Cause.NEVER_CAME] or (side == "server" and mode not in ("eprt", "port"))
