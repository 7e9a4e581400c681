from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest

from microfield.errors import InputError
from microfield.metrics.blocking import GRIDS, Steps, blocking

Floats = npt.NDArray[np.float64]


def waves(shape: tuple[int, int], noise: float = 0.0) -> Floats:
    random = np.random.default_rng(0)
    y, x = np.indices(shape)
    return np.asarray(100 + 40 * np.sin(y / 23) + 40 * np.cos((x + y) / 31) + random.normal(0, noise, shape))


def in_blocks(values: Floats, side: int) -> Floats:
    """Every block replaced by its mean."""
    rows, columns = (n // side for n in values.shape)
    means = values.reshape(rows, side, columns, side).mean((1, 3))
    return np.asarray(np.kron(means, np.ones((side, side))))


@pytest.mark.parametrize("side", GRIDS)
def test_flat_squares_have_nothing_but_edges(side: int) -> None:
    y, x = np.indices((256, 320))
    ramp = 3.0 * y + 2.0 * x
    assert blocking(ramp, in_blocks(ramp, side)) == pytest.approx(1)
    assert blocking(ramp, ramp) == 0
    assert blocking(in_blocks(ramp, side), in_blocks(ramp, side)) == 0  # what the original has is no fault
    assert blocking(in_blocks(ramp, side), ramp) == 0


@pytest.mark.parametrize("side", GRIDS)
def test_a_ramp_with_steps_has_a_known_value(side: int) -> None:
    x = np.arange(512.0)
    ramp = np.broadcast_to(x, (10, 512))  # too few rows for a grid along Y
    stepped = ramp + 2.0 * (x // side)  # slope 1, at the borders 3
    assert blocking(ramp, stepped) == pytest.approx((3 - 1) / (3 + 1))
    square = np.broadcast_to(x, (512, 512))  # no edges along Y
    assert blocking(square, square + 2.0 * (x // side)) == pytest.approx((3 - 1) / (3 + 1) / 2)


def test_smoothing_and_noise_are_not_taken_for_blocks() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    original = waves((300, 300), noise=10)
    random = np.random.default_rng(1)
    for changed in (ndimage.gaussian_filter(original, 2), original + random.normal(0, 10, original.shape), waves((300, 300))):
        found = blocking(original, changed)
        assert found is not None
        assert found < 0.06


def test_a_coarser_jpeg_has_more_blocks() -> None:
    picture = pytest.importorskip("PIL.Image")
    original = np.clip(waves((256, 256), noise=4), 0, 255).astype(np.uint8)
    found: list[float] = []
    for quality in (95, 50, 20, 5):
        stream = io.BytesIO()
        picture.fromarray(original).save(stream, "jpeg", quality=quality)
        found.append(blocking(original, np.asarray(picture.open(stream))) or 0.0)
    assert found == sorted(found)
    assert found[0] < 0.05
    assert found[-1] > 0.3


def test_planes_are_pooled_and_bands_put_together() -> None:
    original = np.stack([waves((64, 80), noise=2), waves((64, 80), noise=3)])
    changed = np.stack([in_blocks(original[0], 8), original[1]])
    whole = Steps((64, 80))
    for a, b in zip(original, changed, strict=True):
        whole.add(a[:30], b[:30], 0, 0)
        whole.add(a[20:], b[20:], 20, 10)
    both = blocking(original, changed)
    assert both == pytest.approx(whole.value)
    assert 0 < (both or 0) < (blocking(original[0], changed[0]) or 0)


def test_planes_of_a_few_pixels_have_no_grid() -> None:
    for shape in ((1, 1), (1, 20), (20, 20), (25, 1)):
        assert blocking(np.zeros(shape), np.ones(shape)) is None
    assert blocking(np.zeros((1, 27)), np.ones((1, 27))) == 0


def test_bad_input() -> None:
    with pytest.raises(InputError, match="one shape"):
        blocking(np.zeros((30, 30)), np.zeros((30, 31)))
    with pytest.raises(InputError, match="one shape"):
        blocking(np.zeros(30), np.zeros(30))
    with pytest.raises(InputError, match="finite"):
        blocking(np.zeros((30, 30)), np.full((30, 30), np.nan))
