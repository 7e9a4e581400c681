"""The quantiser: what a coefficient becomes, by squared error and by the bits the context network says it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import COSTS
from microfield.methods.field.lifting import Floats
from microfield.methods.field.walk import TYPICAL, Ints

Buckets = npt.NDArray[np.uint8]


def choose(scaled: Floats, zero: Buckets, one: Buckets, tail: Buckets, rdo: float) -> npt.NDArray[np.int32]:
    """Magnitudes that minimise squared error + ``rdo`` x bits, of 0, the nearest whole number and the one below.

    Parameters
    ----------
    scaled : float32 array (n,)
        Magnitudes in steps, at least 0.5.
    zero, one, tail : uint8 arrays (n,)
        Buckets of the three decisions.
    rdo : float
        Lagrangian multiplier in squared steps per bit; theory for high rates gives ln(4)/12 (G. Sullivan, "Efficient scalar
        quantization of exponential and Laplacian random variables", IEEE Trans. Inf. Theory 42, 1996).
    """
    nearest = np.floor(scaled + np.float32(0.5)).astype(np.int32)
    found: npt.NDArray[np.int32] = np.zeros(nearest.shape, np.int32)
    least = scaled**2 + np.float32(rdo) * COSTS[zero, 0]
    for candidate in (nearest - 1, nearest):
        values = np.where(candidate < 4, TYPICAL[np.clip(candidate, 0, 3)], candidate.astype(np.float32))
        bits = 1 + COSTS[zero, 1] + np.where(
            candidate > 1, COSTS[one, 1] + COSTS[tail, 1] + (candidate - 2) * COSTS[tail, 0], COSTS[one, 0])
        cost = (scaled - values) ** 2 + np.float32(rdo) * bits
        better = (cost < least) & (candidate > 0)
        found[better], least[better] = candidate[better], cost[better]
    return np.asarray(found, np.int32)


def measure_centroids(quantised: Sequence[Ints], coefficients: Sequence[Floats], step: float) -> npt.NDArray[np.uint8]:
    """Mean magnitude of what became 1, 2 and 3, in steps, as three bytes: see `centroids`."""
    codes = np.full(3, 128, np.uint8)
    for magnitude in (1, 2, 3):
        total, count = 0.0, 0
        for q, values in zip(quantised, coefficients, strict=True):
            where = np.abs(q) == magnitude
            total += float(np.abs(values[where]).sum(dtype=np.float64))
            count += int(where.sum())
        mean = total / step / count if count else float(TYPICAL[magnitude])
        codes[magnitude - 1] = np.clip(round((mean - magnitude) * 256) + 128, 0, 255)
    return codes


def centroids(codes: npt.NDArray[np.uint8]) -> Floats:
    """Values of magnitudes 0 to 3 in steps: magnitude + (code - 128) / 256."""
    return np.concatenate([[0], np.arange(1, 4) + (codes.astype(np.float32) - 128) / 256]).astype(np.float32)
