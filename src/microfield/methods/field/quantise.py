"""The quantiser: what a coefficient becomes, by squared error and by the bits that the context network says it takes.

Rate-distortion optimised quantisation with a uniform reconstruction grid: values are whole numbers of quantiser steps, and
values around 0 become 0 (the dead zone) where that saves more bits than it costs error.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import COSTS
from microfield.kernel import loading, wavelet
from microfield.methods.field.lifting import Floats
from microfield.methods.field.symbols import Buckets
from microfield.methods.field.walk import TYPICAL_VALUES, Ints

Codes = npt.NDArray[np.uint8]
"""Bytes that a file holds of centroids, uint8 of shape (3,)."""
CENTROIDS = 3
"""Magnitudes from 1 on that are reconstructed at their mean."""
_CENTROID_SCALE, _CENTROID_ZERO = 256, 128
"""A centroid is stored as a byte: 256 times its distance from its magnitude, plus 128."""
_SIGN_BITS = 1


@dataclass(frozen=True)
class Worth:
    """What errors and bits count when coefficients are rounded.

    Attributes
    ----------
    rdo : float
        Squared steps of error that a bit is worth.
    weights : sequence of float32 arrays, optional
        Weight of every coefficient's squared error, one array per group, of its shape; all 1 without it.
    """

    rdo: float = 0.1
    weights: Sequence[Floats] | None = None

    def quantisers(self, steps: Sequence[float]) -> list[Quantiser]:
        """A quantiser for every group, given their steps."""
        weights = self.weights or itertools.repeat(None, len(steps))
        return [Quantiser(step, self.rdo, w) for step, w in zip(steps, weights, strict=True)]


PLAIN = Worth()
"""As by default."""


@dataclass(frozen=True)
class Quantiser:
    """How coefficients are rounded.

    Attributes
    ----------
    step : float
        Quantiser step, above 0.
    rdo : float
        Lagrangian multiplier: squared steps of error that a bit is worth. Theory for high rates gives ln(4)/12 (G. Sullivan,
        "Efficient scalar quantization of exponential and Laplacian random variables", IEEE Trans. Inf. Theory 42, 1996).
    weights : float32 array, optional
        Weight of every coefficient's squared error, of the shape of the group; all 1 without it.
    """

    step: float
    rdo: float
    weights: Floats | None = None

    @property
    def inverse_step(self) -> np.float32:
        """The factor from coefficients to steps."""
        return np.float32(1 / self.step)


def quantise(scaled: Floats, buckets: Buckets, rdo: float, weights: Floats | None = None) -> Ints:
    """Magnitudes (n,) that minimise squared error + ``rdo`` x bits, of 0, the nearest whole number and the one below.

    With weights, squared errors count times their weight, and 1 and what lies below because the error is cheap are tried, too.

    Parameters
    ----------
    scaled : float32 array (n,)
        Magnitudes in steps, at least 0.5.
    buckets : Buckets
        Of the n coefficients.
    rdo : float
        As in `Quantiser`.
    weights : float32 array (n,), optional
        Above 0.
    """
    library = loading.library()
    if library is not None and weights is None:
        return wavelet.quantise(library, scaled, buckets, COSTS, TYPICAL_VALUES, rdo)
    nearest = np.floor(scaled + np.float32(0.5)).astype(np.int32)
    found: Ints = np.zeros(nearest.shape, np.int32)
    if not len(scaled):
        return found
    weight = np.float32(1) if weights is None else weights
    least = weight * scaled**2 + np.float32(rdo) * COSTS[buckets.significance, 0]
    # Looked up once, for all candidates.
    significant, one = _SIGN_BITS + COSTS[buckets.significance, 1], COSTS[buckets.above_one, 0]
    more, longer = COSTS[buckets.above_one, 1] + COSTS[buckets.tail, 1], COSTS[buckets.tail, 0]
    for candidate in (*(() if weights is None else _lower(nearest, buckets, rdo / weights)), nearest - 1, nearest):
        typical = TYPICAL_VALUES[np.minimum(np.maximum(candidate, 0), CENTROIDS)]
        values = np.where(candidate <= CENTROIDS, typical, candidate.astype(np.float32))
        bits = significant + np.where(candidate > 1, more + (candidate - 2) * longer, one)
        cost = weight * (scaled - values) ** 2 + np.float32(rdo) * bits
        better = (cost < least) & (candidate > 0)
        found[better], least[better] = candidate[better], cost[better]
    return found


def _lower(nearest: Ints, buckets: Buckets, rdo: Floats) -> tuple[Ints, Ints]:
    """Magnitudes far below the nearest (n,) to try where ``rdo`` (n,) is large: 1, and where the bits of the tail pay."""
    spared = np.rint(rdo * COSTS[buckets.tail, 0] / 2).astype(np.int32)
    return np.minimum(nearest, 1), np.minimum(nearest, np.maximum(nearest - spared, 2))


def measure_centroids(quantised: Sequence[Ints], coefficients: Sequence[Floats], step: float,
                      weights: Sequence[Floats] | None = None) -> Codes:
    """Mean magnitude, in steps, of the coefficients that became 1, 2 and 3: codes of `centroids`, uint8 of shape (3,).

    With ``weights`` of the coefficients it is the weighted mean.
    """
    codes = np.full(CENTROIDS, _CENTROID_ZERO, np.uint8)
    for magnitude in range(1, CENTROIDS + 1):
        total = count = 0.0
        for q, values, weight in zip(quantised, coefficients, weights or itertools.repeat(None, len(quantised)), strict=True):
            where = np.abs(q) == magnitude
            found, share = np.abs(values[where]), None if weight is None else weight[where]
            total += float((found if share is None else found * share).sum(dtype=np.float64))
            count += int(where.sum()) if share is None else float(share.sum(dtype=np.float64))
        mean = total / step / count if count else float(TYPICAL_VALUES[magnitude])
        codes[magnitude - 1] = np.clip(round((mean - magnitude) * _CENTROID_SCALE) + _CENTROID_ZERO, 0, 255)
    return codes


def centroids(codes: Codes) -> Floats:
    """Values of magnitudes 0 to 3 in steps, float32 of shape (4,), from the three bytes that a file holds."""
    offsets = (codes.astype(np.float32) - _CENTROID_ZERO) / _CENTROID_SCALE
    return np.concatenate([[0], np.arange(1, CENTROIDS + 1) + offsets]).astype(np.float32)


def usual_codes() -> Codes:
    """Codes of `TYPICAL_VALUES`."""
    offsets = TYPICAL_VALUES[1:] - np.arange(1, CENTROIDS + 1)
    codes: Codes = np.rint(offsets * _CENTROID_SCALE + _CENTROID_ZERO).astype(np.uint8)
    return codes
