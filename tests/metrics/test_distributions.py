from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.errors import InputError
from microfield.metrics.distributions import Correlation, GreyValues, histogram_distance, pearson


@pytest.mark.parametrize(("dtype", "high"), [("uint8", 256), ("uint16", 4096), ("uint16", 65536), ("int16", 32000)])
def test_the_distance_of_whole_numbers_equals_scipys(dtype: str, high: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    a = (high * random.random(5000) ** 3).astype(dtype)
    b = np.clip(a.astype(float) * 0.9 + random.normal(0, high / 50, a.shape), 0, high - 1).astype(dtype)
    span = float(a.max()) - float(a.min())
    assert histogram_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b) / span, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_distance_of_floats_is_near_scipys(scale: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(1)
    a, b = random.normal(0, scale, 4000), random.normal(0.2 * scale, 0.8 * scale, 4000)
    span = a.max() - a.min()
    assert histogram_distance(a, b) == pytest.approx(stats.wasserstein_distance(a / span, b / span), abs=1 / 65536)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.integers(-200, 200))
def test_the_distance_of_a_shift_is_the_shift(values: list[int], shift: int) -> None:
    a = np.array(values)
    span = int(a.max() - a.min()) or 1
    assert histogram_distance(a, a) == 0
    assert histogram_distance(a, np.random.default_rng(0).permutation(a)) == 0
    if abs(shift) <= span:
        assert histogram_distance(a, a + shift) == pytest.approx(abs(shift) / span)
    else:
        assert 0 < histogram_distance(a, a + shift) <= 2


def test_histograms_add_up() -> None:
    random = np.random.default_rng(2)
    a, b = random.integers(0, 1000, (2, 50, 40)).astype(float)
    a.flat[0], a.flat[1] = 0, 999
    once, often = GreyValues(999.0, whole=True), GreyValues(999.0, whole=True)
    once.add(a, b)
    for x, y in zip(a, b, strict=True):
        often.add(x, y)
        assert often.value >= 0  # may be asked for at any time
    assert once.value == often.value == pytest.approx(histogram_distance(a.astype(int), b.astype(int)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("offset", [0, 30000])
def test_the_correlation_equals_numpys(dtype: str, offset: int) -> None:
    random = np.random.default_rng(3)
    a = (random.integers(0, 100, (30, 40)) + (0 if dtype == "uint8" else offset)).astype(dtype)
    b = np.rint(a * 0.5 + random.normal(60, 9, a.shape)).astype(dtype)
    assert pearson(a, b) == pytest.approx(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1], abs=1e-9)
    assert pearson(a, a) == pytest.approx(1)
    assert pearson(a.astype(float), -3.0 * a) == pytest.approx(-1)


def test_a_constant_has_no_correlation() -> None:
    varied = np.arange(12.0)
    for constant in (np.full(12, 0.1), np.full(12, 1e-300), np.zeros(12), np.full(12, 1e300)):
        assert pearson(constant, varied) is None
        assert pearson(varied, constant) is None
    assert pearson([1.0], [2.0]) is None
    assert Correlation().value is None


def test_correlations_add_up() -> None:
    random = np.random.default_rng(4)
    a = random.random((20, 30)) + 5
    b = a + random.normal(0, 0.2, a.shape)
    sums = Correlation()
    for x, y in zip(a, b, strict=True):
        sums.add(x, y)
    assert sums.value == pytest.approx(pearson(a, b))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="finite"):
        histogram_distance(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(InputError, match="at least one value"):
        histogram_distance(np.array([]), np.array([1.0]))
    with pytest.raises(InputError, match="one shape"):
        pearson(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="finite"):
        pearson(np.array([1.0, np.inf]), np.array([1.0, 2.0]))
