"""Floats so large or small that errors cannot be computed: refused with a sentence, whatever the method."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from helpers.files import compressed
from helpers.images import blobs
from microfield.errors import InputError
from microfield.image import Image
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

PICTURE = blobs((40, 48), 3)


@pytest.mark.parametrize("method", ["field", "hevc", "jpeg2000", "inif"])
@pytest.mark.parametrize(("scale", "remedy"), [(1e200, "scale the image down"), (1e-200, "scale the image up")])
def test_values_beyond_what_can_be_squared_are_refused(method: str, scale: float, remedy: str) -> None:
    """hevc decoded to NaN, jpeg2000 to a constant, field and inif raised ValueError, and tiny ranges were called exact."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=remedy):
            compressed(Image(PICTURE * scale, "YX"), method, Budget("ratio", 10))


@pytest.mark.parametrize("scale", [1e39, 1e-41])
def test_coordinate_networks_compute_in_float32(scale: float) -> None:
    with pytest.raises(InputError, match="that method inif can code"):
        compressed(Image(PICTURE * scale, "YX"), "inif", Budget("ratio", 10))


@pytest.mark.parametrize("scale", [1e140, 1e-140])
def test_large_and_small_values_within_the_limits_are_coded_like_others(scale: float) -> None:
    _, plain = compressed(Image(PICTURE, "YX"), "field", Budget("ratio", 10))
    data, report = compressed(Image(PICTURE * scale, "YX"), "field", Budget("ratio", 10))
    assert report.psnr == pytest.approx(plain.psnr, abs=0.1)
    error = np.sqrt(np.mean((open_file(data).asarray() / scale - PICTURE) ** 2)) / np.ptp(PICTURE)
    assert -20 * np.log10(error) == pytest.approx(report.psnr, abs=0.01)


def test_the_range_counts_not_only_the_values() -> None:
    with pytest.raises(InputError, match="channel 1 of array holds values up to 1e"):
        compressed(Image(np.stack([PICTURE, np.full((40, 48), 1e300)]), "CYX"), "field", Budget("ratio", 10))
