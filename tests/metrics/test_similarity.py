from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.errors import InputError
from microfield.metrics import similarity, volume_similarity
from microfield.metrics.multiscale import WEIGHTS, count_scales, ms_ssim
from microfield.metrics.similarity import ssim
from microfield.metrics.volume_similarity import ssim_3d

Floats = npt.NDArray[np.float64]


def reference(a: Floats, b: Floats, **options: Any) -> Any:
    """scikit-image's SSIM with the window of the 2004 paper, for a range of 2."""
    metrics = pytest.importorskip("skimage.metrics")
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return metrics.structural_similarity(a, b, data_range=2.0, **window, **options)


def noisy(shape: tuple[int, ...], sigma: float = 0.1, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    smooth = np.add.outer(np.sin(np.arange(shape[-2]) / 5), np.cos(np.arange(shape[-1]) / 7))
    a = smooth + random.normal(0, 0.05, shape)
    return a, a + random.normal(0, sigma, shape)


def test_strips_do_not_change_ssim(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = noisy((130, 90))
    whole = reference(a - a.min(), b - a.min())
    assert ssim(a, b, "YX", 2.0)[0] == pytest.approx(whole, abs=1e-12)
    monkeypatch.setattr(similarity, "_STRIP", 1)
    monkeypatch.setattr(similarity, "_MIN_ROWS", 7)
    assert ssim(a, b, "YX", 2.0)[0] == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("axes", ["ZYX", "TZYX", "ZTYX", "ZYXS", "CZYX"])
def test_3d_ssim_equals_scikit_images(axes: str) -> None:
    sizes = {"Z": 14, "Y": 23, "X": 31, "T": 2, "C": 2, "S": 3}
    random = np.random.default_rng(0)
    a = random.random([sizes[axis] for axis in axes])
    b = a + random.normal(0, 0.2, a.shape)
    ordered = "".join(axis for axis in "CSTZYX" if axis in axes)
    stacks = (-1, 2 if "T" in axes else 1, 14, 23, 31)  # channel, time, Z, Y, X
    x, y = (np.einsum(f"{axes}->{ordered}", values).reshape(stacks) for values in (a, b))
    expected = [
        np.mean([reference(p - one.min(), q - one.min()) for p, q in zip(one, other, strict=True)])
        for one, other in zip(x, y, strict=True)
    ]
    assert ssim_3d(a, b, axes, 2.0) == pytest.approx(np.array(expected), abs=1e-9)


def test_3d_ssim_of_large_planes_looks_at_every_second_position(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = noisy((13, 60, 70))
    monkeypatch.setattr(volume_similarity, "POSITIONS", 60 * 70 // 3)
    values = reference(a - a.min(), b - a.min(), full=True)[1][5:-5, 5:-5, 5:-5]
    assert ssim_3d(a, b, "ZYX", 2.0)[0] == pytest.approx(values[:, ::2, ::2].mean(), abs=1e-9)
    assert values[:, ::2, ::2].mean() != pytest.approx(values.mean(), abs=1e-9)


def test_3d_ssim_of_a_shallow_stack() -> None:
    a, b = noisy((5, 30, 40))
    same, other = ssim_3d(a, a, "ZYX", 2.0)[0], ssim_3d(a, b, "ZYX", 2.0)[0]
    assert same == pytest.approx(1)
    assert 0 < other < 1
    assert other != pytest.approx(ssim(a, b, "ZYX", 2.0)[0], abs=1e-3)
    for axes, shape in (("ZYX", (4, 30, 40)), ("TYX", (9, 30, 40)), ("YX", (30, 40))):
        with pytest.raises(InputError, match="at least 5 planes along Z"):
            ssim_3d(np.zeros(shape), np.zeros(shape), axes, 1.0)


def ms_ssim_by_hand(a: Floats, b: Floats, scales: int) -> float:
    """MS-SSIM of a plane of range 2 from scikit-image's maps: contrast and structure are SSIM over luminance."""
    ndimage = pytest.importorskip("scipy.ndimage")
    x, y = a - a.min(), b - a.min()
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    value, c1 = 1.0, 0.02**2
    for scale, weight in enumerate(weights):
        p, q = (ndimage.gaussian_filter(v, 1.5, truncate=3.5) for v in (x, y))
        factor = reference(x, y, full=True)[1]
        if scale < scales - 1:
            factor = factor / ((2 * p * q + c1) / (p * p + q * q + c1))
        value *= factor[5:-5, 5:-5].mean() ** weight
        x, y = (v[: v.shape[0] // 2 * 2, : v.shape[1] // 2 * 2] for v in (x, y))
        x, y = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean((1, 3)) for v in (x, y))
    return value


@pytest.mark.parametrize(("shape", "scales"), [((180, 201), 5), ((175, 300), 4), ((45, 60), 3), ((22, 22), 2), ((21, 90), 1)])
def test_ms_ssim_is_the_product_of_its_scales(shape: tuple[int, int], scales: int) -> None:
    a, b = noisy(shape, 0.3)
    assert count_scales(shape) == scales
    assert ms_ssim(a, b, "YX", 2.0)[0] == pytest.approx(ms_ssim_by_hand(a, b, scales), abs=1e-9)
    if scales == 1:
        assert ms_ssim(a, b, "YX", 2.0) == pytest.approx(ssim(a, b, "YX", 2.0))


@pytest.mark.parametrize(("side", "exponent"), [(200, 0.1333 / sum(WEIGHTS)), (16, 1.0), (3, 1.0)])
def test_ms_ssim_of_a_shift_is_the_luminance_of_the_last_scale(side: int, exponent: float) -> None:
    flat = np.full((side, side), 700.0)
    c1 = (0.01 * 10) ** 2
    assert ms_ssim(flat, flat + 0.2, "YX", 10.0)[0] == pytest.approx((c1 / (0.2**2 + c1)) ** exponent)


def test_ms_ssim_falls_with_noise() -> None:
    a, _ = noisy((3, 180, 180))
    noise = np.random.default_rng(1).normal(0, 1, a.shape)
    values = [ms_ssim(a, a + sigma * noise, "ZYX", 2.0)[0] for sigma in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)]
    assert values[0] == pytest.approx(1)
    assert np.all(np.diff(values) < 0)
    assert ms_ssim(a, -a, "ZYX", 2.0)[0] == 0  # a negative structure counts as none


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 10**6))
def test_ms_ssim_of_small_planes(height: int, width: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, height, width))
    assert ms_ssim(a, a, "YX", 1.0)[0] == pytest.approx(1)
    assert 0 <= ms_ssim(a, b, "YX", 1.0)[0] < 1


def test_shapes_that_differ_are_refused() -> None:
    a, b = np.zeros((6, 20, 21)), np.zeros((6, 21, 20))
    for metric in (ssim, ssim_3d, ms_ssim):
        with pytest.raises(InputError, match="one shape"):
            metric(a, b, "ZYX", 1.0)
