from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.display import ChannelDisplay, Display
from microfield.image import Image
from microfield.reading.contrast import contrast
from microfield.reading.file import MicrofieldFile, open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings


def exact(values: np.ndarray[Any, Any], axes: str, display: Display = Display()) -> MicrofieldFile:  # noqa: B008
    settings = Settings(method="lossless", keep_metadata=True)
    return open_file(compress_to_bytes(Image(values, axes, display=display), Budget.of(lossless=True), settings)[0])


def limits(*given: Any) -> tuple[tuple[float, float], ...]:
    return contrast(exact(*given).levels()[-1])


def test_percentiles_of_the_middle_plane_of_every_channel() -> None:
    values = scaled(blobs((3, 2, 40, 30)), 100, 4000, np.uint16)
    values[:, 1] //= 4
    expected = [tuple(np.percentile(values[1, c], (0.5, 99.8))) for c in range(2)]
    np.testing.assert_allclose(limits(values, "ZCYX"), expected)


def test_what_the_file_says_goes_first() -> None:
    values = scaled(blobs((2, 40, 30)), 100, 4000, np.uint16)
    known = Display((ChannelDisplay(range=(5.0, 9.0)), ChannelDisplay((255, 0, 0))))
    first, second = limits(values, "CYX", known)
    assert first == (5.0, 9.0)
    assert second == pytest.approx(np.percentile(values[1], (0.5, 99.8)))
    assert limits(scaled(blobs((40, 30, 3)), 0, 99, np.uint8), "YXS") == ((0.0, 255.0),)


def test_ranges_are_never_empty_and_always_finite() -> None:
    assert limits(np.full((8, 9), 7, np.uint16), "YX") == ((7.0, 8.0),)
    assert limits(np.full((8, 9), np.nan, np.float32), "YX") == ((0.0, 1.0),)
    sparse = np.zeros((50, 50), np.uint8)
    sparse[0, 0] = 200
    assert limits(sparse, "YX") == ((0.0, 200.0),)
    huge = np.array([[-3e38, 3e38]] * 4, np.float32)
    ((low, high),) = limits(huge, "YX")
    assert low < high < np.inf
