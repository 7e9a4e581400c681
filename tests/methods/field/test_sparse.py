"""What an attempt keeps of its coefficients: little of a small file, and exactly what was coded."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import Context
from microfield.methods.field.attempt import Attempt
from microfield.methods.field.sparse import DENSE, Sparse


@pytest.mark.parametrize("share", [0.0, 0.02, DENSE - 0.05, DENSE + 0.05, 1.0])
def test_arrays_come_back(share: float) -> None:
    rng = np.random.default_rng(3)
    array = np.where(rng.random((7, 20, 30)) < share, rng.normal(size=(7, 20, 30)), 0).astype(np.float32)
    found = Sparse.of(array)
    np.testing.assert_array_equal(found.full(), array)
    assert (found.where is None) == (share > DENSE)


def test_the_state_of_a_small_file_takes_less_than_the_image() -> None:
    values = scaled(blobs((96, 80)), 20, 200, np.uint16)
    context = Context(np.array([180.0]), np.ones(1), effort=0, measure=False)
    encoded = get_method("field")().encode(values, Layout(values.shape, "YX", values.dtype), 300.0, context)
    assert isinstance(encoded.state, Attempt)
    kept = sum(one.values.nbytes + (0 if one.where is None else one.where.nbytes) for one in encoded.state.values)
    assert 0 < kept < values.nbytes / 2
