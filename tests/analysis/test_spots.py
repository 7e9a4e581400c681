"""Spot detection and matching with spots in known places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.analysis import spots
from microfield.analysis.objects import Matched
from microfield.analysis.spots import find_spots, match_spots
from microfield.errors import InputError

Array = npt.NDArray[Any]


def field(shape: tuple[int, ...], places: Array, noise: float = 2.0, sigma: float = 1.5) -> Array:
    grid = np.indices(shape)
    image = np.random.default_rng(5).normal(100, noise, shape)
    for place in places:
        square = sum((g - p) ** 2 for g, p in zip(grid, place, strict=True))
        image += 60 * np.exp(-square / (2 * sigma**2))
    return image


PLANE = np.array([(i, j) for i in range(10, 118, 12) for j in range(9, 118, 12)], float)
VOLUME = np.array([(z, i, j) for z in (6, 16) for i in range(8, 40, 10) for j in range(8, 40, 10)], float)


@pytest.mark.parametrize(("shape", "places"), [((128, 128), PLANE), ((24, 48, 48), VOLUME)])
def test_spots_are_found_where_they_are(shape: tuple[int, ...], places: Array) -> None:
    image = field(shape, places)
    found = match_spots(places, find_spots(image))
    assert found == Matched(len(places), len(places), len(places))
    assert match_spots(find_spots(image), find_spots(-image, dark=True)).f1 == 1


def test_positions_agree_with_scikit_image() -> None:
    from skimage.feature import blob_log

    image = field((96, 96), PLANE[(PLANE < 90).all(axis=1)])
    theirs = blob_log(image - image.min(), min_sigma=1.5, max_sigma=1.5, num_sigma=1, threshold=15, exclude_border=1)[:, :2]
    assert match_spots(theirs, find_spots(image), tolerance=1.0).f1 == 1


def test_noise_and_texture_are_no_spots(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    assert len(find_spots(rng.normal(0, 1, (256, 256)))) <= 2
    y, x = np.indices((200, 200)) - 100
    nucleus = y**2 + x**2 < 70**2
    grain = rng.normal(0, 1, nucleus.shape) + nucleus * (200 + rng.normal(0, 20, nucleus.shape))
    few = len(find_spots(grain))  # left are some along the border
    monkeypatch.setattr(spots, "LOCAL_CONTRAST", 0.0)
    assert few < len(find_spots(grain)) / 5
    assert len(find_spots(np.zeros((20, 20)))) == 0
    assert find_spots(np.zeros((3, 20, 20))).shape == (0, 3)
    assert find_spots(rng.random((1, 1))).shape == (0, 2)


def test_a_plateau_is_one_spot() -> None:
    image = np.zeros((21, 21))
    image[10:12, 10:12] = 1
    np.testing.assert_allclose(find_spots(image), [[10.5, 10.5]], atol=0.5)


def test_matching_by_hand() -> None:
    a = np.array([[0.0, 0.0], [10.0, 10.0], [20.0, 20.0]])
    b = np.array([[0.0, 1.5], [0.0, 0.5], [20.0, 23.0]])
    found = match_spots(a, b)
    assert [found.matched, found.precision, found.recall, found.f1] == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert match_spots(a, b, tolerance=3.0).matched == 2
    assert match_spots(a, b, spacing=(1.0, 3.0)).matched == 1  # 0.5 pixels are 1.5 of the finest axis
    assert match_spots(a, a[:, ::-1]).f1 == 1
    assert match_spots(np.zeros((0, 2)), np.zeros((0, 2))).f1 == 1
    assert (match_spots(a, np.zeros((0, 2))).f1, match_spots(np.zeros((0, 2)), a).recall) == (0, 1)
    with pytest.raises(InputError, match="positions"):
        match_spots(a, np.zeros((3, 3)))


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_matching_is_one_to_one_and_symmetric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 12, (15, 2)), rng.uniform(0, 12, (12, 2))
    found = match_spots(a, b)
    assert found.matched <= 12
    assert found.matched == match_spots(b, a).matched
    assert match_spots(a, a + 0.01).matched == 15
