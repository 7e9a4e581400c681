"""The coarsest approximation: few values, whose prediction residuals are stored in Rice codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.field.lifting import Schedule
from microfield.methods.field.walk import Ints

LARGEST_APPROXIMATION = 1 << 28
"""Values beyond this are not coded. At the finest step an approximation of n levels along y and x reaches 2**(16 + n)."""


def coarsest_box(schedule: Schedule) -> tuple[slice, ...]:
    """Where the approximation after the last level lies among the coefficients."""
    return tuple(slice(0, n) for n in schedule.extents[-1])


def residuals(values: Ints) -> list[int]:
    """Prediction residuals of an approximation (batch, z, y, x), in raster order.

    A value is predicted by the mean, rounded down, of its neighbours just before it along z, y and x, as far as these exist;
    by 0 where none does.
    """
    padded = np.pad(values.astype(np.int64), [(0, 0)] + [(1, 0)] * 3)
    total = padded[:, 1:, 1:, :-1] + padded[:, 1:, :-1, 1:] + padded[:, :-1, 1:, 1:]
    left: list[int] = (values - total // _neighbours(values.shape)).reshape(-1).tolist()
    return left


def from_residuals(residuals: Sequence[int], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Inverse of `residuals`: the approximation of this shape.

    Raises
    ------
    FormatError
        If a value exceeds `LARGEST_APPROXIMATION`.
    """
    padded = np.zeros((shape[0], *(n + 1 for n in shape[1:])), np.int64)
    known = _neighbours(shape)
    for residual, (b, z, y, x) in zip(residuals, np.ndindex(*shape), strict=True):
        total = int(padded[b, z + 1, y + 1, x]) + int(padded[b, z + 1, y, x + 1]) + int(padded[b, z, y + 1, x + 1])
        value = residual + total // int(known[0, z, y, x])
        if abs(value) > LARGEST_APPROXIMATION:
            raise FormatError("A part holds a value beyond all bounds: it is damaged.")
        padded[b, z + 1, y + 1, x + 1] = value
    return padded[:, 1:, 1:, 1:]


def _neighbours(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """How many of the three neighbours before each value exist, or 1 where none does: int64 of shape (1, z, y, x)."""
    z, y, x = (np.arange(n) > 0 for n in shape[1:])
    count = z[:, None, None].astype(np.int64) + y[None, :, None] + x[None, None, :]
    return np.asarray(np.maximum(count, 1))[None]
