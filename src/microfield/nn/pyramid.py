"""Latent grids: a pyramid of coarse arrays, interpolated to features that a network sees beside the coordinates of a voxel.

After COOL-CHIC (Ladune et al. 2023) and C3 (Kim et al. 2024), but with cubic B-splines in the place of learned upsampling, so that
the features of a voxel follow from the few latents around it. Along an axis a level has a latent for every 2^e voxels, and the next
coarser level for every 2^(e + 1). All sums are of integers that a double holds exactly, in any order: every selection and every
machine gets the same features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Latents = Sequence[npt.NDArray[Any]]
"""Levels of shape (features, latents along every axis), the finest first; whole numbers, of float64 where speed matters."""

WEIGHT_ONE = 256
"""Weights of an interpolation along an axis are integers of this sum."""

TAPS = 4
"""Latents along an axis that a voxel sees."""

FEATURE_STEP = 2.0**-12
"""Features are multiples of this."""

MOST_LEVELS, MOST_FEATURES, FINEST = 15, 16, (-16, 15)
"""Limits of a pyramid: levels, features of a level, and exponents of the finest level."""


@dataclass(frozen=True)
class Pyramid:
    """Where the latents of a pyramid lie.

    Parameters
    ----------
    extents : tuple of int
        Voxels along the coordinate axes of the network.
    finest : tuple of int
        Exponent of every axis at level 0; those of level l are larger by l. The finest step is one voxel, also where an exponent is
        negative, and a single latent covers an axis where 2^e reaches its extent.
    levels, features : int
        Number of levels, and of features of each.
    """

    extents: tuple[int, ...]
    finest: tuple[int, ...]
    levels: int
    features: int

    def exponent(self, level: int, axis: int) -> int:
        """Base-2 logarithm of the voxels of a latent along an axis."""
        return max(0, min(self.finest[axis] + level, (self.extents[axis] - 1).bit_length()))

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the levels."""
        return [(self.features, *(-(-n >> self.exponent(level, axis)) for axis, n in enumerate(self.extents)))
                for level in range(self.levels)]

    @property
    def n_latents(self) -> int:
        """Latents of all levels."""
        return sum(map(math.prod, self.shapes))

    @property
    def n_features(self) -> int:
        """Features of a voxel: those of the finest level first."""
        return self.levels * self.features

    def matrix(self, level: int, axis: int) -> Float32:
        """The interpolation along an axis as a matrix (voxels, latents)."""
        index, weights = self._taps(level, axis, np.arange(self.extents[axis]))
        out = np.zeros((self.extents[axis], self.shapes[level][1 + axis]), np.float32)
        np.add.at(out, (np.arange(len(out))[:, None], index), weights / WEIGHT_ONE)
        return out

    def values(self, latents: Latents, index: Sequence[npt.NDArray[np.intp]]) -> Float32:
        """Features of points: float32 of shape (features of a voxel, points).

        ``index`` holds the positions of the points along every axis.
        """
        out = np.empty((self.n_features, len(index[0])), np.float32)
        one = float(WEIGHT_ONE) ** len(self.extents)
        for level, grids in enumerate(latents):
            taps = [self._taps(level, axis, at) for axis, at in enumerate(index)]
            for number, grid in enumerate(grids):
                exact = _interpolated(grid, taps) / one
                out[level * self.features + number] = np.rint(exact / FEATURE_STEP) * FEATURE_STEP
        return out

    def _taps(self, level: int, axis: int, at: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], Float64]:
        """Positions and weights of the latents that voxels at these positions see: two arrays (voxels, `TAPS`)."""
        exponent = self.exponent(level, axis)
        # Latent k lies at (k + 1/2) 2^e - 1/2. Positions in halves of a voxel from latent 0.
        halves = 2 * at + 1 - (1 << exponent)
        whole, part = halves >> (exponent + 1), halves & ((2 << exponent) - 1)
        last = self.shapes[level][1 + axis] - 1
        return np.clip(whole[:, None] + np.arange(-1, TAPS - 1), 0, last), _spline(exponent)[part]


@lru_cache(maxsize=64)
def _spline(exponent: int) -> Float64:
    """Weights of the four latents around a voxel, by the halves of a voxel that it lies behind the second one.

    Cubic B-splines, rounded to integers of the sum `WEIGHT_ONE`; what rounding leaves goes to the nearest latent. Where every voxel
    has its latent it sees only that one.
    """
    if not exponent:
        return np.tile(np.array([0.0, WEIGHT_ONE, 0.0, 0.0]), (2, 1))
    span = 2 << exponent
    j = np.arange(span, dtype=object)  # Python integers: cubes of large spans leave 64 bits.
    cubic = [(span - j) ** 3, 4 * span**3 - 6 * span * j**2 + 3 * j**3,
             span**3 + 3 * span**2 * j + 3 * span * j**2 - 3 * j**3, j**3]
    whole = 6 * span**3
    weights = np.asarray([(2 * WEIGHT_ONE * c + whole) // (2 * whole) for c in cubic], np.float64).T
    nearest = np.where(np.arange(span) < span // 2, 1, 2)
    weights[np.arange(span), nearest] += WEIGHT_ONE - weights.sum(1)
    return weights


def _interpolated(grid: npt.NDArray[Any], taps: list[tuple[npt.NDArray[np.intp], Float64]]) -> Float64:
    """Sums of weights times latents at points, exact; ``taps`` holds positions and weights of every axis."""
    lead, (columns, last) = taps[:-1], taps[-1]
    flat = np.asarray(grid, np.float64).reshape(-1, grid.shape[-1])
    if not lead:
        return np.asarray((flat[0][columns] * last).sum(1))
    # Points of a box follow one another along its last axis: what its other axes give is the same for all of a run.
    moved = np.any([np.any(np.diff(index, axis=0), axis=1) | np.any(np.diff(w, axis=0), axis=1) for index, w in lead], axis=0)
    first = np.concatenate([[0], np.flatnonzero(moved) + 1]).astype(np.intp)
    rows, weights = np.zeros((len(first), 1), np.intp), np.ones((len(first), 1))
    for (index, w), extent in zip(lead, grid.shape, strict=False):
        rows = (rows[:, :, None] * extent + index[first][:, None, :]).reshape(len(first), -1)
        weights = (weights[:, :, None] * w[first][:, None, :]).reshape(len(first), -1)
    run = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(columns))))
    if len(first) * grid.shape[-1] <= TAPS * len(columns):
        lines = np.matmul(weights[:, None, :], flat[rows])[:, 0]
        seen = lines[run[:, None], columns]
    else:
        seen = np.matmul(weights[run][:, None, :], flat[rows[run][:, :, None], columns[:, None, :]])[:, 0]
    return np.asarray((seen * last).sum(1))
