"""Pearson and Manders coefficients of channels with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from microfield.analysis.colocalisation import Colocalisation, PairColocalisation, colocalise
from microfield.errors import InputError

RNG = np.random.default_rng(4)


def test_pearson_is_that_of_scipy() -> None:
    from scipy.stats import pearsonr

    a = RNG.normal(size=(4, 50, 60))
    b = 0.4 * a + RNG.normal(size=a.shape)
    assert colocalise(a, b).pearson == pytest.approx(pearsonr(a.ravel(), b.ravel()).statistic, abs=1e-6)


def test_manders_agrees_with_scikit_image_and_forgets_the_offset() -> None:
    from skimage.measure import manders_coloc_coeff

    a, b = np.zeros((60, 60)), np.zeros((60, 60))
    a[10:30, 10:30] = 100
    a[12:20, 12:20] = 150
    b[20:50, 15:40] = 40
    found = colocalise(a, b)
    assert found.m1 == pytest.approx(manders_coloc_coeff(a, b > 20), abs=1e-6)
    assert found.m2 == pytest.approx(manders_coloc_coeff(b, a > 50), abs=1e-6)
    shifted = colocalise(a + 32768.0, (b - 500.0) * 1e-4)
    assert shifted.m1 == pytest.approx(found.m1, abs=1e-6)
    assert shifted.m2 == pytest.approx(found.m2, abs=1e-6)


def test_extremes() -> None:
    a = np.zeros((20, 20), np.uint8)
    a[:5] = 200
    same = colocalise(a, a)
    assert [same.pearson, same.m1, same.m2] == pytest.approx([1, 1, 1])
    apart = colocalise(a, a[::-1])
    assert (apart.m1, apart.m2) == (0, 0)
    assert colocalise(a, np.full_like(a, 9)) == Colocalisation(None, 0.0, None)
    huge = a.astype(np.float64) * 1e300
    assert colocalise(huge, -huge).pearson == pytest.approx(-1)
    with pytest.raises(InputError, match="voxels"):
        colocalise(a, a[:5])


def test_changes() -> None:
    pair = PairColocalisation("A", "B", Colocalisation(0.5, 0.25, None), Colocalisation(0.75, 0.5, 0.1))
    assert (pair.pearson_change, pair.m1_change, pair.m2_change) == (0.25, 0.25, None)
