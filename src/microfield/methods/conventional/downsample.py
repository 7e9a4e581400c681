"""downsample: average-pool, keep 8 bits, interpolate. The trivial baseline that every codec has to beat."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from microfield.errors import FormatError
from microfield.methods.base import Usable
from microfield.methods.conventional.base import Arrangement, ConventionalMethod
from microfield.methods.conventional.sheets import Floats

LEVELS = 255
"""The code of a cell whose mean is 1; codes are 8-bit."""

LARGEST_SIDE = 2**13
"""No cell has a longer side, in voxels; the knob ends at 2**12."""


class Downsample(ConventionalMethod):
    """Means of cells of equal side along frames, Y and X; the knob is the base-2 logarithm of their side in voxels."""

    name: ClassVar[str] = "downsample"
    summary: ClassVar[str] = "average-pool and interpolate: the trivial baseline"
    coarse: ClassVar[float] = 12.0
    fine: ClassVar[float] = 0.0
    step: ClassVar[float] = 0.002
    accepts: ClassVar[frozenset[Usable]] = frozenset()  # One size of cells serves all channels.
    requires: ClassVar[Mapping[str, str]] = {}

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Four bytes for the side of the cells as a float32, then the cells' means as a zlib stream of 8-bit codes."""
        del arrangement, effort
        side = np.float32(2**knob)
        for axis in (1, 2, 3):
            sheets = pool(sheets, axis, cells(sheets.shape[axis], float(side)))
        codes = np.clip(np.rint(sheets * LEVELS), 0, LEVELS).astype(np.uint8)
        # Differences along X compress better than the codes. They are taken modulo 256, so that each stays one byte.
        codes[..., 1:] = codes[..., 1:] - codes[..., :-1]
        return bytes(side.astype("<f4").tobytes()) + zlib.compress(codes.tobytes(), 9)

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Unpack the cells and interpolate linearly between their middles.

        Raises
        ------
        FormatError
            The side is out of range, or the cells are not as many as it says.
        """
        del arrangement
        side = float(np.frombuffer(data[:4], "<f4")[0])
        if not 1 <= side <= LARGEST_SIDE:
            raise FormatError(f"cells of side {side:g} are not possible.")
        small = (shape[0], *(cells(n, side) for n in shape[1:]))
        stream = zlib.decompressobj()
        # At most one byte more than fits, however much a damaged stream would unpack to.
        raw = stream.decompress(data[4:], math.prod(small) + 1)
        if len(raw) != math.prod(small) or not stream.eof or stream.unused_data:
            raise FormatError("the cells of a part are not as many as they should be.")
        codes = np.cumsum(np.frombuffer(raw, np.uint8).reshape(small), axis=3, dtype=np.uint8)
        sheets = codes.astype(np.float32) / np.float32(LEVELS)
        for axis in (3, 2, 1):
            sheets = interpolate(sheets, axis, shape[axis])
        return sheets


def cells(n: int, side: float) -> int:
    """Number of cells of about this side along an axis of ``n`` voxels, at least 1."""
    return max(1, round(n / side))


def pool(values: Floats, axis: int, m: int) -> Floats:
    """Means over ``m`` cells of equal size along an axis; a voxel that two cells share counts in each by its part there."""
    n = values.shape[axis]
    front = np.moveaxis(values, axis, 0)
    sums = np.concatenate([np.zeros((1, *front.shape[1:])), np.cumsum(front, axis=0, dtype=np.float64)])
    edges = np.arange(m + 1) * (n / m)
    below = np.minimum(edges.astype(int), n - 1)
    share = (edges - below).reshape(-1, *(1,) * (front.ndim - 1))
    upto = sums[below] * (1 - share) + sums[below + 1] * share
    return np.asarray(np.moveaxis(np.diff(upto, axis=0) * (m / n), 0, axis), np.float32)


def interpolate(values: Floats, axis: int, n: int) -> Floats:
    """Linear interpolation along an axis to ``n`` voxels between the middles of the cells; constant beyond the outer middles."""
    m = values.shape[axis]
    position = np.clip((np.arange(n) + 0.5) * (m / n) - 0.5, 0, m - 1)
    below = np.minimum(position.astype(int), max(m - 2, 0))
    shape = [1] * values.ndim
    shape[axis] = n
    weight = (position - below).astype(np.float32).reshape(shape)
    return np.asarray(values.take(below, axis) * (1 - weight) + values.take(np.minimum(below + 1, m - 1), axis) * weight)
