"""Counts and traces over time against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from microfield.errors import InputError
from microfield.study.traces import compare_traces, correlations, counts_over_time, region_means

RNG = np.random.default_rng(2)


def test_counts_by_hand() -> None:
    found = counts_over_time([10, 12, 20], [10, 9, 22])
    assert found.correlation == pytest.approx(np.corrcoef([10, 12, 20], [10, 9, 22])[0, 1])
    assert found.largest_difference == 0.25
    assert (found.counts_a, found.counts_b) == ((10, 12, 20), (10, 9, 22))


def test_counts_that_do_not_change() -> None:
    assert counts_over_time([5, 5, 5], [5, 5, 5]).correlation == 1
    assert counts_over_time([5, 5, 5], [5, 6, 5]).correlation is None
    assert counts_over_time([5, 6], [5, 6]).correlation is None
    assert counts_over_time([0], [3]).largest_difference == 3
    for bad in ([], [1, 2]):
        with pytest.raises(InputError, match="two series"):
            counts_over_time(bad, [1] * (len(bad) + 1))


def test_correlations_are_those_of_numpy() -> None:
    a, b = RNG.normal(1e6, 3, (20, 9)), RNG.normal(-5, 1e-3, (20, 9))
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlations(a, b), expected, atol=1e-7)
    a[0, :4] = np.nan
    assert correlations(a, b)[0] == pytest.approx(np.corrcoef(a[0, 4:], b[0, 4:])[0, 1], abs=1e-7)


def test_constant_and_short_traces() -> None:
    a = np.array([[1.0, 2, 3], [4, 4, 4], [0.1, 0.1, 0.1], [1, 2, np.nan]])
    b = np.array([[7.0, 7, 7], [1, 2, 3], [1, 2, 4], [1, 2, 3]])
    np.testing.assert_array_equal(correlations(a, b), [0, np.nan, np.nan, np.nan])
    found = compare_traces(a.T, b.T)
    assert (found.mean, found.low) == (0, 0)
    assert compare_traces(a[1:2].T, b[1:2].T).mean is None
    assert compare_traces(a[1:2].T, b[1:2].T).low is None
    with pytest.raises(InputError, match="one shape"):
        compare_traces(a, b[:2])


def test_lowest_decile() -> None:
    a = RNG.normal(size=(30, 11))
    b = a.copy()
    b[:, 3] *= -1
    found = compare_traces(a, b)
    assert found.mean == pytest.approx(9 / 11)
    assert found.low == pytest.approx(1.0)  # one of eleven is below the lowest decile
    b[:, 4] *= -1
    low = compare_traces(a, b).low
    assert low is not None
    assert low < 0


def test_region_means_are_those_of_scipy() -> None:
    from scipy.ndimage import mean

    labels = RNG.integers(0, 6, (5, 20, 20))
    labels[labels == 4] = 0
    frame = RNG.integers(0, 65535, labels.shape).astype(np.uint16)
    found = region_means(frame, labels, 7)
    np.testing.assert_allclose(found[[0, 1, 2, 4]], mean(frame.astype(float), labels, [1, 2, 3, 5]))
    assert np.isnan(found[[3, 5, 6]]).all()
