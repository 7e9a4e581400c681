"""Bjøntegaard differences against curves whose distance is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.bench.bjontegaard import MAX_GAP, bd_psnr, bd_rate, stretch
from microfield.errors import InputError

RATES = (1000.0, 2100.0, 4300.0, 8000.0)
CURVE = [(r, 30 + 3 * math.log2(r / 1000) - 0.1 * math.log2(r / 1000) ** 2) for r in RATES]

curves = st.lists(st.tuples(st.floats(0.05, 2), st.floats(0.05, 5)), min_size=2, max_size=8).map(
    lambda steps: list(zip(
        10 ** np.cumsum([s[0] for s in steps]), 20 + np.cumsum([s[1] for s in steps]), strict=True)))


@pytest.mark.parametrize("percent", [-50, -10, 10, 300])
def test_a_shift_in_rate_is_that_many_percent(percent: float) -> None:
    shifted = [(rate * (1 + percent / 100), quality) for rate, quality in CURVE]
    assert bd_rate(CURVE, shifted) == pytest.approx(percent)


@pytest.mark.parametrize("gain", [-2.5, 1.0])
def test_a_shift_in_quality_is_that_many_decibels(gain: float) -> None:
    assert bd_psnr(CURVE, [(rate, quality + gain) for rate, quality in CURVE]) == pytest.approx(gain)


def test_straight_lines_of_different_slope() -> None:
    # 10 dB and 12 dB per decade from one point: over the common decade the second lies 1 dB above on average.
    first, second = [(1.0, 30.0), (10.0, 40.0)], [(1.0, 30.0), (10.0, 42.0)]
    assert bd_psnr(first, second) == pytest.approx(1.0)
    # Over the common 30..40 dB: mean of q/12 - q/10 for q in 0..10, in decades.
    assert bd_rate(first, second) == pytest.approx(100 * (10 ** (5 / 12 - 5 / 10) - 1))


def test_only_the_common_interval_counts() -> None:
    longer = [*CURVE, (1e6, 90.0)]
    assert bd_psnr(CURVE, CURVE[1:]) == pytest.approx(0, abs=0.05)
    assert bd_psnr(longer[:4], CURVE) == pytest.approx(0)


@given(curves, curves)
def test_the_other_way_round_it_is_the_opposite(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    gain, back = bd_psnr(a, b), bd_psnr(b, a)
    assert (gain is None) == (back is None)
    if gain is not None and back is not None:
        assert gain == pytest.approx(-back, abs=1e-9)
    rate, returned = bd_rate(a, b), bd_rate(b, a)
    if rate is not None and returned is not None:
        assert (1 + rate / 100) * (1 + returned / 100) == pytest.approx(1)


@given(curves)
def test_a_curve_has_no_distance_from_itself(curve: list[tuple[float, float]]) -> None:
    assert bd_rate(curve, curve) == pytest.approx(0, abs=1e-9)
    assert bd_psnr(curve, curve[::-1]) == pytest.approx(0, abs=1e-9)


def test_none_without_overlap_or_points() -> None:
    better = [(rate, quality + 40) for rate, quality in CURVE]
    assert bd_rate(CURVE, better) is None
    assert bd_psnr(CURVE, better) == pytest.approx(40)
    dearer = [(rate * 1000, quality) for rate, quality in CURVE]
    assert bd_psnr(CURVE, dearer) is None
    assert bd_rate(CURVE, CURVE[:1]) is None
    assert bd_rate([], CURVE) is None


def test_points_without_gain_and_exact_copies_are_left_out() -> None:
    worse = [*CURVE, (3000.0, 29.0), (8000.0, 30.0), (9000.0, math.inf)]
    assert bd_rate(CURVE, worse) == pytest.approx(0)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="a rate of 0"):
        bd_rate([(0, 30), (1, 40)], CURVE)


def test_a_curve_is_cut_at_wide_gaps() -> None:
    assert stretch(CURVE[::-1]) == CURVE
    assert stretch([(1.0, 20.0), *CURVE, (9e4, 60.0)]) == CURVE
    assert stretch([(1.0, 20.0), (8.0, 25.0)]) == [(1.0, 20.0), (8.0, 25.0)]
    assert stretch([(1.0, 20.0), (9.0, 25.0)]) == [(1.0, 20.0)]
    assert stretch([(1.0, 20.0), (9.0, 25.0)], gap=10) == [(1.0, 20.0), (9.0, 25.0)]
    # A point without gain is no stone to step on.
    assert stretch([(1.0, 20.0), (5.0, 19.0), (25.0, 30.0), (26.0, 31.0)]) == [(25.0, 30.0), (26.0, 31.0)]
    assert stretch([(3.0, math.inf)]) == stretch([]) == []


@given(curves)
def test_no_gap_is_left_in_a_stretch(curve: list[tuple[float, float]]) -> None:
    kept = stretch(curve)
    assert set(kept) <= set(curve)
    assert all(b[0] / a[0] <= MAX_GAP * 1.0501 for a, b in itertools.pairwise(kept))
    assert kept
