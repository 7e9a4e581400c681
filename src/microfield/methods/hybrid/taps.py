"""The adaptive filter of the residual stage: how far a voxel lies from its neighbours, and least squares over such differences.

A Wiener filter fitted to one image, as the adaptive loop filter of VVC (M. Karczewicz et al., "VVC in-loop filters", IEEE
Transactions on Circuits and Systems for Video Technology 31, 2021, section IV), here with point symmetry and along z, too. Every
feature is the sum of two neighbours at opposite sides less twice the voxel, so that a filter leaves constant places alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.methods.hybrid.volumes import Doubles, Floats

PLANE_SETS: tuple[tuple[tuple[int, int], ...], ...] = (
    (),
    ((0, 1), (1, -1), (1, 0), (1, 1)),
    ((0, 1), (1, -1), (1, 0), (1, 1), (0, 2), (1, -2), (1, 2), (2, -1), (2, 0), (2, 1), (0, 3), (3, 0)),
)
"""Sets of neighbours (y, x) in the plane, one of each pair; a file names the set by its index. The largest is a diamond of 7 x 7
pixels."""
REACH = 3
"""Farthest neighbour in the plane; beyond the borders the edge is repeated."""
RIDGE = 1e-7
"""Added to the diagonal of normal equations whose features have unit length."""
STRIP = 1 << 16
"""Voxels whose features are computed at once, about."""


class Place(NamedTuple):
    """Some rows of one plane of a volume (batch, z, y, x)."""

    batch: int
    plane: int
    rows: slice


def neighbours(shape: tuple[int, ...], which: int) -> int:
    """Number of features of a set in a volume: one more along z and along the batch, where these axes are longer than 1."""
    return len(PLANE_SETS[which]) + sum(n > 1 for n in shape[:2]) if which else 0


def places(shape: tuple[int, ...]) -> Iterator[Place]:
    """All of a volume, strip after strip."""
    rows = max(1, STRIP // shape[3])
    for batch in range(shape[0]):
        for plane in range(shape[1]):
            for start in range(0, shape[2], rows):
                yield Place(batch, plane, slice(start, min(start + rows, shape[2])))


def features(volume: Floats, place: Place, which: int) -> Floats:
    """Features at a place: float32 of shape (neighbours, rows, x), first those of the set, then along z, then along the batch."""
    batch, plane, rows = place
    n = rows.stop - rows.start
    width = volume.shape[3]
    across = np.clip(np.arange(rows.start - REACH, rows.stop + REACH), 0, volume.shape[2] - 1)
    padded = np.pad(volume[batch, plane, across], ((0, 0), (REACH, REACH)), mode="edge")
    centre = volume[batch, plane, rows] * np.float32(2)
    out = np.empty((neighbours(volume.shape, which), n, width), np.float32)
    for k, (dy, dx) in enumerate(PLANE_SETS[which]):
        after = padded[REACH + dy : REACH + dy + n, REACH + dx : REACH + dx + width]
        before = padded[REACH - dy : REACH - dy + n, REACH - dx : REACH - dx + width]
        np.add(before, after, out=out[k])
    k = len(PLANE_SETS[which])
    for axis, at in enumerate((batch, plane)[::-1]):
        stack = volume[batch, :, rows] if axis == 0 else volume[:, plane, rows]
        last = len(stack) - 1
        if last:
            np.add(stack[max(0, at - 1)], stack[min(last, at + 1)], out=out[k])
            k += 1
    out -= centre
    return out


class Normal:
    """Normal equations of features against what is lacking, summed in double precision.

    Attributes
    ----------
    products : float64 array of shape (features, features)
    along : float64 array of shape (features,)
        Products of the features with what is lacking.
    energy : float
        Squared sum of what is lacking.
    voxels : int
        How many there were.
    """

    def __init__(self, n: int) -> None:
        self.products, self.along = np.zeros((n, n)), np.zeros(n)
        self.energy, self.voxels = 0.0, 0

    def add(self, rows: npt.NDArray[np.floating], lacking: npt.NDArray[np.floating]) -> None:
        """Learn some voxels: features of shape (features, voxels), and what is lacking there."""
        wide, wanted = rows.astype(np.float64), lacking.reshape(-1).astype(np.float64)
        self.products += wide @ wide.T
        self.along += wide @ wanted
        self.energy += float(wanted @ wanted)
        self.voxels += wanted.size

    def solved(self, which: npt.NDArray[np.intp], along: Doubles | None = None) -> Doubles:
        """Least-squares weights of some of the features; features that say the same share their weight.

        ``along`` replaces the products of all features with what is lacking, where others have taken away some of it.
        """
        along = self.along if along is None else along
        products = self.products[np.ix_(which, which)]
        size = np.sqrt(np.maximum(np.diag(products), 1e-300))
        relative = products / np.outer(size, size)
        relative[np.diag_indices_from(relative)] += RIDGE
        return np.asarray(np.linalg.solve(relative, along[which] / size) / size)

    def removed(self, which: npt.NDArray[np.intp], weights: Doubles) -> float:
        """By how much such a correction lessens the energy; negative where it makes it larger."""
        products = self.products[np.ix_(which, which)]
        return float(2 * weights @ self.along[which] - weights @ products @ weights)
