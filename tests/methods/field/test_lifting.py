"""The 9/7 lifting wavelet: inverse, orthonormality, polynomials, and where the bands lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.methods.field.lifting import Schedule, forward, gain, inverse, parse


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    axes = st.lists(st.integers(0, len(shape) - 1), unique=True).map(tuple)
    return Schedule(tuple(draw(st.lists(axes, max_size=5))), shape)


@given(schedules(), st.integers(0, 9))
def test_the_inverse_gives_the_values_back(schedule: Schedule, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 1000, schedule.shape).astype(np.float32)
    back = inverse(forward(values, schedule), schedule)
    assert back.shape == values.shape
    np.testing.assert_allclose(back, values, atol=0.01)


@given(schedules())
def test_every_coefficient_belongs_to_one_band(schedule: Schedule) -> None:
    seen = np.zeros(schedule.shape, int)
    seen[tuple(slice(0, n) for n in schedule.extents[-1])] += 1
    for level in range(len(schedule.levels)):
        for details, box in schedule.bands(level):
            assert set(details) <= set(schedule.levels[level])
            seen[box] += 1
    assert (seen == 1).all()


def test_the_transform_is_nearly_orthonormal() -> None:
    schedule = Schedule(((0,),) * 4, (128,))
    basis = np.stack([inverse(unit, schedule) for unit in np.eye(128, dtype=np.float32)])
    norms = np.linalg.norm(basis, axis=1)
    assert 0.7 < norms.min() < norms.max() < 1.4
    inner = [k for k in range(128) if 0.05 * 128 < np.argmax(np.abs(basis[k])) < 0.95 * 128]
    assert 0.9 < norms[inner].min() < norms[inner].max() < 1.1


def test_smooth_signals_have_no_details() -> None:
    """The 9/7 analysis filters have four vanishing moments: cubics leave nothing inside."""
    x = (np.arange(64) - 32) / 8
    schedule = Schedule(((0,),), (64,))
    for power in range(4):
        details = forward(x**power, schedule)[schedule.box(0, (0,))]
        np.testing.assert_allclose(details[3:-3], 0, atol=1e-4)
    assert np.abs(forward(x**4, schedule)[schedule.box(0, (0,))][3:-3]).max() > 1e-3


def test_a_coarse_level_is_the_picture_in_its_gain() -> None:
    smooth = np.add.outer(np.sin(np.arange(64) / 20), np.cos(np.arange(48) / 15)).astype(np.float32)
    schedule = Schedule(parse("yx yx x", "yx"), smooth.shape)
    coarse = inverse(forward(smooth, schedule), schedule, levels=2) / gain(schedule, 2)
    np.testing.assert_allclose(coarse[1:-1, 1:-1], smooth[::4, ::4][1:-1, 1:-1], atol=0.02)
    assert coarse.shape == schedule.extents[2] == (16, 12)


def test_axes_of_extent_one_are_left_alone() -> None:
    schedule = Schedule(parse("zyx zyx", "zyx"), (1, 9, 8))
    assert schedule.split(0) == (1, 2)
    assert gain(schedule, 2) == pytest.approx(4)
    assert parse("yx zyx", "tyx") == ((1, 2), (1, 2))
