"""What does not count for the coverage, in a run of all tests.

These tests run the same lines thousands of times, over every method or over damaged streams. To trace them costs minutes and
tells nothing: a line that only they reach has no test of its own.
"""

from __future__ import annotations

import pytest

UNTRACED = {
    "test_contracts.py",
    "test_absurd_coefficients_decode_to_grey_levels_in_range", "test_coding_takes_bounded_memory",
    "test_damage", "test_damaged_coefficients_are_refused_or_values", "test_tiled_images_are_tried_on_a_crop_of_whole_parts",
}
"""Files and functions of tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {item.path.name, getattr(item, "originalname", None)} & UNTRACED:
            item.add_marker(pytest.mark.no_cover)
