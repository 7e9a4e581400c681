from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.image import Image, Layout
from microfield.noise import noise_sigma
from microfield.statistics import (
    as_planes,
    boxes,
    channel_numbers,
    channel_statistics,
    count_invalid,
    windows,
)

RANDOM = np.random.default_rng


class Lazy:
    """An array that remembers the largest piece it was asked for."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        part: npt.NDArray[Any] = self.values[key]
        self.largest = max(self.largest, part.size)
        return part


def smooth(shape: tuple[int, int] = (256, 256), height: float = 200.0) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(height * (1 + np.sin(x / 17) * np.cos(y / 23)) + 0.3 * x)


@given(
    st.sampled_from(["YX", "ZYX", "YXS", "CYX", "TCZYX", "ZCYX", "XYC", "TYXS"]),
    st.lists(st.integers(1, 9), min_size=5, max_size=5),
    st.integers(1, 400),
)
def test_boxes_cover_every_element_once(axes: str, extents: list[int], limit: int) -> None:
    layout = Layout(tuple(extents[: len(axes)]), axes, np.dtype(np.uint8))
    seen = np.zeros(layout.shape, int)
    for box in boxes(layout, limit):
        seen[box] += 1
    assert (seen == 1).all()


def test_boxes_are_bounded_and_keep_planes_whole_where_they_fit() -> None:
    layout = Layout((7, 3, 300, 200), "ZCYX", np.dtype(np.uint8))
    for limit in (64 * 200, 100_000, 200_000):
        assert all(np.prod([s.stop - s.start for s in box]) <= limit for box in boxes(layout, limit))
    assert all(box[2:] == (slice(0, 300), slice(0, 200)) for box in boxes(layout, 60_000))


@given(st.sampled_from(["TCZYX", "CYXS", "YXS", "ZYX", "SYXC"]), st.integers(1, 30))
def test_channels_are_numbered_in_array_order(axes: str, limit: int) -> None:
    shape = tuple({"T": 2, "C": 3, "Z": 2, "Y": 4, "X": 3, "S": 2}[a] for a in axes)
    layout = Layout(shape, axes, np.dtype(np.int64))
    numbers = np.zeros(shape, int)
    kept = [shape[i] if i in layout.channel_axes else 1 for i in range(len(shape))]
    numbers += np.arange(layout.channels).reshape(kept)
    for box in boxes(layout, limit):
        planes = as_planes(numbers[box], axes)
        for number, channel in zip(channel_numbers(layout, box), planes, strict=True):
            assert (channel == number).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64"])
def test_statistics_equal_numpys(dtype: str) -> None:
    values = RANDOM(0).normal(60, 15, (2, 3, 40, 50)).clip(0, 126).astype(dtype)
    values[:, 1] = 7
    found = channel_statistics(Image(values, "ZCYX"))
    for c in range(3):
        channel = values[:, c]
        low, high = np.percentile(channel, [0.1, 99.9], method="lower")
        expected = (channel.min(), channel.max(), low, high)
        assert (found.minimum[c], found.maximum[c], found.low[c], found.high[c]) == expected
    assert found.range[1] == found.robust_range[1] == 1
    assert found.noise[1] == 0
    assert found.noise[0] == pytest.approx(15, rel=0.1)


def test_statistics_of_a_large_float_image_come_from_a_fair_sample() -> None:
    values = RANDOM(1).normal(0, 1, (6, 1024, 1024)).astype(np.float32)
    values[2, 5, 5] = 1e6
    source = Lazy(values)
    found = channel_statistics(Image(source, "ZYX"))
    assert found.maximum[0] == 1e6
    assert found.high[0] == pytest.approx(3.09, abs=0.1)
    assert found.low[0] == pytest.approx(-3.09, abs=0.1)
    assert found.noise[0] == pytest.approx(1, rel=0.05)
    assert source.largest < values.size


def test_statistics_leave_out_what_is_not_finite() -> None:
    values = np.ones((8, 9), np.float32)
    values[0, :4] = [np.nan, np.inf, -np.inf, 5]
    found = channel_statistics(Image(values, "YX"))
    assert (found.minimum[0], found.maximum[0]) == (1, 5)
    assert count_invalid(values) == (1, 2)
    assert count_invalid(np.zeros(3, np.uint8)) == (0, 0)
    nothing = channel_statistics(Image(np.full((4, 4), np.nan), "YX"))
    assert (nothing.minimum[0], nothing.maximum[0], nothing.range[0], nothing.noise[0]) == (0, 0, 1, 0)


def test_windows_are_spread_and_inside() -> None:
    layout = Layout((20, 2, 900, 700), "ZCYX", np.dtype(np.uint8))
    found = windows(layout, 1)
    assert len({box[0].start for box in found}) == 8
    assert all(box[1] == slice(1, 2) and box[2].stop <= 900 and box[3].stop <= 700 for box in found)
    assert all(box[2].stop - box[2].start == box[3].stop - box[3].start == 512 for box in found)
    assert len(windows(Layout((40, 30), "YX", np.dtype(np.uint8)), 0)) == 1


@pytest.mark.parametrize("sigma", [0.5, 3.0, 40.0])
def test_noise_of_a_smooth_structure_with_gaussian_noise(sigma: float) -> None:
    image = smooth() + RANDOM(2).normal(0, sigma, (256, 256))
    assert noise_sigma(image) == pytest.approx(sigma, rel=0.1)
    assert noise_sigma(image.astype(np.float32)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("rate", [4.0, 50.0, 1000.0])
def test_noise_of_counted_photons(rate: float) -> None:
    assert noise_sigma(RANDOM(3).poisson(rate, (4, 200, 200)).astype(np.uint16)) == pytest.approx(rate**0.5, rel=0.1)


@pytest.mark.parametrize("sigma", [0.6, 0.8, 1.0, 2.0])
@pytest.mark.parametrize("offset", [100.0, 100.5, 100.3])
def test_noise_of_rounded_data_includes_the_rounding(sigma: float, offset: float) -> None:
    image = np.rint(offset + RANDOM(4).normal(0, sigma, (256, 256))).astype(np.uint8)
    assert noise_sigma(image) == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.1)


@pytest.mark.parametrize("sigma", [0.6, 5.0])
@pytest.mark.parametrize("level", [0, 255])
def test_noise_is_not_diluted_by_empty_or_saturated_regions(sigma: float, level: int) -> None:
    image = np.rint(np.clip(120 + RANDOM(5).normal(0, sigma, (256, 256)), 0, 255)).astype(np.uint8)
    image[:, :140] = level
    image[:30] = level
    assert noise_sigma(image) == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.1)


def test_noise_where_the_median_is_zero_but_something_varies() -> None:
    image = np.zeros((64, 64), np.uint8)
    image += np.arange(64, dtype=np.uint8)  # a ramp: no neighbourhood is flat, and every second difference is zero
    assert noise_sigma(image) == 0
    image[::8, ::8] += 1
    assert 0 < noise_sigma(image) < 0.5


def test_noise_of_awkward_shapes() -> None:
    values = RANDOM(6).normal(0, 2, (1, 20000))
    assert noise_sigma(values) == pytest.approx(2, rel=0.1)
    assert noise_sigma(values.T) == pytest.approx(2, rel=0.1)
    assert noise_sigma(values[:, :2]) == 0
    assert noise_sigma(values[0]) == pytest.approx(2, rel=0.1)
    assert noise_sigma(np.full((9, 9), 3.0)) == 0
    assert noise_sigma(np.full((9, 9), np.nan)) == 0


def test_noise_survives_a_large_offset() -> None:
    image = 2**30 + RANDOM(7).normal(0, 3, (128, 128))
    assert noise_sigma(np.rint(image).astype(np.uint32)) == pytest.approx(3, rel=0.1)
