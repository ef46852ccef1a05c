"""What tests are played on: every stack with each version of TLS that it speaks, or those that can do a deed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stacks.stacks import STACKS, Stack

_PAIRS = [(name, version) for name, stack in STACKS.items() for version in stack.versions]

everywhere = pytest.mark.parametrize("stage", [pytest.param(pair, id="-".join(pair)) for pair in _PAIRS], indirect=True)


def able(*deeds: str, such: Callable[[Stack], bool] = lambda _stack: True) -> pytest.MarkDecorator:
    """Parameters `stage` and `deed`: wherever one of the deeds can be done, on a stack that is `such`."""
    cases = [
        pytest.param(pair, deed, id="-".join((*pair, deed)))
        for pair in _PAIRS
        for deed in deeds
        if deed in STACKS[pair[0]].deeds[pair[1]] and such(STACKS[pair[0]])
    ]
    assert cases
    return pytest.mark.parametrize(("stage", "deed"), cases, indirect=["stage"])
