"""The refinement network by the kernel and by NumPy: the same corrections, with every set of instructions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from microfield.kernel import loading, refinement
from microfield.kernel.loading import Instructions
from microfield.methods.field.decoder import refinement_of
from microfield.methods.field.head import PINNED


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 11), st.integers(1, 70), st.integers(1, 150)),
       step=st.sampled_from([1.0, 0.37, 1e-20, 1e20]), dark=st.sampled_from([0.0, -3.3]), seed=st.integers(0, 99))
@example(shape=(1, 3, 9, 601), step=1.0, dark=0.0, seed=0)
@hypothesis_settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_corrections_are_those_of_numpy(instructions: Instructions, shape: tuple[int, ...], step: float, dark: float,
                                        seed: int) -> None:
    """Also beside what is not finite, or far too large."""
    rng = np.random.default_rng(seed)
    volume = (rng.normal(0, 3, shape) * rng.integers(0, 2, (*shape[:3], 1))).astype(np.float32)
    places = rng.random(shape)
    for value, below in ((np.nan, 0.001), (np.inf, 0.002), (-np.inf, 0.003), (1e30, 0.004)):
        volume[places < below] = value
        places[places < below] = 1
    network = refinement_of(PINNED[1])
    assert network.compiled is not None
    ours = network.correction(volume, step, dark)
    with loading.without():
        np.testing.assert_array_equal(ours, network.correction(volume, step, dark))


def test_a_slab_outside_its_volume_is_refused(instructions: Instructions) -> None:
    network, found = refinement_of(PINNED[1]), loading.library()
    assert found is not None
    assert network.compiled is not None
    volume = np.zeros((2, 5, 6), np.float32)
    for where, out in (((slice(0, 3), slice(0, 3), slice(0, 3)), volume), ((slice(0, 2), slice(0, 3), slice(0, 3)), volume[:1])):
        with pytest.raises(ValueError, match="slab"):
            refinement.correct(found, network.compiled, network.factors[-1], volume, where, 1.0, 0.0, out)
