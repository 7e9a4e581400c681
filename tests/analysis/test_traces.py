"""Counts and traces over time against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from microfield.analysis.traces import (
    CLEAR,
    LEAST_POINTS,
    change_clearly,
    chequered,
    compare_traces,
    correlations,
    counts_over_time,
    region_means,
)
from microfield.errors import InputError

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


def clear_of(movie: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    count = int(labels.max())
    whole, odd, even = (np.stack([region_means(frame, part, count) for frame in movie]) for part in (labels, *chequered(labels)))
    return change_clearly(whole, (odd, even))


def test_chequered_halves_share_nothing_and_miss_nothing() -> None:
    labels = RNG.integers(0, 5, (3, 8, 9))
    odd, even = chequered(labels)
    np.testing.assert_array_equal(odd + even, labels)
    assert not (odd.astype(bool) & even.astype(bool)).any()
    ones = chequered(np.ones((4, 6), int))[0]
    assert (ones[1:] != ones[:-1]).all()
    assert (ones[:, 1:] != ones[:, :-1]).all()


@pytest.mark.parametrize("shot", [False, True])
def test_only_what_exceeds_the_noise_of_the_mean_changes_clearly(shot: bool) -> None:
    """Regions of 400 pixels of sigma 20: a mean has noise of 1, so 10 times its variance is a deviation of 3.2."""
    labels = np.repeat(np.arange(1, 5), 20)[None, :] * np.ones((20, 1), int)
    wave = np.sin(np.arange(40) * 0.9)[:, None, None] * np.sqrt(2)
    swing = np.array([0.0, 1.0, 6.0, 20.0])[labels - 1]  # deviations over time
    level = 400.0 + wave * swing  # shot noise of 400 has sigma 20, too
    structure = RNG.normal(0, 50, labels.shape)
    movie = RNG.poisson(level).astype(float) if shot else level + RNG.normal(0, 20, level.shape)
    assert clear_of(movie + structure, labels).tolist() == [False, False, True, True]
    assert clear_of(level, labels).tolist() == [False, True, True, True]  # without noise every change is clear
    assert not clear_of((movie + structure)[: LEAST_POINTS - 1], labels).any()
    assert clear_of((movie + structure)[:LEAST_POINTS], labels)[3]


def test_the_limit_is_where_a_copy_without_the_noise_correlates_by_095() -> None:
    signal = RNG.normal(0, np.sqrt(CLEAR - 1), (20000, 1))  # in units of the noise: with it, CLEAR times its variance
    found = compare_traces(signal + RNG.normal(size=signal.shape), signal)
    assert found.mean == pytest.approx(0.95, abs=0.005)


def test_regions_that_hardly_change_do_not_count() -> None:
    a, b = RNG.normal(size=(2, 30, 4))
    b[:, 3] = a[:, 3]
    found = compare_traces(a, b, np.array([False, False, False, True]))
    assert found.mean_clear == pytest.approx(1)
    assert found.mean is not None
    assert found.mean < 0.6
    assert compare_traces(a, b, np.zeros(4, bool)).mean_clear is None
