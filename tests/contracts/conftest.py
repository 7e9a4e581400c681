"""The contracts do not count for the coverage.

They run every method through the same lines hundreds of times, which to trace costs minutes and tells nothing: a line that only
they reach has no test of its own.
"""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name == "test_contracts.py":
            item.add_marker(pytest.mark.no_cover)
