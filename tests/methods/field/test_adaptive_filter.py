"""The filter fitted to a decoded channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.files import compressed
from helpers.images import pollen, smooth
from microfield.methods.field import filter_fit
from microfield.methods.field.adaptive_filter import KINDS, PAIRS, Filter, sorts, turned
from microfield.methods.field.filter_fit import Fit, chosen_filters, room
from microfield.methods.field.lifting import Floats
from microfield.methods.field.taps import places
from microfield.writing.budget import Budget


def softened() -> tuple[Floats, Floats]:
    """A stack of the pollen, and the same after a blur along the diagonal of its planes."""
    wanted = np.asarray(pollen().read(), np.float32)[None] / np.float32(65535)
    return (np.roll(wanted, (1, 1), (2, 3)) + wanted * 2 + np.roll(wanted, (-1, -1), (2, 3))) / np.float32(4), wanted


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_filter_takes_away_what_its_fit_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, wanted = softened()
    monkeypatch.setattr(filter_fit, "SAMPLE", wanted.size)
    found, removed = Fit(soft, wanted, None, 0.01).best(number)
    before = float(((wanted - soft).astype(float) ** 2).sum())
    after = float(((wanted - soft - found.correction(soft, 0.01)).astype(float) ** 2).sum())
    assert after < 0.6 * before
    assert before - after == pytest.approx(removed, rel=1e-3)


def test_more_classes_take_away_more_and_no_room_is_no_filter() -> None:
    soft, wanted = softened()
    fit = Fit(soft, wanted, None, 0.01)
    gains = [fit.best(number)[1] for number in (1, 2, 3)]
    assert gains[0] < gains[1] < gains[2]
    assert chosen_filters([fit, None], [0, 0], 5000, soft.shape) == (Filter(), Filter())
    assert chosen_filters([fit], [3], 10**9, soft.shape)[0].number == 3
    assert room(999, 1, soft.shape) == 0
    assert room(10**6, 1, soft.shape) == 3
    assert room(10**6, 1, (1, 1, 9, 9)) == 0


def test_weights_say_which_voxels_count() -> None:
    soft, wanted = softened()
    wanted = wanted.copy()
    wanted[..., 20:] = soft[..., 20:]  # Nothing is lacking on the right.
    weights = np.zeros_like(wanted)
    weights[..., :20] = 1
    error = [float((((wanted - soft - Fit(soft, wanted, w, 0.01).best(1)[0].correction(soft, 0.01)) ** 2)[..., :20]).sum())
             for w in (None, weights)]
    assert error[1] < 0.9 * error[0]


@pytest.mark.parametrize("direction", [1, 2, 3, 4])
def test_directions_are_those_of_the_variation(direction: int) -> None:
    y, x = np.mgrid[:24, :24]
    waves = [np.cos(np.pi * x) * np.cos(np.pi * y / 2), np.cos(np.pi * y) * np.cos(np.pi * x / 2),
             (x + y) // 2 % 2, (x - y) // 2 % 2]
    volume = waves[direction - 1].astype(np.float32)[None, None]
    (place,) = places(volume.shape)
    assert (sorts(volume, place, 0.1)[6:-6, 6:-6] == 2 * direction + 1).all()
    assert (sorts(volume, place, 100.0)[6:-6, 6:-6] == 2 * direction).all()
    assert (sorts(np.zeros((1, 1, 9, 9), np.float32), place._replace(rows=slice(0, 9)), 1.0) == 0).all()


@given(direction=st.integers(0, 4), pairs=st.sampled_from([6, 12, 20]))
def test_turning_twice_changes_nothing(direction: int, pairs: int) -> None:
    order = turned(direction, pairs)
    assert [order[k] for k in order] == list(range(pairs))
    assert all(abs(PAIRS[k][0]) + abs(PAIRS[k][1]) == abs(dy) + abs(dx) for k, (dy, dx) in zip(order, PAIRS, strict=False))


@given(number=st.integers(1, 3), seed=st.integers(0, 99))
def test_constant_places_stay_as_they_are(number: int, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), (2, 3, 11, 12)
    kind = KINDS[number - 1]
    codes = tuple(tuple(rng.integers(-127, 128, kind.weights(shape)).tolist()) for _ in range(kind.classes))
    one = Filter(number, (7,) * kind.classes, codes)
    assert not one.correction(np.full(shape, 0.4, np.float32), 0.1).any()
    assert np.isfinite(one.correction(rng.random(shape, np.float32), 0.1)).all()


def test_a_sharp_image_is_closer_in_as_many_bytes() -> None:
    budget = Budget("max_bytes", 4000)
    with_filter, report = compressed(smooth(), "field", budget)
    without = compressed(smooth(), "field", budget, options={"refine": False})[1]
    assert len(with_filter) <= 4000
    assert report.psnr is not None
    assert without.psnr is not None
    assert report.psnr > without.psnr + 0.3
