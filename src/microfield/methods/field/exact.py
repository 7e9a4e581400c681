"""Networks in whole numbers: sums that float32 holds exactly, so that a BLAS may add them up in any order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.field.features import FEATURE_ONE

Floats = npt.NDArray[np.float32]

WEIGHT_SCALE = 128
"""A weight of 1.0 as a whole number: weights are multiples of 1/128."""
LARGEST_WEIGHT = 511
"""Largest absolute value of a weight, as a whole number."""
SUM_SCALE = WEIGHT_SCALE * FEATURE_ONE
"""A sum of 1.0 as a whole number: sums and biases are multiples of 1/4096."""
LARGEST_ACTIVATION = 255
"""Features and activations, as whole numbers, lie between 0 and this."""
EXACT = 1 << 24
"""Whole numbers below this are exact in float32."""


def checked(what: str, sums: tuple[float, ...]) -> None:
    """FormatError where bounds on the sums of ``what`` leave what float32 holds exactly."""
    if max(sums) >= EXACT:
        raise FormatError(f"{what} has sums that float32 does not hold exactly.")


def rectify(sums: Floats) -> Floats:
    """Sums to activations, in place: rounded to 1/32, cut to 0 ... `LARGEST_ACTIVATION`."""
    sums *= np.float32(1 / WEIGHT_SCALE)
    np.rint(sums, out=sums)
    np.maximum(sums, 0, out=sums)
    return np.minimum(sums, LARGEST_ACTIVATION, out=sums)


def whole_numbers(weights: Mapping[str, Floats]) -> dict[str, npt.NDArray[np.int32]]:
    """Integer arrays of a trained network, as `ContextNet.of` takes them.

    Parameters
    ----------
    weights : mapping
        Float arrays of shape (inputs, outputs): ``planes``, ``constants``, ``second``, ``third``; and the biases ``bias1``,
        ``bias2``, ``bias3`` of shape (outputs,). Likewise those of a network of signs.
    """
    out = {}
    for key, value in weights.items():
        if value.ndim == 1:
            out[key] = np.rint(value * SUM_SCALE).astype(np.int32)
        else:
            out[key] = np.clip(np.rint(value.T * WEIGHT_SCALE), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int16)
    return out
