"""The compiled kernel and its sets of instructions, for the tests that hold it to NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from microfield.kernel import loading
from microfield.kernel.building import MUST
from microfield.kernel.loading import Instructions


@pytest.fixture(params=list(Instructions), ids=lambda level: level.name)
def instructions(request: pytest.FixtureRequest) -> Iterator[Instructions]:
    """Each set of instructions that this machine has, in use; skipped without a kernel, unless a kernel is a must."""
    found = loading.library()
    if found is None:
        assert os.environ.get(MUST) != "1", loading.sentence()
        pytest.skip(loading.sentence())
    if found.mf_use(request.param) != request.param:
        found.mf_use(max(Instructions))
        pytest.skip(f"this machine has no {request.param.name}")
    yield request.param
    found.mf_use(max(Instructions))
