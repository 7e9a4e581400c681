"""The adaptive filter by the kernel and by NumPy: the same corrections, with every set of instructions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from microfield.kernel import filtering, loading
from microfield.kernel.filtering import Taps
from microfield.kernel.loading import Instructions
from microfield.methods.field.adaptive_filter import KINDS, Filter


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 40), st.integers(1, 70)),
       number=st.integers(1, len(KINDS)), step=st.sampled_from([1.0, 0.37, 1e-20, 1e20]), seed=st.integers(0, 99))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_corrections_are_those_of_numpy(instructions: Instructions, shape: tuple[int, ...], number: int, step: float, seed: int,
                                        ) -> None:
    """Also beside what is not finite, or far too large."""
    rng = np.random.default_rng(seed)
    volume = (rng.normal(0, 3, shape) * rng.integers(0, 2, (*shape[:3], 1))).astype(np.float32)
    places = rng.random(shape)
    for value, below in ((np.nan, 0.001), (np.inf, 0.002), (-np.inf, 0.003), (3e38, 0.005)):
        volume[places < below] = value
        places[places < below] = 1
    kind = KINDS[number - 1]
    codes = tuple(tuple(rng.integers(-127, 128, kind.weights(shape)).tolist()) for _ in range(kind.classes))
    one = Filter(number, tuple(rng.integers(0, 12, kind.classes).tolist()), codes)
    ours = one.correction(volume, step)
    with loading.without():
        np.testing.assert_array_equal(ours, one.correction(volume, step))


def test_rows_without_their_border_are_refused() -> None:
    found = loading.library()
    if found is None:
        pytest.skip("there is no kernel")
    taps = Taps(np.array([[0, 1]], np.int32), 0, False, np.zeros((1, 10), np.float32), 1.0, 1.0)
    small, good = np.zeros((8, 12), np.float32), np.zeros((9, 12), np.float32)
    for padded, along in ((small, ()), (good, (np.zeros((1, 4), np.float32),) * 2), (good, (np.zeros((1, 3), np.float32),) * 2)):
        with pytest.raises(ValueError, match="border"):
            filtering.filtered(found, taps, padded, along)
